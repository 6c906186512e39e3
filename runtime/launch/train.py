"""Starting the training processes, watching over them, and saying why they ended."""

import os
import subprocess
import time

from fsft.recipes.events import EvalLoss, Event, Failed, TrainFinished, read_events
from fsft.recipes.problems import ExitCode, FsftError, Refused, RunFailed, Stopped
from fsft.runtime.context import StageContext
from fsft.runtime.launch.start import launch_commands
from fsft.runtime.processes import die_with_parent
from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.troubles import disk_full_message, is_disk_full

_LAST_WORDS_SECONDS = 10.0
"""After a failure here, for the agents of other machines to end; a lost one never does."""


def train(context: StageContext) -> str:
    """The train stage: one process a device, under torchrun; returns a summary.

    The commands of the launcher are started here; each trains on one machine or on several.
    Asked to stop (Stopped or KeyboardInterrupt raised in this thread), it lets the processes
    finish their step and save, then raises the same again. Raises the first error of the processes
    as the kind that it was, RunFailed or Refused; Stopped when they stopped by themselves.
    """
    run = context.run
    if not context.launching.only_joins:
        run.stop_file.unlink(missing_ok=True)
    first_line = sum(1 for _ in read_events(run.events_file))
    request = _run_processes(context)
    events = list(read_events(run.events_file))[first_line:]
    finished = next((e for e in reversed(events) if isinstance(e, TrainFinished)), None)
    if finished is None:
        if request is not None:
            raise request
        raise first_error(events, run)
    if finished.stopped:
        message = f"stopped after step {finished.step}. The same command resumes there."
        raise request if isinstance(request, KeyboardInterrupt) else Stopped(message)
    if request is not None:
        context.warn("training had just finished when the stop was asked for")
    return f"{finished.step} steps" + (_early_words(run) if finished.ended_early else "")


def _early_words(run: RunDirectory) -> str:
    told = (event for event in read_events(run.events_file) if isinstance(event, EvalLoss))
    *_, best = (None, *(event for event in told if event.is_best))
    if best is None:
        return ", ended early: no eval loss is a number"
    return f", ended early: the eval loss was lowest after step {best.step} ({best.loss:.4f})"


def _run_processes(context: StageContext) -> Stopped | KeyboardInterrupt | None:
    """Start the processes and wait for them; returns the request to stop, if there was one."""
    run = context.run
    commands = launch_commands(context.launching, context.recipe.hardware, run.path)
    run.logs.mkdir(exist_ok=True)
    children: list[subprocess.Popen[bytes]] = []
    request: Stopped | KeyboardInterrupt | None = None
    try:
        try:
            children.extend(_start(command, run) for command in commands)
            _wait_for(children)
        except (Stopped, KeyboardInterrupt) as asked:
            request = asked
            run.stop_file.touch()
            _wait_for(children)
        if any(child.returncode for child in children):
            _await_last_words(run)
    finally:
        for child in children:
            _kill_all(child)
        run.stop_file.unlink(missing_ok=True)
    return request


def _start(command: list[str], run: RunDirectory) -> "subprocess.Popen[bytes]":
    # One log a machine that fsft was started on: they must not write into each other's.
    with (run.logs / f"launcher-{os.uname().nodename}.log").open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C reaches the whole foreground group; the processes are to hear of it from us.
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one thread-safe system call
        )


def _wait_for(children: "list[subprocess.Popen[bytes]]") -> None:
    for child in children:
        child.wait()


def _await_last_words(run: RunDirectory) -> None:
    """Other machines may still have to say what failed first; each goes when it has."""
    deadline = time.monotonic() + _LAST_WORDS_SECONDS
    while any(run.signs.glob("node-*")) and time.monotonic() < deadline:
        time.sleep(0.2)


def _kill_all(child: "subprocess.Popen[bytes]") -> None:
    """Leave no process behind, whatever ended the wait."""
    import psutil

    if child.poll() is not None:
        return
    launcher = psutil.Process(child.pid)
    for process in [*launcher.children(recursive=True), launcher]:
        process.kill()
    child.wait()


def first_error(events: list[Event], run: RunDirectory) -> FsftError:
    """What ended training, as its kind; a process killed by the system is the cause of the rest."""
    errors = [event for event in events if isinstance(event, Failed)]
    by_launcher = [error for error in errors if error.rank is None and error.message]
    if by_launcher:
        return RunFailed(by_launcher[0].message)
    by_rank = [error for error in errors if error.rank is not None]
    if by_rank:
        first = by_rank[0]
        if first.exit_code == ExitCode.REFUSED:
            return Refused(first.message)
        where = f" (process {first.rank}; log: {run.logs / f'rank-{first.rank}.log'})"
        return RunFailed(first.message + where)
    if is_disk_full(run.path):
        return RunFailed(disk_full_message(run.path))
    return RunFailed(f"the training processes could not be started; see {run.logs}/launcher-*.log.")
