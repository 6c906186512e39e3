"""One training process, started by torchrun: `python -m fsft.runtime.train RUN ACCELERATOR`."""

import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from fsft.recipes.events import Failed
from fsft.recipes.problems import FsftError
from fsft.runtime.event_log import EventLog
from fsft.runtime.launch.whereabouts import Whereabouts, write_stacks_on_signal
from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.troubles import explain, is_out_of_memory


def main() -> None:
    """Train; tell the run's events what went wrong before failing."""
    run, accelerator = RunDirectory(Path(sys.argv[1])), sys.argv[2]
    rank = int(os.environ["RANK"])
    _log_to(run.logs / f"rank-{rank}.log")
    write_stacks_on_signal()
    whereabouts = Whereabouts(run.signs, rank)
    try:
        _train(run, accelerator, whereabouts)
    except Exception as error:  # noqa: BLE001 - told, and the process ends with it
        details = "" if isinstance(error, FsftError) else traceback.format_exc()
        next_layout = _next_layout(run) if is_out_of_memory(error) else ""
        explained = explain(error, run.path, next_layout)
        EventLog(run.events_file).write_if_possible(
            Failed(
                stage="train",
                rank=rank,
                message=str(explained),
                details=details,
                exit_code=explained.exit_code,
            )
        )
        traceback.print_exc()
        _leave(1)


def _train(run: RunDirectory, accelerator: str, whereabouts: Whereabouts) -> None:
    import deepspeed
    import torch.distributed as dist

    from fsft.runtime.train.loop import Trainer
    from fsft.runtime.train.stop import StopRequest

    stop = StopRequest(run.stop_file)
    deepspeed.init_distributed()
    Trainer(run, accelerator).train(stop, whereabouts)
    dist.barrier()
    _leave(0)


def _next_layout(run: RunDirectory) -> str:
    """What the planner would try instead; nothing where it does not know the model."""
    from fsft.runtime.planning import smaller_layout

    try:
        return smaller_layout(run.recipe())
    except FsftError as error:
        print(f"the planner was asked for another layout: {error}", file=sys.stderr)
        return ""


def _leave(code: int) -> NoReturn:
    """End at once: all is on disk.

    Tearing down gloo now and then aborts in a thread of its own ("terminate called without an
    active exception"), which would fail a finished run, or hide why another failed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _log_to(path: Path) -> None:
    """Send what this process and its libraries print to its own file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())


if __name__ == "__main__":
    main()
