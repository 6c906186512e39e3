"""The peer: transformers' Trainer on prepared rows, one process of several under torchrun."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from fsft.runtime.data.training_set import TokenRow, TokenRows
from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.train.batches import collate
from fsft.runtime.train.loop import make_plan
from fsft.runtime.train.model import build_model, load_tokenizer
from tests.benchmarks.train import WARMUP


class Clock(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        """No step has ended yet."""
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())


class Rows(torch.utils.data.Dataset[TokenRow]):
    """The rows in the order in which Trainer's sampler deals them out to the processes."""

    def __init__(self, rows: TokenRows, order: list[int]) -> None:
        """`order` is the row at each place."""
        self._rows, self._order = rows, order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, place: int) -> TokenRow:
        """The row at a place."""
        return self._rows[self._order[place]]


class InOrder(Trainer):
    """Trainer without shuffling: the order is already that of the batch plan."""

    def _get_train_sampler(self, *_: Any) -> torch.utils.data.Sampler[int]:
        return torch.utils.data.SequentialSampler(self.train_dataset)


def main() -> None:
    """Train as fsft would, and write the speed."""
    run, result = RunDirectory(Path(sys.argv[1])), Path(sys.argv[2])
    recipe = run.recipe()
    rank, num_processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    tokenizer = load_tokenizer(run.tokenizer)
    rows = TokenRows(run.data / "train")
    plan = make_plan(recipe, rows, num_processes)
    total = plan.total_steps(recipe.budget)
    order = [
        int(row)
        for step in range(1, total + 1)
        for group in zip(*(plan.micro_batches(step, r) for r in range(num_processes)), strict=True)
        for part in group
        for row in part
    ]
    clock = Clock()
    trainer = InOrder(
        model=build_model(recipe, tokenizer, "cpu"),
        args=TrainingArguments(
            output_dir=str(result.parent / "trainer"),
            use_cpu=True,
            max_steps=total,
            per_device_train_batch_size=recipe.parallel.micro_batch,
            gradient_accumulation_steps=recipe.parallel.gradient_accumulation,
            learning_rate=recipe.optimizer.learning_rate,
            lr_scheduler_type=recipe.optimizer.schedule,
            max_grad_norm=recipe.optimizer.clip,
            optim="adamw_torch_fused",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_steps=1,
            remove_unused_columns=False,
            dataloader_num_workers=0,
        ),
        train_dataset=Rows(rows, order),
        data_collator=lambda items: _inputs(items, tokenizer.pad_token_id),
        callbacks=[clock],
    )
    trainer.train()
    if rank == 0:
        counted = [row for step in range(WARMUP + 1, total + 1) for row in plan.rows_of_step(step)]
        tokens = int(rows.lengths[counted].sum())
        seconds = clock.ends[-1] - clock.ends[WARMUP - 1]
        result.write_text(json.dumps({"tokens_per_second": tokens / seconds}))


def _inputs(rows: list[TokenRow], pad_token_id: int) -> dict[str, torch.Tensor]:
    """What a collator for packed rows gives: token ids, labels as long, positions."""
    batch = collate(rows, pad_token_id, one_row=False)
    labels = batch.targets.roll(1, dims=1)
    return {
        "input_ids": batch.input_ids,
        "labels": labels,
        "position_ids": batch.position_ids,
    }


if __name__ == "__main__":
    main()
