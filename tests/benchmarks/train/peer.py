"""What the peers share: the run's rows in the order that fsft trains them, and a clock."""

import json
import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

from fsft.runtime.data.training_set import TokenRow, TokenRows
from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.train.batches import collate
from fsft.runtime.train.loop import make_plan
from fsft.runtime.train.model import build_model, load_tokenizer
from tests.benchmarks.train.runs import WARMUP


class Peer:
    """One process of a peer: `RUN RESULT ACCELERATOR` on its command line."""

    def __init__(self) -> None:
        """Read the run, and build its model."""
        self.run, self._result = RunDirectory(Path(sys.argv[1])), Path(sys.argv[2])
        self.accelerator = sys.argv[3]
        self.recipe = self.run.recipe()
        self.rank, self.num_processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        tokenizer = load_tokenizer(self.run.tokenizer)
        self._pad_token_id = tokenizer.pad_token_id
        self.rows = TokenRows(self.run.data / "train")
        self.plan = make_plan(self.recipe, self.rows, self.num_processes)
        self.num_steps = self.plan.total_steps(self.recipe.budget)
        self.model = build_model(self.recipe, tokenizer, self.accelerator)
        # With a cache, transformers lets the samples of a packed row see each other.
        self.model.config.use_cache = False
        self._ends: list[float] = []

    def inputs(self, rows: list[TokenRow]) -> dict[str, torch.Tensor]:
        """What a collator for packed rows gives: token ids, labels as long, positions."""
        batch = collate(rows, self._pad_token_id, one_row=False)
        return {
            "input_ids": batch.input_ids,
            "labels": batch.targets.roll(1, dims=1),
            "position_ids": batch.position_ids,
        }

    def end_step(self) -> None:
        """Note that a step has ended."""
        from deepspeed.accelerator import get_accelerator

        get_accelerator().synchronize()
        self._ends.append(time.perf_counter())

    def write(self) -> None:
        """Write tokens per second, padding not counted, and end."""
        if self.rank == 0:
            steps = range(WARMUP + 1, self.num_steps + 1)
            counted = [row for step in steps for row in self.plan.rows_of_step(step)]
            tokens = int(self.rows.lengths[counted].sum())
            seconds = self._ends[-1] - self._ends[WARMUP - 1]
            self._result.write_text(json.dumps({"tokens_per_second": tokens / seconds}))
        leave()


def leave() -> None:
    """End at once, once all have come so far: tearing down gloo now and then aborts."""
    dist.barrier()
    os._exit(0)
