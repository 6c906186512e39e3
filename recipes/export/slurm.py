"""An sbatch file that runs a recipe and comes back when it is preempted."""

import math
import shlex

from fsft.recipes.export.job import Job
from fsft.recipes.problems import ExitCode

SAVE_SECONDS = 120
"""Before the end, Slurm asks to stop: a step and a checkpoint have to fit in."""
MARGIN = 1.25
"""On what the plan says of training, for the stages around it."""
_LEAST_MINUTES = 10


def slurm_script(job: Job) -> str:
    """The file, for `sbatch FILE` in the folder that the recipe's path starts from.

    Where the plan knows no time the partition's limit counts. bash gets the signal and passes it
    on; fsft saves and ends with 75, and the job puts itself in the queue again.
    """
    directives = [
        f"--job-name={job.name}",
        f"--nodes={job.nodes}",
        "--ntasks-per-node=1",
        "--exclusive" if not job.has_gpus else f"--gpus-per-node={job.devices_per_node}",
        *([] if job.seconds is None else [f"--time={slurm_time(job.seconds * MARGIN)}"]),
        f"--signal=B:USR1@{SAVE_SECONDS}",
        "--requeue",
        "--open-mode=append",
        f"--output={job.name}-%j.log",
    ]
    header = "\n".join(f"#SBATCH {line}" for line in directives)
    return f"""\
#!/bin/bash
{header}

# Set before fsft starts: no signal may come between.
trap 'kill -USR1 "$!"' USR1 TERM
fsft run {shlex.join(job.arguments)} --launcher slurm &
pid=$!
# A signal ends a wait early.
while kill -0 "$pid" 2>/dev/null; do wait "$pid"; code=$?; done
if [ "$code" -eq {ExitCode.STOPPED.value} ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def slurm_time(seconds: float) -> str:
    """Slurm's D-HH:MM:00, whole minutes and at least ten."""
    minutes = max(_LEAST_MINUTES, math.ceil(seconds / 60))
    days, rest = divmod(minutes, 24 * 60)
    return f"{days}-{rest // 60:02}:{rest % 60:02}:00"
