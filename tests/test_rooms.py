"""Each room keeps out what does not belong there."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def modules_of(room: str) -> list[str]:
    paths = sorted((ROOT / room).rglob("*.py"))
    names = (path.relative_to(ROOT).with_suffix("").as_posix() for path in paths)
    return [f"fsft.{name}".replace("/", ".").removesuffix(".__init__") for name in names]


@pytest.mark.parametrize(
    ("modules", "kept_out"),
    [
        (modules_of("recipes"), {"torch", "textual", "transformers", "deepspeed", "pyarrow"}),
        (modules_of("wizard"), {"torch", "transformers", "deepspeed", "fsft.runtime"}),
        (["fsft.cli.app"], {"torch", "textual", "transformers", "deepspeed", "pyarrow"}),
        (["fsft.runtime.run"], {"torch", "textual", "transformers", "deepspeed", "pyarrow"}),
        (
            [name for name in modules_of("runtime") if not name.endswith("__main__")],
            {"textual", "fsft.wizard", "fsft.cli"},
        ),
    ],
    ids=["recipes", "wizard", "command line", "planning a run", "runtime"],
)
def test_importing_brings_in_nothing_heavy(modules: list[str], kept_out: set[str]) -> None:
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(*({kept_out!r} & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    # DeepSpeed says on stdout which accelerator it found.
    assert done.stdout.splitlines()[-1].split() == []


def test_the_rooms_import_each_other_only_as_agreed() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout
    assert "3 kept, 0 broken" in done.stdout
