"""The wizard in a real terminal of 80 × 24, from the shell and back to it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support import fsft, write_tiny_recipe

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")

SECONDS = 30
"""The longest that anything may take to show up, on a busy machine."""


class Terminal:
    """A shell in a tmux of its own."""

    def __init__(self, folder: Path) -> None:
        self._socket = f"fsft-test-{os.getpid()}-{folder.parent.name}"
        programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        shell = ["env", f"PATH={programs}", "PS1=ready> ", "bash", "--norc", "--noprofile"]
        state = os.environ["XDG_STATE_HOME"]
        self._tmux("-f", "/dev/null", "-u", "new-session", "-d", "-x", "80", "-y", "24",
                   "-c", str(folder), "env", f"XDG_STATE_HOME={state}", *shell)  # fmt: skip
        self.shows("ready>")

    def press(self, *keys: str) -> None:
        """Keys by tmux's names, each with the time that a person takes."""
        for key in keys:
            self._tmux("send-keys", key)
            time.sleep(0.15)

    def type(self, text: str) -> None:
        """Letters, as fast as they come."""
        self._tmux("send-keys", "-l", text)

    def enter(self, command: str) -> None:
        """A command line of the shell."""
        self.type(command)
        self._tmux("send-keys", "Enter")

    def screen(self) -> str:
        """What is in sight."""
        return self._tmux("capture-pane", "-p")

    def shows(self, text: str, seconds: float = SECONDS) -> str:
        """Wait until a text is in sight; returns the screen."""
        end = time.monotonic() + seconds
        while text not in (screen := self.screen()):
            assert time.monotonic() < end, f"{text!r} never came; there is:\n{screen}"
            time.sleep(0.05)
        return screen

    def wizard(self) -> psutil.Process:
        """The process of the wizard."""
        shell = int(self._tmux("display-message", "-p", "#{pane_pid}"))
        return psutil.Process(shell).children()[0]

    def is_left(self) -> None:
        """Wait until the wizard has given the terminal back."""
        end = time.monotonic() + SECONDS
        while self._tmux("display-message", "-p", "#{alternate_on}") != "0\n":
            assert time.monotonic() < end, self.screen()
            time.sleep(0.05)

    def is_as_before(self) -> None:
        """The shell takes commands and shows what is typed, without remains of the wizard."""
        self.enter("clear; stty -a | tr ' ;' '\\n' | grep -cx -e echo -e icanon; echo $((6 * 7))")
        screen = self.shows("\n42\n")
        assert screen.splitlines()[0] == "2"
        self.type("echo seen")
        self.shows("ready> echo seen")
        assert self._tmux("display-message", "-p", "#{mouse_any_flag}") == "0\n"

    def resize(self, width: int, height: int) -> None:
        """Make the window larger or smaller."""
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def close(self) -> None:
        """End it with all that runs in it."""
        self._tmux("kill-server")

    def _tmux(self, *arguments: str) -> str:
        return subprocess.run(
            ["tmux", "-L", self._socket, *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=SECONDS,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        ).stdout


@pytest.fixture
def terminal(folder: Path) -> Iterator[Terminal]:
    """A shell in the empty folder."""
    opened = Terminal(folder)
    yield opened
    opened.close()


def test_from_the_shell_to_a_recipe_that_is_checked_and_back(
    terminal: Terminal, folder: Path
) -> None:
    terminal.enter("fsft wizard")
    terminal.shows("Which model?")
    terminal.type("Qwen/Qwen2.5-0.5B")
    terminal.shows("494M parameters")
    terminal.press("M-4")
    terminal.shows("How long?")
    terminal.press("Down", "Down")
    terminal.type("12")
    terminal.shows("12    ")
    for title in ("What is trained", "How is the work spread?", "What is asked", "All set?"):
        terminal.press("Enter")
        terminal.shows(title)
    terminal.press("Enter")
    terminal.shows("✓ Wrote qwen2.5-0.5b.toml")
    terminal.press("Enter")
    terminal.is_left()
    assert "fsft run qwen2.5-0.5b.toml" in terminal.shows("Wrote qwen2.5-0.5b.toml. Next:")
    terminal.is_as_before()
    assert [path.name for path in folder.iterdir()] == ["qwen2.5-0.5b.toml"]
    text = (folder / "qwen2.5-0.5b.toml").read_text()
    assert 'path = "Qwen/Qwen2.5-0.5B"' in text
    assert "steps = 12" in text
    done = fsft("check", "qwen2.5-0.5b.toml", cwd=folder)
    assert done.returncode == 0, done.stderr


def test_all_of_it_typed_in_one_go_lands_where_it_belongs(terminal: Terminal, folder: Path) -> None:
    terminal.enter("fsft wizard")
    terminal.shows("Which model?")
    terminal.type("Qwen/Qwen2.5-0.5B\r\r\r\t\t12\r\r\r\rmine\r")
    terminal.shows("✓ Wrote mine.toml")
    text = (folder / "mine.toml").read_text()
    assert 'path = "Qwen/Qwen2.5-0.5B"' in text
    assert "steps = 12" in text


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ctrl-c", "ctrl-q", "SIGTERM", "SIGQUIT"])
def test_however_it_ends_the_terminal_is_as_before_and_the_draft_comes_back(
    terminal: Terminal, folder: Path, how: str
) -> None:
    terminal.enter("fsft wizard")
    terminal.shows("Which model?")
    terminal.type("Qwen/Qwen2.5-7B")
    terminal.shows("7.62B parameters")
    if how.startswith("SIG"):
        terminal.wizard().send_signal(signal.Signals[how])
    else:
        terminal.press("C-c" if how == "ctrl-c" else "C-q")
    terminal.is_left()
    terminal.is_as_before()
    assert not list(folder.iterdir())
    terminal.press("C-u")
    terminal.enter("clear; fsft wizard")
    terminal.shows("Your draft is back.")
    assert "7.62B parameters" in terminal.screen()
    terminal.press("C-q")
    terminal.shows("The draft is kept")


@pytest.mark.slow
def test_a_killed_wizard_loses_nothing(terminal: Terminal, folder: Path) -> None:
    terminal.enter("fsft wizard")
    terminal.shows("Which model?")
    terminal.type("Qwen/Qwen2.5-7B")
    terminal.shows("7.62B parameters")
    time.sleep(0.5)
    terminal.wizard().kill()
    time.sleep(0.5)
    terminal.enter("reset; fsft wizard")
    terminal.shows("Your draft is back.")
    assert "7.62B parameters" in terminal.screen()
    assert not list(folder.iterdir())


@pytest.mark.slow
def test_a_window_that_changes_its_size_is_followed(terminal: Terminal, folder: Path) -> None:
    terminal.enter("fsft wizard")
    terminal.shows("Which model?")
    terminal.type("Qwen/Qwen2.5-")
    for width, height in ((120, 40), (40, 10), (60, 15), (80, 24)):
        terminal.resize(width, height)
        terminal.shows(f"{width}×{height}" if width < 80 else "Qwen/Qwen2.5-")
    terminal.type("7B")
    terminal.shows("7.62B parameters")
    terminal.press("C-s")
    terminal.shows("✓ Wrote qwen2.5-7b.toml")


@pytest.mark.slow
def test_a_run_that_is_started_from_the_wizard_goes_on_when_nobody_watches(
    terminal: Terminal, folder: Path
) -> None:
    write_tiny_recipe(folder)
    terminal.enter("fsft wizard tiny.toml")
    terminal.shows("Which model?")
    terminal.press("F6")
    run = terminal.shows("Leave (the run goes on)", seconds=60)
    assert "tiny" in run
    terminal.press("q")
    terminal.is_left()
    terminal.shows("The run goes on by itself: fsft watch runs/tiny-")
    terminal.enter("clear; fsft watch")
    terminal.shows("tokens/s", seconds=240)
    terminal.press("q")
    terminal.is_left()
