"""What offloading needs that may be missing, seen before the start."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from fsft.recipes.problems import Problem
from fsft.recipes.schema import Parallel

_USES_LIBAIO = "#include <libaio.h>\nint main() { io_context_t c = 0; return io_setup(1, &c); }\n"


def offload_problems(parallel: Parallel) -> Iterator[Problem]:
    """Programs that this machine lacks for what the recipe offloads.

    What is left to the planner is no problem yet.
    """
    optimizer, weights = parallel.offload_optimizer, parallel.offload_weights
    if {optimizer, weights} <= {"none", "auto"}:
        return
    compiler = os.environ.get("CXX", "c++")
    for program in (compiler, "ninja"):
        if shutil.which(program) is None:
            yield Problem(
                key="parallel.offload_optimizer",
                reason=f"DeepSpeed compiles its optimizer for the host, and there is no {program}.",
                example="apt-get install g++ ninja-build",
            )
            return
    if "nvme" in (optimizer, weights):
        yield from _nvme_problems(compiler, Path(str(parallel.offload_path)))


def _nvme_problems(compiler: str, folder: Path) -> Iterator[Problem]:
    flags = [*_flags("CFLAGS"), "-x", "c++", "-", *_flags("LDFLAGS"), "-laio", "-o", os.devnull]
    linked = subprocess.run(
        [compiler, *flags], input=_USES_LIBAIO, capture_output=True, text=True, check=False
    )
    if linked.returncode:
        yield Problem(
            key="parallel.offload_path",
            reason="DeepSpeed reads and writes NVMe disks by libaio, which is not installed.",
            example="apt-get install libaio-dev, or name its place in CFLAGS and LDFLAGS",
        )
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        yield Problem(
            key="parallel.offload_path",
            reason=f"{existing} is not a folder that can be written to.",
            example='offload_path = "/local_nvme"',
        )


def _flags(name: str) -> list[str]:
    return shlex.split(os.environ.get(name, ""))
