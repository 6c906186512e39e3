"""Starting the training processes, watching over them, and saying why they ended."""

import subprocess
import sys

from fsft.recipes.events import Event, Failed, TrainFinished, read_events
from fsft.recipes.problems import RunFailed, Stopped
from fsft.runtime.context import StageContext
from fsft.runtime.hardware import find_devices, process_environment
from fsft.runtime.processes import die_with_parent
from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.troubles import disk_full_message, is_disk_full


def train(context: StageContext) -> str:
    """The train stage: one process a device, under torchrun; returns a summary.

    Asked to stop (Stopped or KeyboardInterrupt raised in this thread), it lets the processes
    finish their step and save, then raises the same again. Raises RunFailed with the first error
    of the processes, Stopped when they stopped by themselves.
    """
    run = context.run
    run.stop_file.unlink(missing_ok=True)
    first_line = sum(1 for _ in read_events(run.events_file))
    request = _run_processes(context)
    events = list(read_events(run.events_file))[first_line:]
    finished = next((e for e in reversed(events) if isinstance(e, TrainFinished)), None)
    if finished is None:
        if request is not None:
            raise request
        raise RunFailed(_first_error(events, run))
    if finished.stopped:
        message = f"stopped after step {finished.step}. The same command resumes there."
        raise request if isinstance(request, KeyboardInterrupt) else Stopped(message)
    if request is not None:
        context.warn("training had just finished when the stop was asked for")
    return f"{finished.step} steps"


def _run_processes(context: StageContext) -> Stopped | KeyboardInterrupt | None:
    """Start the processes and wait for them; returns the request to stop, if there was one."""
    run = context.run
    devices = find_devices(context.recipe.hardware)
    command = [
        *(sys.executable, "-m", "fsft.runtime.launcher", str(run.events_file), "--standalone"),
        *("--nproc-per-node", str(devices.num_processes)),
        *("-m", "fsft.runtime.train", str(run.path), devices.accelerator),
    ]
    run.logs.mkdir(exist_ok=True)
    with (run.logs / "launcher.log").open("ab") as log:
        child = subprocess.Popen(
            command,
            env=process_environment(devices),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C reaches the whole foreground group; the processes are to hear of it from us.
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one thread-safe system call
        )
    request: Stopped | KeyboardInterrupt | None = None
    try:
        try:
            child.wait()
        except (Stopped, KeyboardInterrupt) as asked:
            request = asked
            run.stop_file.touch()
            child.wait()
    finally:
        _kill_all(child)
        run.stop_file.unlink(missing_ok=True)
    return request


def _kill_all(child: "subprocess.Popen[bytes]") -> None:
    """Leave no process behind, whatever ended the wait."""
    import psutil

    if child.poll() is not None:
        return
    launcher = psutil.Process(child.pid)
    for process in [*launcher.children(recursive=True), launcher]:
        process.kill()
    child.wait()


def _first_error(events: list[Event], run: RunDirectory) -> str:
    """A process killed by the system is the cause of what the others then say."""
    errors = [event for event in events if isinstance(event, Failed)]
    by_launcher = [error for error in errors if error.rank is None]
    if by_launcher:
        return by_launcher[0].message
    if errors:
        first = min(errors, key=lambda error: error.time)
        where = f" (process {first.rank}; log: {run.logs / f'rank-{first.rank}.log'})"
        return first.message + where
    if is_disk_full(run.path):
        return disk_full_message(run.path)
    return f"the training processes could not be started; see {run.logs / 'launcher.log'}."
