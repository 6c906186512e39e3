"""Which rows each process computes at each step, and how they become tensors.

The rows are read in passes, each in its own seeded order. Every optimizer step takes the next
global batch; the same rows make it up however they are split over processes and micro batches.
Where a step begins follows from its number, so resuming reads nothing that was done.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from fsft.recipes.schema import Budget
from fsft.runtime.data.encode import IGNORED
from fsft.runtime.data.store import TokenRow

Indexes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """A micro batch: three tensors of (rows, longest row), and what it costs to compute.

    Position ids start again at 0 with each sample of a row, by which transformers bounds
    attention to the sample.
    """

    input_ids: torch.Tensor
    targets: torch.Tensor
    """The token that each position learns to predict, IGNORED where none."""
    position_ids: torch.Tensor
    num_tokens: int
    """Padding not counted."""
    num_labels: int
    """Tokens that are learned."""
    num_logits: int
    """Positions at which logits are computed: where any row learns, in all rows."""
    sum_squared_lengths: int
    """Σ s² over its samples, which attention costs."""


class BatchPlan:
    """Rows by step, process and micro batch."""

    def __init__(
        self,
        lengths: npt.NDArray[np.int64],
        *,
        seed: int,
        micro_batch: int,
        gradient_accumulation: int,
        num_processes: int,
    ) -> None:
        """`lengths`: the tokens of each row."""
        self._lengths = lengths
        self._seed = seed
        self._micro_batch = micro_batch
        self._num_processes = num_processes
        self.global_batch = micro_batch * gradient_accumulation * num_processes
        self._order_of_pass = lru_cache(maxsize=2)(self._make_order)

    def total_steps(self, budget: Budget) -> int:
        """Optimizer steps that the budget asks for; a part of a step counts as one."""
        if budget.steps is not None:
            return budget.steps
        if budget.tokens is not None:
            return math.ceil(budget.tokens / (float(self._lengths.mean()) * self.global_batch))
        return math.ceil((budget.epochs or 0) * len(self._lengths) / self.global_batch)

    def rows_of_step(self, step: int) -> Indexes:
        """The global batch of a step (from 1), longest row first."""
        first = (step - 1) * self.global_batch
        places = np.arange(first, first + self.global_batch)
        passes, within = np.divmod(places, len(self._lengths))
        rows = np.concatenate(
            [self._order_of_pass(int(p))[within[passes == p]] for p in np.unique(passes)]
        )
        return rows[np.argsort(-self._lengths[rows], kind="stable")]

    def micro_batches(self, step: int, rank: int) -> list[Indexes]:
        """The rows that one process computes in a step, one array for each micro batch.

        Neighbours in length are computed together, so that little is padded.
        """
        groups = self.rows_of_step(step).reshape(-1, self._micro_batch)
        return list(groups[rank :: self._num_processes])

    def _make_order(self, number: int) -> Indexes:
        """The order of a pass; the first one begins with the longest row of all.

        So the step that needs the most memory is the first, and too little shows at once.
        """
        order = np.random.default_rng([self._seed, number]).permutation(len(self._lengths))
        if number == 0:
            longest = int(np.argmax(self._lengths[order]))
            order[[0, longest]] = order[[longest, 0]]
        return order


def collate(rows: Sequence[TokenRow], pad_token_id: int, *, one_row: bool) -> Batch:
    """The rows as one micro batch, padded on the right to the longest.

    `one_row` puts all rows behind each other into a single one without padding, which
    flash-attention computes without a mask.
    """
    lengths = [len(row.input_ids) for row in rows]
    samples = [np.diff(row.cu_seqlens) for row in rows]
    input_ids = np.full((len(rows), max(lengths)), pad_token_id, dtype=np.int64)
    targets = np.full_like(input_ids, IGNORED)
    positions = np.zeros_like(input_ids)
    for index, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        input_ids[index, :length] = row.input_ids
        targets[index, : length - 1] = row.labels[1:]
        positions[index] = _positions(samples[index], input_ids.shape[1])
    if one_row:
        kept = np.arange(input_ids.shape[1]) < np.asarray(lengths)[:, None]
        input_ids, targets, positions = (a[kept][None] for a in (input_ids, targets, positions))
    return Batch(
        input_ids=torch.from_numpy(input_ids),
        targets=torch.from_numpy(targets),
        position_ids=torch.from_numpy(positions),
        num_tokens=sum(lengths),
        num_labels=int((targets != IGNORED).sum()),
        num_logits=int((targets != IGNORED).any(axis=0).sum()) * len(targets),
        sum_squared_lengths=int(sum((sizes.astype(np.int64) ** 2).sum() for sizes in samples)),
    )


def _positions(sample_lengths: npt.NDArray[np.int32], width: int) -> npt.NDArray[np.int64]:
    """0, 1, 2 … for each sample, the padding being one more."""
    padding = width - int(sample_lengths.sum())
    return np.concatenate([np.arange(size) for size in [*sample_lengths, padding]])
