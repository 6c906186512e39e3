"""What a run has finished, and writing its files."""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fsft.recipes.files import read_recipe
from fsft.recipes.problems import Problem, Refused
from fsft.recipes.run_files import RunFiles
from fsft.recipes.schema import Recipe
from fsft.recipes.stages import Stage


@dataclass(frozen=True)
class FinishedStage:
    """What is remembered of a stage that was done."""

    fingerprint: str
    seconds: float
    summary: str


class RunDirectory(RunFiles):
    """The files of one run, and which stages are done; a stage writes only its own."""

    def recipe(self) -> Recipe:
        """The recipe that this run was made from."""
        return read_recipe(self.recipe_file)

    def finished_stages(self) -> dict[Stage, FinishedStage]:
        """The stages that were done, with their fingerprints."""
        state = self.path / "state.json"
        if not state.exists():
            return {}
        stages = json.loads(state.read_text())["stages"]
        return {stage: FinishedStage(**values) for stage, values in stages.items()}

    def finish_stage(self, stage: Stage, finished: FinishedStage) -> None:
        """Remember that `stage` is done."""
        stages = {**self.finished_stages(), stage: finished}
        state = {"stages": {name: asdict(value) for name, value in stages.items()}}
        write_json(self.path / "state.json", state)

    def forget_stage(self, stage: Stage) -> None:
        """Forget that `stage` was done; its files stay until it is done again."""
        stages = {name: value for name, value in self.finished_stages().items() if name != stage}
        state = {"stages": {name: asdict(value) for name, value in stages.items()}}
        write_json(self.path / "state.json", state)


def open_run(path: Path) -> RunDirectory:
    """The run in `path`; raises Refused where there is none."""
    run = RunDirectory(path)
    if not run.recipe_file.exists():
        raise Refused(
            Problem(
                file=str(path),
                reason="is not a run directory.",
                example="runs/quickstart-1a2b3c4d, as printed by fsft run",
            )
        )
    return run


@contextmanager
def exclusive(run: RunDirectory) -> Iterator[None]:
    """Hold the run for this process; raises Refused while another one holds it."""
    run.path.mkdir(parents=True, exist_ok=True)
    with run.lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Refused(
                Problem(
                    file=str(run.path),
                    reason=f"the run is going on in process {file.read().strip()}.",
                    example="wait for it, or stop it with SIGTERM and run again to resume",
                )
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `target` only when all went well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield partial
        _put_in_place(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def resumed_folder(target: Path, fingerprint: str) -> Iterator[Path]:
    """As replacing_folder, but what was filled in is kept when it fails or is killed.

    The next call with the same fingerprint goes on in it; one with another begins anew.
    """
    partial = target.with_name(f".{target.name}-{fingerprint[:16]}")
    for other in target.parent.glob(f".{target.name}-*"):
        if other != partial:
            shutil.rmtree(other)
    partial.mkdir(parents=True, exist_ok=True)
    yield partial
    _put_in_place(partial, target)


def _put_in_place(partial: Path, target: Path) -> None:
    partial.chmod(0o755)
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
        target.rename(old / target.name)
        partial.rename(target)
        shutil.rmtree(old)
    else:
        partial.rename(target)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON so that a reader sees the old file or the new one, never a part."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
