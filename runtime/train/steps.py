"""Optimizer steps, as the training loop asks for them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import torch

from fsft.runtime.train.batches import Batch


class Taken(NamedTuple):
    """What a step came to, on all ranks."""

    loss: float
    grad_norm: float
    """Before clipping."""


class Steps(Protocol):
    """A way of taking optimizer steps."""

    def take(self, batches: Sequence[Batch], num_labels: int) -> Taken:
        """One step from this rank's micro batches; `num_labels`: of the global batch."""

    def evaluate(self, batches: Iterable[Batch], num_batches: int) -> torch.Tensor:
        """Two float64: the summed cross entropy of its batches, and the tokens that it is of.

        Zeros on ranks where other ranks compute them. Each rank has as many batches.
        """
