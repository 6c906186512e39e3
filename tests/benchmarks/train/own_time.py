"""fsft's own part of a step: what is not spent in DeepSpeed, the model or collectives.

One process of the real trainer, whose calls into them are timed: `RUN RESULT ACCELERATOR`.
"""

import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import deepspeed
import torch.distributed as dist

from fsft.recipes.events import read_events, steps_of
from fsft.runtime.launch.whereabouts import Whereabouts
from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.train import engine
from fsft.runtime.train.loop import Trainer
from fsft.runtime.train.stop import StopRequest
from tests.benchmarks.train.peer import leave
from tests.benchmarks.train.runs import WARMUP

OTHERS = ("forward", "backward", "step", "train_batch")
"""Methods of the engine."""


class Stopwatch:
    """Seconds inside timed calls; a call within a call counts once."""

    def __init__(self) -> None:
        """Nothing was called yet."""
        self.seconds = 0.0
        self._depth = 0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time counted."""

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            self._depth += 1
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.perf_counter() - start

        return called


def main() -> None:
    """Train, and write the share of the steps' time that is fsft's own."""
    run, result, accelerator = RunDirectory(Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3]
    deepspeed.init_distributed()
    trainer = Trainer(run, accelerator)
    watch = Stopwatch()
    for name in OTHERS:
        if hasattr(trainer.engine, name):
            setattr(trainer.engine, name, watch.timed(getattr(trainer.engine, name)))
    at_warmup = 0.0
    one_step = trainer._one_step

    def noting(stop: StopRequest) -> bool:
        nonlocal at_warmup
        asked = one_step(stop)
        if trainer.step == WARMUP:
            at_warmup = watch.seconds
        return asked

    with (
        patch.object(trainer, "_one_step", noting),
        patch.object(dist, "all_reduce", watch.timed(dist.all_reduce)),
        # A bare loop clips as well.
        patch.object(engine, "clip_gradients", watch.timed(engine.clip_gradients)),
    ):
        trainer.train(StopRequest(run.stop_file), Whereabouts(run.signs, dist.get_rank()))
    if dist.get_rank() == 0:
        steps = steps_of(read_events(run.events_file))[WARMUP:]
        whole = sum(step.seconds for step in steps)
        own = whole - (watch.seconds - at_warmup)
        result.write_text(json.dumps({"own_share": own / whole}))
    leave()


if __name__ == "__main__":
    main()
