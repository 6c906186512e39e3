"""The formulas against a traced step: `python -m tests.benchmarks.planner.oracle`."""

import statistics

from fsft.recipes.models.from_config import read_shape
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Checkpointing, Layout
from fsft.recipes.planner.one_device import on_one_device
from fsft.runtime.trace.trace import trace_step
from tests.runtime.trace.architectures import ARCHITECTURES, config_of

MODES: tuple[Checkpointing, ...] = ("none", "selective", "full")
LENGTHS = (512, 2048)


def main() -> None:
    """Print what forward keeps, by architecture, checkpointing and length."""
    errors = []
    for architecture in ARCHITECTURES:
        config = config_of(architecture)
        cells = []
        for mode in MODES:
            for length in LENGTHS:
                traced = trace_step(
                    config, micro_batch=2, sequence_length=length, checkpointing=mode
                )
                layout = Layout(zero=0, micro_batch=2, checkpointing=mode)
                expected = on_one_device(Job(read_shape(config), length), layout)
                errors.append(expected.kept / traced.activation_bytes - 1)
                cells.append(f"{mode} {length} {errors[-1]:+.2%}")
        print(f"{architecture:12}", "  ".join(cells))
    absolute = [abs(error) for error in errors]
    print(
        f"{len(errors)} cases: median {statistics.median(absolute):.2%}, worst {max(absolute):.2%}"
    )


if __name__ == "__main__":
    main()
