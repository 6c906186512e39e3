"""torchrun, with a word about processes that die without one: `python -m fsft.runtime.launcher`.

The first argument is the events file, the others are torchrun's.
"""

import sys
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

from fsft.recipes.events import Failed
from fsft.runtime.event_log import EventLog
from fsft.runtime.troubles import explain_signal

_SIGTERM = 15
"""What torchrun itself sends to the others when one process has failed."""


def main() -> None:
    """Run torchrun; exit 1 when a process failed, after naming one that died of a signal."""
    events_file, *arguments = sys.argv[1:]
    try:
        torchrun(arguments)
    except ChildFailedError as error:
        killed = [
            (failure.timestamp, rank, -failure.exitcode)
            for rank, failure in error.failures.items()
            if failure.exitcode < 0 and -failure.exitcode != _SIGTERM
        ]
        if killed:
            _, rank, number = min(killed)
            event = Failed(stage="train", message=explain_signal(rank, number))
            EventLog(Path(events_file)).write_if_possible(event)
        sys.exit(1)


if __name__ == "__main__":
    main()
