"""Pictures of every screen: `python -m tests.pictures` (or `make pictures`) takes them anew.

Those of the README are SVG in docs/screens; those that tests compare are text, one file for each
step and size, and SVG in every look for one step. Nothing in them depends on the machine.
"""

import asyncio
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textual.app import App
from textual.widgets import Input

from fsft.recipes.events import (
    CheckpointSaved,
    Event,
    RunStarted,
    StageFinished,
    StageStarted,
    Step,
    TrainStarted,
)
from fsft.recipes.hardware.detect import Device, Machine
from fsft.recipes.run_files import RunFiles
from fsft.wizard.app import WizardApp
from fsft.wizard.draft import Draft
from fsft.wizard.facts import DataFacts, Facts, Quality, Shown
from fsft.wizard.monitor.app import WatchApp
from fsft.wizard.questions import STEPS

ROOT = Path(__file__).parents[1]
README_FOLDER = ROOT / "docs" / "screens"
TEST_FOLDER = ROOT / "tests" / "wizard_app" / "screens"
SIZES = ((80, 24), (120, 40), (200, 60))
LOOKS = ("dark", "light", "ansi", "no-color")
STILL = 4
"""Equal pictures in a row, a tenth of a second apart."""
NOON = 1_700_000_000.0

A100S = Machine((Device("NVIDIA A100-SXM4-80GB", 79.15 * 2**30),) * 8, 64, 1e12, 1e13)
DATA = DataFacts(
    formats=(("support.jsonl", "messages"),),
    num_rows=48_210,
    num_tokens=16_300_000,
    error=410_000,
    num_sampled=2000,
    quality=Quality(2000, 31, 0, (("en", 0.94), ("de", 0.05)), (("e-mail", 6),)),
    samples=(
        Shown(
            "support.jsonl",
            38,
            (
                ("<|im_start|>user\nMy parcel has not come.<|im_end|>\n", False),
                ("<|im_start|>assistant\n", False),
                ("I am sorry. May I have the order number?<|im_end|>", True),
                ("\n", False),
            ),
        ),
        Shown(
            "support.jsonl",
            29,
            (
                ("<|im_start|>user\nHow do I return it?<|im_end|>\n<|im_start|>assistant\n", False),
                ("Print the label in your account.<|im_end|>", True),
                ("\n", False),
            ),
        ),
    ),
)
SMALL_DATA = DataFacts((("identity.jsonl", "alpaca"),), num_rows=238, num_tokens=9550)
ANSWERS = {"model.path": "qwen2.5-7b", "data.train": "support.jsonl", "hardware.price": "2.5"}


@dataclass(frozen=True)
class Picture:
    """One screen of one program."""

    size: tuple[int, int]
    step: str = ""
    """A step of the wizard; empty for the monitor."""
    look: str = "dark"
    answers: Mapping[str, str] = field(default_factory=dict)


def readme_pictures() -> dict[str, Picture]:
    """Those that the README shows, by file."""
    return {
        "model.svg": Picture((80, 24), "model"),
        "strategy.svg": Picture((120, 30), "strategy", answers=ANSWERS),
        "data-light.svg": Picture((80, 24), "data", "light", ANSWERS),
        "watch.svg": Picture((80, 24)),
    }


def compared_pictures() -> dict[str, Picture]:
    """Those that tests compare, by file."""
    texts = {
        f"{step}-{size[0]}x{size[1]}.txt": Picture(size, step, answers=ANSWERS)
        for step in STEPS
        for size in SIZES
    }
    texts |= {f"watch-{size[0]}x{size[1]}.txt": Picture(size) for size in SIZES}
    looks = {
        f"strategy-{look}-{size[0]}x{size[1]}.svg": Picture(size, "strategy", look, ANSWERS)
        for look in LOOKS
        for size in SIZES
    }
    return texts | looks


def take(picture: Picture, *, as_text: bool) -> str:
    """The picture, as text or SVG."""
    with tempfile.TemporaryDirectory() as folder, _alone(Path(folder), picture.look):
        return asyncio.run(_taken(picture, Path(folder), as_text=as_text))


