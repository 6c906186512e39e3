"""Which rows each replica of the model computes at each step, and how they become tensors.

The rows are read in passes, each in its own seeded order. Every optimizer step takes the next
global batch; the same rows make it up however they are split over replicas and micro batches.
Which rows a step takes follows from its number at the same cost for any step, so resuming reads
nothing that was done.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from fsft.recipes.schema import Budget, Every
from fsft.runtime.data.encode import IGNORED
from fsft.runtime.data.order import Indexes, Order
from fsft.runtime.data.training_set import Extent, TokenRow

BATCHES_GROUPED = 64
"""Global batches whose rows are sorted by length together, where the recipe asks for it."""


@dataclass(frozen=True)
class Batch:
    """A micro batch: three tensors of (rows, longest row), and what it costs to compute.

    Position ids start again at 0 with each sample of a row, by which transformers bounds
    attention to the sample. For models with several positions a token, `vision` puts them first.
    """

    input_ids: torch.Tensor
    targets: torch.Tensor
    """The token that each position learns to predict, IGNORED where none."""
    position_ids: torch.Tensor
    num_tokens: int
    """Padding not counted."""
    num_labels: int
    """Tokens that are learned."""
    sum_squared_lengths: int
    """Σ s² over its samples, which attention costs."""
    rows: Sequence[TokenRow] = ()
    """What it was made of."""
    inputs: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """What the model takes besides, as the values of images."""


class BatchPlan:
    """Rows by step, replica and micro batch."""

    def __init__(
        self,
        lengths: npt.NDArray[np.int32],
        extent: Extent,
        *,
        seed: int,
        micro_batch: int,
        gradient_accumulation: int,
        num_replicas: int,
        group_by_length: bool = False,
    ) -> None:
        """`lengths`: the tokens of each row.

        `group_by_length`: make each global batch of rows that are alike in length.
        """
        self._lengths = lengths
        self._extent = extent
        self._seed = seed
        self._micro_batch = micro_batch
        self._num_replicas = num_replicas
        self.global_batch = micro_batch * gradient_accumulation * num_replicas
        self._batches_of = lru_cache(maxsize=2)(self._alike if group_by_length else self._in_order)
        self._num_together = BATCHES_GROUPED if group_by_length else 1

    def total_steps(self, budget: Budget) -> int:
        """Optimizer steps that the budget asks for; a part of a step counts as one."""
        if budget.steps is not None:
            return budget.steps
        num_rows = len(self._lengths)
        if budget.tokens is not None:
            tokens_of_step = self._extent.num_tokens / num_rows * self.global_batch
            return math.ceil(budget.tokens / tokens_of_step)
        return math.ceil((budget.epochs or 0) * num_rows / self.global_batch)

    def is_due(self, every: Every, step: int) -> bool:
        """Whether what is done each `every` is due after a step (from 1); a pass may end in it."""
        if every != "epoch":
            return step % every == 0
        rows, num_rows = step * self.global_batch, len(self._lengths)
        return rows // num_rows > (rows - self.global_batch) // num_rows

    def rows_of_step(self, step: int) -> Indexes:
        """The global batch of a step (from 1), longest row first."""
        group, within = divmod(step - 1, self._num_together)
        rows = self._batches_of(group)[within]
        return rows[np.argsort(-self._lengths[rows], kind="stable")]

    def micro_batches(self, step: int, replica: int) -> list[Indexes]:
        """The rows that one replica of the model computes in a step, an array for each micro batch.

        Neighbours in length are computed together, so that little is padded.
        """
        groups = self.rows_of_step(step).reshape(-1, self._micro_batch)
        return list(groups[replica :: self._num_replicas])

    def _in_order(self, group: int) -> Indexes:
        """(num_together, global_batch) rows, pass after pass, each in its own order.

        The first pass begins with the longest row of all. So the step that needs the most memory
        is the first, and too little shows at once.
        """
        number = self.global_batch * self._num_together
        places = np.arange(group * number, (group + 1) * number)
        passes, within = np.divmod(places, len(self._lengths))
        rows = np.empty_like(places)
        for each in np.unique(passes):
            rows[passes == each] = self._order(int(each))(within[passes == each])
        if passes[0] == 0:
            first, longest = self._order(0)(np.zeros(1, np.int64))[0], self._extent.longest_row
            rows[(passes == 0) & (rows == longest)] = first
            rows[places == 0] = longest
        return rows.reshape(self._num_together, self.global_batch)

    def _alike(self, group: int) -> Indexes:
        """The same rows, sorted by length into batches, which come in an order of their own."""
        rows = self._in_order(group).ravel()
        batches = rows[np.argsort(-self._lengths[rows], kind="stable")]
        order = Order(self._num_together, (self._seed, group, 1))(np.arange(self._num_together))
        if group == 0:
            order[[0, int(np.argmin(order))]] = order[[int(np.argmin(order)), 0]]
        return batches.reshape(self._num_together, self.global_batch)[order]

    def _order(self, number: int) -> Order:
        """The order of a pass."""
        return Order(len(self._lengths), (self._seed, number))


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
        sum_squared_lengths=int(sum((sizes.astype(np.int64) ** 2).sum() for sizes in samples)),
        rows=rows,
    )


def _positions(sample_lengths: npt.NDArray[np.int32], width: int) -> npt.NDArray[np.int64]:
    """0, 1, 2 … for each sample, the padding being one more."""
    padding = width - int(sample_lengths.sum())
    return np.concatenate([np.arange(size) for size in [*sample_lengths, padding]])
