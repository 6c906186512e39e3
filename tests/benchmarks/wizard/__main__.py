"""From a key to the repainted plan, to the first paint, and the memory it takes.

`python -m tests.benchmarks.wizard [--keys N]`. Each step is measured in a process of its own, on
Llama 2 70B and 1,024 devices. Beside it stands a bare Textual program with one input and one text,
measured in the same way: what no program with Textual goes below.
"""

import argparse
import asyncio
import json
import os
import pty
import resource
import select
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PLACES = {
    "hardware": "hardware.nodes",
    "budget": "budget.tokens",
    "method": "optimizer.learning_rate",
    "strategy": "parallel.global_batch",
    "review": "name",
}
SIZES = ((80, 24), (120, 40))
STARTS = 5


def main() -> None:
    """Print a line for each step and size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=60)
    parser.add_argument("--one", nargs=3, metavar=("STEP", "WIDTH", "HEIGHT"))
    options = parser.parse_args()
    if options.one:
        step, width, height = options.one
        print(json.dumps(asyncio.run(_measure(step, (int(width), int(height)), options.keys))))
        return
    print("key to repainted plan, ms" + 29 * " " + "median    p95    MiB")
    for size in SIZES:
        for step in ("bare", *PLACES):
            found = _in_process(step, size, options.keys)
            name = f"{size[0]}x{size[1]} {step}"
            print(
                f"  {name:<50} {1e3 * found['median']:6.1f} {1e3 * found['p95']:6.1f} "
                f"{found['mib']:6.0f}"
            )
            assert not found["torch"]
    starts = sorted(_first_paint() for _ in range(STARTS))
    print(f"first paint of `fsft wizard`, s: median {statistics.median(starts):.2f} of {STARTS}")


def _in_process(step: str, size: tuple[int, int], keys: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.wizard", "--keys", str(keys)]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, "--one", step, *map(str, size)],
            env={**os.environ, "XDG_STATE_HOME": folder},
            capture_output=True,
            text=True,
            check=True,
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def _measure(step: str, size: tuple[int, int], keys: int) -> dict[str, Any]:
    from textual.events import Key

    app, ready = _bare() if step == "bare" else _wizard(step)
    seconds = []
    async with app.run_test(size=size) as pilot:
        await pilot.pause(0.5)
        await ready(app)
        await pilot.pause(0.5)
        painted = asyncio.Event()
        display = app._display

        def displayed(*arguments: Any) -> None:
            display(*arguments)
            if app.is_current:
                painted.set()

        app._display = displayed
        for number in range(keys):
            name, letter = ("backspace", None) if number % 2 else ("2", "2")
            app.is_current = False
            painted.clear()
            start = time.perf_counter()
            app.post_message(Key(name, letter))
            await painted.wait()
            seconds.append(time.perf_counter() - start)
            await asyncio.sleep(0.05)
    seconds.sort()
    return {
        "median": statistics.median(seconds),
        "p95": seconds[int(0.95 * len(seconds))],
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "torch": "torch" in sys.modules,
    }


def _wizard(step: str) -> Any:
    from fsft.recipes.hardware.detect import detect_machine
    from fsft.wizard.app import WizardApp
    from fsft.wizard.draft import Draft
    from fsft.wizard.facts import DataFacts, Facts
    from fsft.wizard.widgets.field import Field

    async def measure(_recipe: object, _folder: Path) -> DataFacts:
        return DataFacts(num_rows=1e6, num_tokens=1e9)

    draft = Draft()
    for key, text in {
        "model.path": "llama-2-70b",
        "hardware.accelerator": "A100-80GB",
        "hardware.nodes": "128",
        "budget.tokens": "1B",
        "hardware.price": "2",
    }.items():
        draft = draft.answer(key, text)

    async def ready(app: Any) -> None:
        await app.action_go(step)
        app.query_one(f"#field-{PLACES[step].replace('.', '-')}", Field).focus_control()

    app: Any = WizardApp(draft, Facts(detect_machine()), measure=measure)
    show = app._show

    def shown() -> None:
        show()
        app.is_current = True

    app._show = shown
    return app, ready


def _bare() -> Any:
    from textual.app import App, ComposeResult
    from textual.widgets import Input, Static

    class Bare(App[None]):
        """One input whose text is shown again."""

        is_current = True

        def compose(self) -> ComposeResult:
            yield Input()
            yield Static("", id="echo")

        def on_input_changed(self, event: Input.Changed) -> None:
            self.query_one("#echo", Static).update(event.value, layout=False)
            self.is_current = True

    async def ready(app: Any) -> None:
        app.query_one(Input).focus()

    return Bare(), ready


def _first_paint() -> float:
    """Seconds from the start of the program until its first step stands on a terminal."""
    parent, child = pty.openpty()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "fsft", "wizard"],
            stdin=child,
            stdout=child,
            stderr=child,
            cwd=folder,
            env={**os.environ, "XDG_STATE_HOME": folder, "TERM": "xterm-256color"},
            start_new_session=True,
        )
        os.close(child)
        seen = b""
        while b"Which model?" not in seen:
            ready, _, _ = select.select([parent], [], [], 30)
            if not ready:
                raise TimeoutError("the wizard did not appear")
            seen += os.read(parent, 65536)
        seconds = time.perf_counter() - start
        process.kill()
        process.wait()
    os.close(parent)
    return seconds


if __name__ == "__main__":
    main()