async def _taken(picture: Picture, folder: Path, *, as_text: bool) -> str:
    app = _wizard(picture) if picture.step else _monitor(folder)
    app.animation_level = "none"
    async with app.run_test(size=picture.size) as pilot:
        await pilot.pause()
        if isinstance(app, WizardApp):
            while app.outlook.facts.data is None:
                await pilot.pause(0.05)
            await app.action_go(picture.step)
        for place in app.query(Input):
            place.cursor_blink = False
        # A picture is taken when nothing moves any more.
        seen: list[str] = []
        while len(seen) < STILL or len(set(seen[-STILL:])) > 1:
            await pilot.pause(0.1)
            seen.append(_text(app) if as_text else app.export_screenshot())
        return seen[-1]


def _text(app: App[Any]) -> str:
    strips = app.screen._compositor.render_strips()
    lines = ("".join(part.text for part in strip).rstrip() for strip in strips)
    return "\n".join(lines) + "\n"


def _wizard(picture: Picture) -> WizardApp:
    async def measure(_recipe: object, _folder: Path) -> DataFacts:
        return DATA if picture.answers else SMALL_DATA

    draft = Draft()
    for key, text in picture.answers.items():
        draft = draft.answer(key, text)
    theme = "dark" if picture.look == "no-color" else picture.look
    return WizardApp(draft, Facts(A100S), theme=theme, measure=measure)


def _monitor(folder: Path) -> App[Any]:
    run = RunFiles(folder / "runs" / "qwen2.5-7b-support-3f9a1c07")
    run.logs.mkdir(parents=True)
    run.lock.write_text(str(os.getpid()))
    run.lock_file.write_text(
        "[plan]\nseconds_per_step = 7.3\n[plan.device_memory_bytes]\nhigh = 61439451136\n"
    )
    (run.logs / "rank-0.log").write_text("loaded 4 shards in 31 s\ntraining starts\n")
    run.events_file.write_text("".join(f"{event.model_dump_json()}\n" for event in _events()))
    os.chdir(folder)
    return WatchApp(RunFiles(run.path.relative_to(folder)), clock=lambda: NOON + 1500)


def _events() -> Iterator[Event]:
    yield RunStarted(
        time=NOON,
        name="qwen2.5-7b-support",
        fsft_version="0.1.0",
        stages=["prepare", "train", "convert", "evaluate", "report"],
    )
    yield StageStarted(time=NOON, stage="prepare")
    yield StageFinished(
        time=NOON + 41,
        stage="prepare",
        seconds=41,
        summary="48210 samples in 8012 rows, 16.3M tokens, packing 99.3%",
    )
    yield StageStarted(time=NOON + 41, stage="train")
    yield TrainStarted(
        time=NOON + 80,
        num_processes=8,
        device="NVIDIA A100-SXM4-80GB",
        num_parameters=7_615_616_512,
        num_matmul_parameters=7_070_000_000,
        total_steps=188,
        first_step=1,
        global_batch=128,
        peak_tflops=2170,
    )
    for number in range(1, 97):
        yield Step(
            time=NOON + 80 + 7.5 * number,
            step=number,
            loss=1.1 + 1.3 * math.exp(-number / 18) + 0.04 * math.sin(number * 1.7),
            learning_rate=1e-5 * math.cos(number / 188 * math.pi / 2) ** 2,
            grad_norm=1.4,
            tokens=260_000,
            flops=1.13e16,
            seconds=7.5,
            memory_bytes=56_800_000_000,
        )
        if number == 50:
            yield CheckpointSaved(time=NOON + 455, step=50, path="checkpoints/step-50", seconds=9.0)


@contextmanager
def _alone(folder: Path, look: str) -> Iterator[None]:
    """Nothing of this machine's settings and files is in the picture."""
    before, place = dict(os.environ), Path.cwd()
    os.environ |= {"XDG_STATE_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    os.environ.pop("NO_COLOR", None)
    if look == "no-color":
        os.environ["NO_COLOR"] = "1"
    work = folder / "work"
    work.mkdir()
    (work / "support.jsonl").write_text("{}\n")
    os.chdir(work)
    try:
        yield
    finally:
        os.chdir(place)
        os.environ.clear()
        os.environ |= before


def main() -> None:
    """Take all pictures anew."""
    for folder, pictures in (
        (README_FOLDER, readme_pictures()),
        (TEST_FOLDER, compared_pictures()),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        for old in set(folder.iterdir()) - {folder / name for name in pictures}:
            old.unlink()
        for name, picture in pictures.items():
            (folder / name).write_text(take(picture, as_text=name.endswith(".txt")))
            print(folder.relative_to(ROOT) / name, file=sys.stderr)


if __name__ == "__main__":
    main()
