"""What `fsft serve` does: an OpenAI-compatible server for a run's model, until asked to stop."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Literal

from fsft.recipes.problems import Problem, Refused, RunFailed
from fsft.runtime.processes import die_with_parent
from fsft.runtime.run_directory import RunDirectory

Engine = Literal["auto", "transformers", "vllm"]

_POLL_SECONDS = 0.2
_STOP_SECONDS = 10
_LOG_LINES = 15


@dataclass(frozen=True)
class ServerAddress:
    """Where the server listens, and what it calls the model."""

    host: str
    port: int
    model: str

    @property
    def url(self) -> str:
        """The base URL for OpenAI clients on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/v1"


def serve(
    run: RunDirectory,
    *,
    host: str,
    port: int,
    engine: Engine,
    on_ready: Callable[[ServerAddress], None],
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP, then stop cleanly.

    Raises Refused when the model or the port is not to be had, RunFailed when the server dies.
    """
    address = ServerAddress(host, port, run.recipe().name)
    if not (run.model / "config.json").exists():
        raise Refused(
            Problem(
                file=str(run.path),
                reason="the run has no trained model yet.",
                example=f"fsft run {run.recipe_file}",
            )
        )
    if engine == "vllm" and not find_spec("vllm"):
        raise Refused(
            Problem(
                key="serve.engine",
                reason="vllm is not installed.",
                example='pip install vllm, or engine = "transformers"',
            )
        )
    _require_free_port(host, port)
    log = run.logs / "serve.log"
    with _stop_event() as stop, _server(_command(run, address, engine), run, log) as child:
        if _is_ready(child, address, stop):
            on_ready(address)
        while not stop.wait(_POLL_SECONDS):
            if child.poll() is not None:
                raise RunFailed(f"the server ended by itself. {_last_lines(log)}")


def _command(run: RunDirectory, address: ServerAddress, engine: Engine) -> list[str]:
    """The server's command line, to be run in the run's serve folder.

    There the model is reachable under the recipe's name: the transformers server knows a model
    only by the path it was started with.
    """
    folder = run.path / "serve"
    folder.mkdir(exist_ok=True)
    link = folder / address.model
    link.unlink(missing_ok=True)
    link.symlink_to(Path("..") / run.model.name)
    place = ["--host", address.host, "--port", str(address.port)]
    if engine == "vllm" or (engine == "auto" and find_spec("vllm")):
        server = ["vllm.entrypoints.openai.api_server", "--model", address.model]
        return [sys.executable, "-m", *server, "--served-model-name", address.model, *place]
    return [sys.executable, "-m", "transformers.cli.transformers", "serve", address.model, *place]


@contextmanager
def _server(
    command: list[str], run: RunDirectory, log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """The running server; it is gone, with all it started, when the block ends."""
    log.parent.mkdir(exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            cwd=run.path / "serve",
            env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one thread-safe system call
        )
    try:
        yield child
    finally:
        for number, patience in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, None)):
            with suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with suppress(subprocess.TimeoutExpired):
                child.wait(patience)
                break


def _is_ready(
    child: "subprocess.Popen[bytes]", address: ServerAddress, stop: threading.Event
) -> bool:
    """Wait until the server answers, dies, or is to stop; True when it answers."""
    health = address.url.removesuffix("/v1") + "/health"
    # A proxy from the environment knows nothing of a server on this machine.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while child.poll() is None and not stop.wait(_POLL_SECONDS):
        # Refused while it still loads.
        with (
            suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            direct.open(health, timeout=2),
        ):
            return True
    return False


def _require_free_port(host: str, port: int) -> None:
    try:
        family, kind, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        is_port = error.errno in (errno.EADDRINUSE, errno.EACCES)
        raise Refused(
            Problem(
                key="serve.port" if is_port else "serve.host",
                reason=f"cannot listen on {host}:{port}: {error.strerror}.",
                example=f"--port {_other_port(port)}" if is_port else "--host 127.0.0.1",
            )
        ) from None


def _other_port(port: int) -> int:
    """One to try instead; those below 1024 are root's."""
    return port + 1 if 1024 <= port < 65535 else 8000


@contextmanager
def _stop_event() -> Iterator[threading.Event]:
    """An event that SIGINT, SIGTERM and SIGHUP set."""
    event = threading.Event()
    numbers = [signal.SIGINT, signal.SIGTERM]
    # A terminal that closes does not reach the server, which has a session of its own. Where SIGHUP
    # is ignored, as under nohup, serving is to go on.
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)

    def stop(_number: int, _frame: FrameType | None) -> None:
        event.set()

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _last_lines(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    return f"Its log {log} ends with:\n" + "\n".join(lines)
