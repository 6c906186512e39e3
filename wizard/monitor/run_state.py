"""What a run's folder tells besides its events: the logs, whether it is alive."""

import re
from collections import deque
from pathlib import Path

import psutil

from fsft.recipes.problems import Problem, Refused
from fsft.recipes.run_files import RunFiles

_OTHER_RANK = re.compile(r"rank-?[1-9]")


def find_run(path: Path | None, runs: Path) -> RunFiles:
    """The run in `path`, or the one in `runs` that wrote last.

    Raises Refused where there is none.
    """
    if path is not None:
        if not (path / "recipe.toml").exists() and not RunFiles(path).events_file.exists():
            raise Refused(
                Problem(
                    file=str(path),
                    reason="is not a run directory.",
                    example="runs/quickstart-1a2b3c4d, as printed by fsft run",
                )
            )
        return RunFiles(path)
    found = [file for file in runs.glob("*/events.jsonl") if file.is_file()]
    if not found:
        raise Refused(
            Problem(file=str(runs), reason="holds no run yet.", example="fsft run quickstart")
        )
    return RunFiles(max(found, key=lambda file: file.stat().st_mtime).parent)


def is_alive(run: RunFiles) -> bool:
    """Whether the process that does the run is there, on this machine."""
    try:
        return psutil.pid_exists(int(run.lock.read_text(encoding="ascii").strip()))
    except (OSError, ValueError):
        return False


def log_tail(run: RunFiles, number: int) -> tuple[str, list[str]]:
    """Name and last lines of the log that was written last; of training's, the first process's."""
    try:
        logs = [file for file in run.logs.rglob("*") if file.is_file()]
        logs = [file for file in logs if not _OTHER_RANK.search(file.name)]
        if not logs:
            return "", []
        newest = max(logs, key=lambda file: file.stat().st_mtime)
        with newest.open(encoding="utf-8", errors="replace") as file:
            return newest.name, [line.rstrip() for line in deque(file, maxlen=number)]
    except OSError:
        return "", []
