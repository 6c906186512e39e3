"""What a run has finished, and writing its files."""

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from fsft.recipes.files import read_recipe
from fsft.recipes.problems import Problem, Refused
from fsft.recipes.run_files import RunFiles
from fsft.recipes.schema import Recipe
from fsft.recipes.stages import Stage

BEING_WRITTEN = ".being-written"
"""A file in a folder that is being filled, held by the process that fills it."""
FINGERPRINT_DIGITS = 16


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

    The next call with the same fingerprint goes on in it; one with another begins anew. Raises
    Refused while another process fills it.
    """
    partial = target.with_name(f".{target.name}-{fingerprint[:FINGERPRINT_DIGITS]}")
    partial.mkdir(parents=True, exist_ok=True)
    with (partial / BEING_WRITTEN).open("a") as mark:
        if not _is_ours(mark):
            raise Refused(
                Problem(
                    file=str(target),
                    reason="is being written by another process.",
                    example="wait for it, or use another folder",
                )
            )
        _remove_abandoned(target, partial)
        yield partial
        (partial / BEING_WRITTEN).unlink()
        _put_in_place(partial, target)


def _is_ours(mark: IO[str]) -> bool:
    """Hold a file for as long as it is open, unless another process does."""
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_abandoned(target: Path, ours: Path) -> None:
    """What was begun for `target` with another fingerprint, and nobody goes on with."""
    ours_by_name = re.compile(re.escape(f".{target.name}-") + f"[0-9a-f]{{{FINGERPRINT_DIGITS}}}")
    for other in target.parent.iterdir():
        mark = other / BEING_WRITTEN
        if other == ours or not ours_by_name.fullmatch(other.name) or not mark.is_file():
            continue
        with mark.open("a") as file:
            if _is_ours(file):
                shutil.rmtree(other)


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
    # Machines that start the same run at once write the same file at once.
    partial = path.with_name(f".{path.name}.{os.uname().nodename}-{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
