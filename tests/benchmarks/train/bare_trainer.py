"""The peer: transformers' Trainer, with DeepSpeed where the recipe has a ZeRO stage."""

from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from fsft.runtime.data.training_set import TokenRow
from fsft.runtime.train.engine import deepspeed_config
from tests.benchmarks.train.peer import Peer


class Clock(TrainerCallback):
    """Tells the peer when each step ended."""

    def __init__(self, peer: Peer) -> None:
        """`peer` keeps the time."""
        self._peer = peer

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note the time."""
        self._peer.end_step()


class Rows(torch.utils.data.Dataset[TokenRow]):
    """The rows in the order in which Trainer's sampler deals them out to the processes."""

    def __init__(self, peer: Peer) -> None:
        """The rows of all steps."""
        self._rows = peer.rows
        replicas = range(peer.num_processes)
        self._order = [
            int(row)
            for step in range(1, peer.num_steps + 1)
            for group in zip(*(peer.plan.micro_batches(step, r) for r in replicas), strict=True)
            for part in group
            for row in part
        ]

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
    peer = Peer()
    recipe = peer.recipe
    parallel = recipe.parallel.settled
    trainer = InOrder(
        model=peer.model,
        args=TrainingArguments(
            output_dir=str(peer.run.path / "trainer"),
            use_cpu=peer.accelerator == "cpu",
            max_steps=peer.num_steps,
            per_device_train_batch_size=parallel.micro_batch,
            gradient_accumulation_steps=parallel.gradient_accumulation,
            learning_rate=recipe.optimizer.learning_rate,
            lr_scheduler_type=recipe.optimizer.schedule,
            max_grad_norm=recipe.optimizer.clip,
            bf16=recipe.model.dtype == "bfloat16",
            gradient_checkpointing=parallel.activation_checkpointing != "none",
            torch_compile=recipe.model.compile,
            optim="adamw_torch_fused",
            deepspeed=deepspeed_config(recipe) if parallel.zero else None,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_steps=1,
            remove_unused_columns=False,
            dataloader_num_workers=0,
        ),
        train_dataset=Rows(peer),
        data_collator=peer.inputs,
        callbacks=[Clock(peer)],
    )
    trainer.train()
    peer.write()


if __name__ == "__main__":
    main()
