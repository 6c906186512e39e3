"""What is to be trained, before it is said on which devices."""

from dataclasses import dataclass

from fsft.recipes.models.shape import ModelShape
from fsft.recipes.planner.method import FULL, Method
from fsft.recipes.planner.split import Split, Units
from fsft.recipes.planner.style import FSFT, Style


@dataclass(frozen=True, eq=False)
class Job:
    """A model, a method and the sequences to train on.

    Compared by identity, so that what follows from a job alone is quickly found again.
    `sequence_length` in tokens; the budget is `num_tokens`
    (padding included) or `num_steps`; `logit_share` the
    share of positions whose logits are computed; `loss_chunk` the tokens whose logits exist at
    once, None for all of a micro batch.
    """

    shape: ModelShape
    sequence_length: int
    method: Method = FULL
    style: Style = FSFT
    num_tokens: int | None = None
    num_steps: int | None = None
    global_batch: int | None = None
    logit_share: float = 1.0
    loss_chunk: int | None = None
    sample_length: float | None = None
    """Mean tokens of a sample in a packed row: attention costs no more than that."""

    checkpoint_every: int | None = None
    """Optimizer steps between checkpoints; None where none is written."""

    has_nvme: bool = True
    """There is a fast disk on each machine to offload to."""
    split: Split = "even"
    """How layers are spread over the stages of a pipeline."""
    units: Units = "layers"
    """What these stages are made of."""

    num_patches: int = 0
    """Patches of images that the vision tower computes for one sequence."""
