"""Trains on one machine: torchrun with somebody who watches.

`python -m fsft.runtime.launch.agent RUN ACCELERATOR --nodes N --devices N`; see node_command.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

from fsft.recipes.events import Failed
from fsft.runtime.event_log import EventLog
from fsft.runtime.hardware import Devices, process_environment
from fsft.runtime.launch.network import interface_towards
from fsft.runtime.launch.watcher import Watcher
from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.troubles import explain_signal

_SHUTDOWN_SECONDS = 5
"""For the other processes of a machine to end by themselves once one has failed."""


def main() -> None:
    """Run torchrun; exit 1 when a process failed, after naming one that died of a signal."""
    options = parse_options(sys.argv[1:])
    run = RunDirectory(options.run)
    devices = Devices(options.accelerator, options.devices, options.nodes)
    os.environ.update(process_environment(devices))
    interface = interface_towards(options.master.rpartition(":")[0]) if options.master else None
    if interface is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    _ask_to_stop_on_signals(run)
    watcher = Watcher(
        run, options.node_rank, is_first=options.node_rank == 0, step_timeout=options.step_timeout
    )
    watcher.start()
    message = _train(torchrun_arguments(options), options)
    if message and not watcher.knows_better_than(message):
        EventLog(run.events_file).write_if_possible(Failed(stage="train", message=message))
    watcher.close()
    sys.exit(0 if message is None else 1)


def parse_options(arguments: list[str]) -> argparse.Namespace:
    """What node_command says; under Slurm a machine's number is that of its task."""
    parser = argparse.ArgumentParser(prog="agent")
    parser.add_argument("run", type=Path)
    parser.add_argument("accelerator")
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--devices", type=int, required=True)
    parser.add_argument("--master", default="")
    parser.add_argument("--node-rank", type=int, default=int(os.environ.get("SLURM_PROCID", "0")))
    parser.add_argument("--step-timeout", type=float)
    return parser.parse_args(arguments)


def torchrun_arguments(options: argparse.Namespace) -> list[str]:
    """The same in torchrun's terms."""
    if options.master:
        host, _, port = options.master.rpartition(":")
        meeting = ["--nnodes", str(options.nodes), "--node-rank", str(options.node_rank)]
        meeting += ["--master-addr", host, "--master-port", port]
    else:
        meeting = ["--standalone"]
    return [
        *meeting,
        *("--nproc-per-node", str(options.devices)),
        *("--shutdown-timeout", str(_SHUTDOWN_SECONDS)),
        # A signal asks for a checkpoint, which takes longer than torchrun would wait.
        *("--signals-to-handle", "SIGQUIT"),
        *("-m", "fsft.runtime.train", str(options.run), options.accelerator),
    ]


def _train(arguments: list[str], options: argparse.Namespace) -> str | None:
    """Run torchrun to its end; returns None when all went well, else what is known of why not."""
    from torch.distributed import DistError
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    try:
        torchrun(arguments)
    except ChildFailedError as error:
        return _first_cause([(f.timestamp, rank, f.exitcode) for rank, f in error.failures.items()])
    except DistError as error:
        return meeting_message(options.master, options.node_rank, str(error))
    return None


def _first_cause(failures: list[tuple[int, int, int]]) -> str:
    """Of (time, rank, exit code), the first that torchrun, which sends SIGTERM, did not cause."""
    killed = [failure for failure in failures if failure[2] < 0 and -failure[2] != signal.SIGTERM]
    _, rank, code = min(killed or failures)
    if code < 0:
        return explain_signal(rank, -code)
    return f"process {rank} ended with exit code {code}; see logs/rank-{rank}.log."


def meeting_message(master: str, node_rank: int, error: str) -> str:
    """Why the machines did not find each other, and what to do."""
    if "EADDRINUSE" in error or "address already in use" in error:
        return (
            f"the port of {master} is taken on the first machine. Stop what holds it, or give "
            "another with --rdzv-endpoint HOST:PORT."
        )
    return (
        f"machine {node_rank} waited for the others at {master} in vain. Start fsft on every "
        f"machine, and let them reach that port. {error.splitlines()[0]}"
    )


def _ask_to_stop_on_signals(run: RunDirectory) -> None:
    """Schedulers signal the agent too; one stop file stops the processes of all machines."""

    def stop(_number: int, _frame: object) -> None:
        run.stop_file.touch()

    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, stop)


if __name__ == "__main__":
    main()
