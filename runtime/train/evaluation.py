"""The loss over the eval data while training, and what follows from it."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch.distributed as dist

from fsft.recipes.events import EvalLoss
from fsft.recipes.schema import Recipe
from fsft.runtime.data.encode import IGNORED
from fsft.runtime.data.images.files import image_folder
from fsft.runtime.data.order import Indexes
from fsft.runtime.data.training_set import TokenRow, TokenRows
from fsft.runtime.event_log import EventLog
from fsft.runtime.launch.whereabouts import Whereabouts
from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.train.ahead import made_ahead
from fsft.runtime.train.batches import BatchPlan
from fsft.runtime.train.marks import Standing, best_checkpoint, latest_checkpoint
from fsft.runtime.train.mesh import Mesh
from fsft.runtime.train.sequence import SequenceParallel
from fsft.runtime.train.steps import Steps
from fsft.runtime.train.vision import BatchMaker


class EvalRows:
    """The rows of data.eval, divided among the replicas of the model."""

    def __init__(
        self,
        run: RunDirectory,
        recipe: Recipe,
        batches: BatchMaker,
        mesh: Mesh,
        steps: Steps,
    ) -> None:
        """`batches` makes those of data.train."""
        folders = [image_folder(source) for source in recipe.data.eval]
        self._rows = TokenRows(run.data / "eval", folders)
        self._steps, self._mesh = steps, mesh
        self._sequence = SequenceParallel(mesh.sequence)
        self._micro_batch = recipe.parallel.settled.micro_batch
        self._batches = batches.of_other_rows(always_sees=self._rows.images.any)

    def loss(self) -> float:
        """Mean cross entropy of all learned tokens, in nats; the same on all processes."""
        groups = self._micro_batches()
        batches = (self._sequence.share(self._batches.collated(self._read(g))) for g in groups)
        total = self._steps.evaluate(made_ahead(self._batches.filled, batches), len(groups))
        # Over all: ranks that share tensors count alike, and are to agree on the number.
        dist.all_reduce(total)
        return float(total[0] / total[1])

    def _micro_batches(self) -> Sequence[Indexes]:
        """Those of this replica, of rows alike in length.

        Where processes exchange weights or pieces of rows, all must compute as many batches of as
        many rows; what is missing is filled up with a row of which nothing is learned (-1).
        """
        replica = self._mesh.replica
        order = np.argsort(-self._rows.lengths, kind="stable")
        missing = -len(order) % (self._micro_batch * replica.size)
        groups = np.pad(order, (0, missing), constant_values=-1).reshape(-1, self._micro_batch)
        return list(groups[replica.rank :: replica.size])

    def _read(self, group: Indexes) -> list[TokenRow]:
        shortest = self._rows[int(np.argmin(self._rows.lengths))]
        filler = replace(shortest, labels=np.full_like(shortest.labels, IGNORED))
        return [filler if index < 0 else self._rows[int(index)] for index in group]


class Evaluation:
    """When the eval loss is computed, which one is the lowest, and whether training goes on."""

    def __init__(
        self,
        rows: EvalRows | None,
        run: RunDirectory,
        recipe: Recipe,
        plan: BatchPlan,
        events: EventLog | None,
    ) -> None:
        """`rows`: None where the recipe has no eval data. The checkpoint is loaded already."""
        self._rows, self._plan, self._events = rows, plan, events
        self._total_steps = plan.total_steps(recipe.budget)
        self._every = recipe.evaluate.every or recipe.checkpoint.every
        self._patience = recipe.evaluate.patience
        self._keep_best = recipe.checkpoint.keep_best
        mark = latest_checkpoint(run.checkpoints)
        self.standing = mark.evaluated if mark else Standing()
        if self._keep_best and best_checkpoint(run.checkpoints) is None:
            # It was damaged or removed: the next one is the lowest of those that are kept.
            self.standing = replace(self.standing, best_step=None, best_loss=None)

    @property
    def is_over(self) -> bool:
        """Whether training is to end since the eval loss does not become lower."""
        return self._patience is not None and self.standing.since_best >= self._patience

    def look(self, step: int, whereabouts: Whereabouts) -> bool:
        """Compute the loss if it is due after `step`; True when its checkpoint is to be kept."""
        if self._rows is None or not self._is_due(step):
            return False
        whereabouts.mark(step, "evaluating")
        start = time.perf_counter()
        loss = self._rows.loss()
        self.standing = self.standing.after(step, loss)
        is_best = self.standing.best_step == step
        if self._events:
            seconds = time.perf_counter() - start
            self._events.write(EvalLoss(step=step, loss=loss, is_best=is_best, seconds=seconds))
        return is_best and self._keep_best

    def _is_due(self, step: int) -> bool:
        """At its times, and at the end; once after each step."""
        is_time = step == self._total_steps or self._plan.is_due(self._every, step)
        return is_time and step > self.standing.step
