"""Pipeline parallelism: stages of layers, each on ranks of its own, that pass micro batches on.

DeepSpeed's pipeline engine runs them one forward, one backward (1F1B, arXiv 2104.04473).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from deepspeed.checkpoint.constants import (
    PIPELINE_REPLICATED_PARAMETER_PATTERNS,
    UNIVERSAL_CHECKPOINT_INFO,
)
from deepspeed.pipe import PipelineModule
from deepspeed.runtime.engine import DeepSpeedEngine
from deepspeed.runtime.pipe.topology import PipeModelDataParallelTopology

from fsft.runtime.train.batches import Batch
from fsft.runtime.train.mesh import Mesh
from fsft.runtime.train.pipeline_stage import Stage, head_loss
from fsft.runtime.train.stages import Stages
from fsft.runtime.train.steps import Taken


class Pipeline(PipelineModule):
    """The stage of this rank; from outside, a whole model of which parts are left out.

    So names in checkpoints are those of the model, and say nothing of stages.
    """

    def __init__(self, model: Any, stages: Stages, mesh: Mesh) -> None:
        """`model`: whole, and changed."""
        axis = mesh.pipeline
        stage = Stage(
            model,
            partial(stages.take, stage=axis.rank),
            is_first=axis.rank == 0,
            is_last=axis.rank == axis.size - 1,
        )
        super().__init__(
            [stage if rank == axis.rank else None for rank in range(axis.size)],
            topology=PipeModelDataParallelTopology(axis.size, mesh.tensor.size, mesh.data.size),
            loss_fn=head_loss(model) if stage.is_last else None,
            partition_method="uniform",
            dynamic_shape=True,
        )
        self._tied: list[tuple[torch.nn.Parameter, Any]] = []
        # Where DeepSpeed's converter looks for how files of several ranks make a whole.
        info = dict(getattr(model, UNIVERSAL_CHECKPOINT_INFO, {}))
        if stage.is_tied:
            info[PIPELINE_REPLICATED_PARAMETER_PATTERNS] = self._tie(model)
        setattr(self, UNIVERSAL_CHECKPOINT_INFO, info)

    @property
    def stage(self) -> Stage:
        """The only layer that DeepSpeed knows of."""
        return self.forward_funcs[0]

    def named_parameters(
        self, *args: Any, **kwargs: Any
    ) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Those of the model."""
        return self.stage.model.named_parameters(*args, **kwargs)

    def named_children(self) -> Iterator[tuple[str, torch.nn.Module]]:
        """Those of the model."""
        return self.stage.model.named_children()

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """That of the model."""
        return self.stage.model.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Into the model."""
        return self.stage.model.load_state_dict(*args, **kwargs)

    def get_tied_weights_and_groups(self) -> list[tuple[torch.nn.Parameter, Any]]:
        """Weights of this rank that another stage holds too, whose gradients are summed."""
        return self._tied

    def _tie(self, model: Any) -> list[str]:
        """The first and the last stage hold the embedding; that of the first counts in the norm.

        Returns patterns of its names.
        """
        own = None
        for ranks in self._grid.pipe_groups:
            ends = [ranks[0], ranks[-1]]
            # All ranks make each group together.
            group = dist.new_group(ends)
            if dist.get_rank() in ends:
                own = group
        if own is None:
            return []
        weight = model.get_input_embeddings().weight
        weight.ds_pipe_replicated = self.stage.is_last
        self._tied = [(weight, own)]
        names = (name for name, parameter in self.named_parameters() if parameter is weight)
        return [f"{re.escape(name)}$" for name in names]


class PipelineSteps:
    """Optimizer steps of a rank in a pipeline."""

    def __init__(self, engine: Any, mesh: Mesh) -> None:
        self._engine = engine
        # DeepSpeed averages over both, and the loss of a micro batch is its share of the sum.
        self._averaged_over = mesh.data.size * engine.gradient_accumulation_steps()

    def take(self, batches: Sequence[Batch], num_labels: int) -> Taken:
        """One step from the micro batches of a step, which the first and the last stage have."""
        divisor = torch.tensor(num_labels / self._averaged_over, dtype=torch.float64)
        loss = self._engine.train_batch(
            ((batch.input_ids, batch.position_ids), (batch.targets, divisor)) for batch in batches
        )
        return Taken(float(loss), float(self._engine.get_global_grad_norm()))

    def evaluate(self, batches: Iterable[Batch], num_batches: int) -> torch.Tensor:
        """As without a pipeline, on the ranks of the last stage; zeros on others."""
        engine = self._engine
        num_labels: list[int] = []

        def given() -> Iterator[Any]:
            for batch in batches:
                num_labels.append(batch.num_labels)
                one = torch.ones((), dtype=torch.float64)
                yield (batch.input_ids, batch.position_ids), (batch.targets, one)

        losses = engine.eval_batch(
            given(), reduce_output=None, bcast_loss=False, num_micro_batches=num_batches
        )
        engine.train()
        total = torch.zeros(2, dtype=torch.float64, device=engine.device)
        if engine.is_last_stage():
            total[0], total[1] = sum(losses), sum(num_labels)
        return total


def save_as_whole(engine: Any) -> None:
    """Let a pipeline's engine save and load weights as any other does.

    Its own way leaves files of layers, which DeepSpeed's converters mistake for those of Megatron.
    """
    for name in ("module_state_dict", "load_module_state_dict"):
        setattr(engine, name, partial(getattr(DeepSpeedEngine, name), engine))
