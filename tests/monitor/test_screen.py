"""The monitor follows a run without touching it, and opens a finished one as its report."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import ContentSwitcher, Static

from fsft.recipes.events import Event, RunFinished, Warned
from fsft.recipes.run_files import RunFiles
from fsft.wizard.monitor.app import WatchApp
from fsft.wizard.monitor.screen import MonitorScreen
from tests.monitor.test_run_state import make_run
from tests.monitor.test_snapshot import begun, step


def write(run: RunFiles, *events: Event, end: str = "\n") -> None:
    with run.events_file.open("a", encoding="utf-8") as file:
        file.write("\n".join(event.model_dump_json() for event in events) + end)


def watch(
    run: RunFiles,
    script: Callable[[Pilot[None], MonitorScreen], Awaitable[None]],
    size: tuple[int, int] = (80, 24),
) -> None:
    """Run the program, and `script` in it."""

    async def go() -> None:
        async with WatchApp(run).run_test(size=size) as pilot:
            await pilot.pause(0.3)
            screen = pilot.app.screen
            assert isinstance(screen, MonitorScreen)
            await script(pilot, screen)

    asyncio.run(go())


def text_of(screen: MonitorScreen, name: str) -> str:
    return str(screen.query_one(name, Static).content)


async def until(pilot: Pilot[None], holds: Callable[[], bool]) -> None:
    """Wait for what the next look brings."""
    for _ in range(50):
        if holds():
            return
        await pilot.pause(0.1)
    raise AssertionError("it did not come about")


def test_steps_appear_as_they_are_written(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write(run, *begun())

    async def script(pilot: Pilot[None], screen: MonitorScreen) -> None:
        assert "tiny" in text_of(screen, "#run-head")
        assert "train" in text_of(screen, "#stages")
        write(run, *(step(n, loss=1 / n) for n in range(1, 8)))
        await until(pilot, lambda: "7 of 10" in text_of(screen, "#figures"))
        assert "200" in text_of(screen, "#figures")
        assert "┤" in text_of(screen, "#curve")

    watch(run, script)


def test_a_line_that_is_not_whole_yet_is_waited_for(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write(run, *begun(), step(1))

    async def script(pilot: Pilot[None], screen: MonitorScreen) -> None:
        line = step(2).model_dump_json()
        with run.events_file.open("a") as file:
            file.write(line[:40])
        await pilot.pause(0.8)
        assert "1 of 10" in text_of(screen, "#figures")
        with run.events_file.open("a") as file:
            file.write(line[40:] + "\n")
        await until(pilot, lambda: "2 of 10" in text_of(screen, "#figures"))

    watch(run, script)


def test_a_run_that_has_not_written_anything_yet_is_waited_for(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "later")

    async def script(pilot: Pilot[None], screen: MonitorScreen) -> None:
        assert "not started" in text_of(screen, "#run-head")
        make_run(tmp_path, "later")
        write(run, *begun())
        await until(pilot, lambda: "tiny" in text_of(screen, "#run-head"))

    watch(run, script)


def test_a_run_whose_process_is_gone_says_how_to_go_on(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write(run, *begun())

    async def script(_pilot: Pilot[None], screen: MonitorScreen) -> None:
        assert "the same fsft run goes on" in text_of(screen, "#run-head")

    watch(run, script)


def test_a_finished_run_opens_as_its_report(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.report.mkdir()
    (run.report / "report.md").write_text("# It went well\n")
    write(run, *begun(), step(1), RunFinished(exit_code=0, seconds=1))

    async def script(pilot: Pilot[None], screen: MonitorScreen) -> None:
        pages = screen.query_one("#pages", ContentSwitcher)
        await until(pilot, lambda: pages.current == "report")
        await pilot.press("p")
        assert pages.current == "progress"
        await pilot.press("r")
        assert pages.current == "report"

    watch(run, script)


@pytest.mark.parametrize("size", [(80, 24), (40, 10), (200, 60)])
def test_it_works_in_any_terminal_and_leaves_the_run_alone(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    run = make_run(tmp_path)
    write(run, *begun(), step(1), step(2))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    async def script(pilot: Pilot[None], _screen: MonitorScreen) -> None:
        await pilot.resize_terminal(*reversed(size))
        await pilot.pause(0.2)
        await pilot.press("q")

    watch(run, script, size)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_another_fsft_wrote_and_what_is_cut_off_is_passed_over(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with run.events_file.open("a") as file:
        file.write('{"event": "of_the_future", "time": 1}\n3\n{"event": "step"}\n')
    write(run, *begun(), step(1))

    async def script(pilot: Pilot[None], screen: MonitorScreen) -> None:
        await until(pilot, lambda: "1 of 10" in text_of(screen, "#figures"))
        run.events_file.write_text("")
        await pilot.pause(0.7)
        write(run, step(2))
        await until(pilot, lambda: "2 of 10" in text_of(screen, "#figures"))

    watch(run, script)


def test_a_log_cannot_give_orders_to_the_terminal(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write(run, *begun(), Warned(message="\x1b]0;title\x07odd \x1b[31mred\x1b[0m \x07"))
    (run.logs / "rank-0.log").write_text("\x1b[2J\x1b[5;5Hhello\tthere\r\n")

    async def script(pilot: Pilot[None], screen: MonitorScreen) -> None:
        await until(pilot, lambda: "odd red ·" in text_of(screen, "#messages"))
        strips = screen._compositor.render_strips()
        seen = "".join(part.text for strip in strips for part in strip)
        assert "hello" in seen
        assert "\x1b" not in seen

    watch(run, script)
