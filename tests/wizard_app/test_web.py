"""The wizard in a browser: the same program, reached from this machine alone."""

import asyncio
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest

from fsft.recipes.files import parse_recipe
from fsft.wizard import autosave
from tests.support import fsft_command, fsft_environment

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
SECONDS = 30
"""The longest that anything may take, on a busy machine."""
ENTER = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
UNDO = {"key": "z", "code": "KeyZ", "windowsVirtualKeyCode": 90, "modifiers": 2}
MODEL_FIELD = (400, 44)
"""Where the page shows the first field, in pixels."""

pytestmark = pytest.mark.skipif(
    not find_spec("textual_serve"), reason="textual-serve is not installed"
)


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    """The port of a wizard that is served in the empty folder."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = int(free.getsockname()[1])
    server = subprocess.Popen(
        fsft_command("wizard", "--web", str(number)),
        cwd=folder,
        env=fsft_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    end = time.monotonic() + SECONDS
    while not _listening(server.pid):
        assert server.poll() is None, server.stderr and server.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.05)
    assert _listening(server.pid) == [("127.0.0.1", number)]
    yield number
    family = psutil.Process(server.pid).children(recursive=True)
    for process in [*family, server]:
        process.terminate()
    psutil.wait_procs(family, timeout=SECONDS)
    server.communicate(timeout=SECONDS)


@pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")
def test_what_is_typed_in_a_browser_arrives_in_the_recipe(
    port: int, folder: Path, tmp_path: Path
) -> None:
    asyncio.run(_browse(f"http://127.0.0.1:{port}/", tmp_path / "browser", folder / "web.toml"))
    recipe = parse_recipe((folder / "web.toml").read_text())
    assert recipe.name == "web"


def test_the_page_asks_nothing_of_other_machines(port: int) -> None:
    here = f"//127.0.0.1:{port}/"
    with urlopen(f"http:{here}", timeout=SECONDS) as answer:
        page = answer.read().decode()
    assert f"ws:{here}" in page
    assert not re.findall(r"//[^ \"'>]+", page.replace(here, ""))


async def _browse(address: str, profile: Path, written: Path) -> None:
    """Open the page, click into it, go to the last step, name the recipe, and write it."""
    import aiohttp

    browser = await asyncio.create_subprocess_exec(
        *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--remote-debugging-port=0", f"--user-data-dir={profile}", "--window-size=1000,700"),
        "about:blank",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        devtools = profile / "DevToolsActivePort"
        await _until(lambda: devtools.exists() and len(devtools.read_text().splitlines()) == 2)
        debugging = f"http://127.0.0.1:{devtools.read_text().split()[0]}"
        async with aiohttp.ClientSession() as http:
            async with http.put(f"{debugging}/json/new?{address}") as answer:
                page = await answer.json()
            async with http.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as link:
                tab = _Tab(link)
                await tab.is_ready()
                await tab.click(*MODEL_FIELD)
                # The page shows pixels; that a key has arrived, the draft on disk tells.
                end = time.monotonic() + SECONDS
                while not _kept():
                    assert time.monotonic() < end
                    await tab.write("x")
                    await asyncio.sleep(0.3)
                await tab.press(UNDO)
                await _until(lambda: not _kept())
                for _ in range(7):
                    await tab.press(ENTER)
                await tab.write("web")
                await _until(lambda: _kept().get("name") == "web")
                await tab.press(ENTER)
                await _until(written.exists)
    finally:
        for process in psutil.Process(browser.pid).children(recursive=True):
            process.terminate()
        browser.terminate()
        await browser.wait()


class _Tab:
    """A page, through the DevTools protocol."""

    def __init__(self, link: Any) -> None:
        self._link = link
        self._number = 0

    async def call(self, method: str, **parameters: Any) -> Any:
        """Call a method and wait for what it returns."""
        self._number += 1
        await self._link.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            message = await self._link.receive_json(timeout=SECONDS)
            if message.get("id") == self._number:
                return message["result"]

    async def is_ready(self) -> None:
        """Wait until the wizard has drawn itself."""
        end = time.monotonic() + SECONDS
        script = "document.querySelector('body').className"
        while "-first-byte" not in (shown := await self._evaluate(script)):
            assert time.monotonic() < end, shown
            await asyncio.sleep(0.1)

    async def click(self, x: int, y: int) -> None:
        """A click of the left button."""
        for kind in ("mousePressed", "mouseReleased"):
            await self.call(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
            )

    async def press(self, key: dict[str, Any]) -> None:
        """Down and up again."""
        await self.call("Input.dispatchKeyEvent", type="keyDown", **key)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **key)
        await asyncio.sleep(0.2)

    async def write(self, text: str) -> None:
        """Letters."""
        for letter in text:
            await self.press({"key": letter, "text": letter, "code": f"Key{letter.upper()}"})

    async def _evaluate(self, script: str) -> str:
        answer = await self.call("Runtime.evaluate", expression=script)
        return str(answer["result"].get("value", ""))


def _kept() -> Mapping[str, str]:
    """The answers that have been kept on disk."""
    draft = autosave.kept_draft(None)
    return draft.answers if draft else {}


async def _until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < end, _kept()
        await asyncio.sleep(0.05)


def _listening(pid: int) -> list[tuple[str, int]]:
    connections = psutil.Process(pid).net_connections("inet")
    return [tuple(each.laddr) for each in connections if each.status == psutil.CONN_LISTEN]
