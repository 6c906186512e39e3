"""The host memory of all ranks while fsft's own trainer loads a model and takes two steps.

Started by torchrun on one machine: RUN RESULT ACCELERATOR. Writes bytes above those before the
model: the peak of each phase, and what is left after it, of all ranks together.
"""

import ctypes
import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    """Measure."""
    import deepspeed
    import torch.distributed as dist

    from fsft.runtime.run_directory import RunDirectory
    from fsft.runtime.train import engine, loop
    from fsft.runtime.train.stop import StopRequest
    from tests.benchmarks.train.pss import Watch, pss_bytes

    run, result, accelerator = RunDirectory(Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3]
    deepspeed.init_distributed()
    _warm_up(run)
    pids: list[int] = [0] * dist.get_world_size()
    dist.all_gather_object(pids, os.getpid())
    watch = Watch(pids) if dist.get_rank() == 0 else None
    left: dict[str, int] = {}

    def measured(phase: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def done(*arguments: Any, **named: Any) -> Any:
            dist.barrier()
            around = watch.phase if watch else ""
            if watch:
                watch.begin(phase)
            value = work(*arguments, **named)
            gc.collect()
            # What is free again is not held, but glibc may not have given it back.
            ctypes.CDLL(None).malloc_trim(0)
            dist.barrier()
            if watch:
                left[phase] = pss_bytes(pids)
                watch.peaks[phase] = max(left[phase], watch.peaks.get(phase, 0))
                watch.begin(around)
            dist.barrier()
            return value

        return done

    before: list[int] = []

    def build(*arguments: Any) -> Any:
        gc.collect()
        dist.barrier()
        if watch:
            before.append(pss_bytes(pids))
        return measured("load", build_model)(*arguments)

    build_model = loop.build_model
    loop.build_model = build
    engine.divide = measured("divide", engine.divide)
    loop.make_engine = measured("engine", loop.make_engine)
    trainer = loop.Trainer(run, accelerator)
    trainer.whereabouts = _Nowhere()  # type: ignore[assignment]
    trainer.engine.train()
    for step in ("first step", "second step"):
        measured(step, trainer._one_step)(StopRequest(run.stop_file))
    if watch:
        watch.end()
        peaks = {phase: peak - before[0] for phase, peak in watch.peaks.items()}
        kept = {phase: size - before[0] for phase, size in left.items()}
        result.write_text(json.dumps({"peak": peaks, "left": kept}))
    dist.barrier()
    os._exit(0)


class _Nowhere:
    def mark(self, *_: object) -> None:
        """Nobody asks."""


def _warm_up(run: Any) -> None:
    """What any model brings along: modules, compiled extensions, thread pools."""
    import torch
    from deepspeed.accelerator import get_accelerator
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    config = AutoConfig.for_model("llama", num_attention_heads=2, vocab_size=64, **settings)
    model = AutoModelForCausalLM.from_config(config).to(get_accelerator().current_device_name())
    model(
        input_ids=torch.zeros(1, 8, dtype=torch.long, device=model.device)
    ).logits.sum().backward()
    torch.optim.AdamW(model.parameters(), fused=True).step()


if __name__ == "__main__":
    main()
