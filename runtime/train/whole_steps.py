"""Optimizer steps of a rank that computes all layers."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist

from fsft.recipes.schema import Recipe
from fsft.runtime.train.ahead import made_ahead
from fsft.runtime.train.batches import Batch
from fsft.runtime.train.engine import gradient_step
from fsft.runtime.train.loss import loss_of
from fsft.runtime.train.mesh import Axis
from fsft.runtime.train.steps import Taken


class WholeSteps:
    """Forward and backward of each micro batch, then the update."""

    def __init__(
        self, engine: Any, recipe: Recipe, data: Axis, fill: Callable[[Batch], Batch]
    ) -> None:
        """`fill`: adds what is made of rows while others are computed, as the values of images."""
        self._engine, self._recipe, self._data, self._fill = engine, recipe, data, fill

    def take(self, batches: Sequence[Batch], num_labels: int) -> Taken:
        """One step; `num_labels`: of the global batch."""
        engine, data = self._engine, self._data
        loss_sum = torch.zeros((), device=engine.device)
        for number, batch in enumerate(made_ahead(self._fill, batches), start=1):
            loss = loss_of(engine, batch, num_labels)
            loss_sum += loss.detach()
            # The engine averages gradients over data ranks; the loss is a share of the whole sum.
            engine.backward(loss * data.size, scale_wrt_gas=False)
            if number < len(batches):
                engine.step()
        dist.all_reduce(loss_sum, group=data.group)
        return Taken(loss_sum.item(), gradient_step(engine, self._recipe))

    def evaluate(self, batches: Iterable[Batch], num_batches: int) -> torch.Tensor:
        """The summed cross entropy of its batches, and the tokens that it is of."""
        engine = self._engine
        total = torch.zeros(2, dtype=torch.float64, device=engine.device)
        engine.eval()
        with torch.no_grad():
            for _, batch in zip(range(num_batches), batches, strict=True):
                total[0] += loss_of(engine, batch, num_labels=1)
                total[1] += batch.num_labels
        engine.train()
        return total
