"""The training loss of a micro batch."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from fsft.runtime.data.encode import IGNORED
from fsft.runtime.train.batches import Batch


def loss_of(model: Any, batch: Batch, num_labels: int) -> torch.Tensor:
    """Cross entropy summed over the batch's learned tokens, divided by `num_labels`; a scalar.

    Logits are computed only where some row learns the next token: prompts cost no output
    projection. `model` is a transformers causal model, or the engine around one.
    """
    targets = batch.targets.to(model.device)
    return loss_at(
        (targets != IGNORED).any(dim=0).nonzero().squeeze(1),
        model,
        batch.input_ids.to(model.device),
        batch.position_ids.to(model.device),
        targets,
        num_labels,
        {name: values.to(model.device) for name, values in batch.inputs.items()},
    )


def loss_at(
    positions: torch.Tensor,
    model: Any,
    input_ids: torch.Tensor,
    position_ids: torch.Tensor | None,
    targets: torch.Tensor,
    num_labels: int | torch.Tensor,
    inputs: Mapping[str, torch.Tensor] | None = None,
) -> torch.Tensor:
    """The loss from the logits at `positions` of all rows, where the model can leave others out.

    One with its loss at the head leaves out whatever is not learned by itself.

    `inputs`: what the model takes besides.
    """
    kept: dict[str, torch.Tensor] = {}
    inner = getattr(model, "module", model)
    if _takes_positions(inner) and not getattr(inner, "has_loss_at_head", False):
        kept = {"logits_to_keep": positions}
        targets = targets[:, positions]
    loss: torch.Tensor = model(
        input_ids=input_ids,
        position_ids=position_ids,
        # Already shifted: labels only say that a loss is wanted.
        labels=targets,
        shift_labels=targets,
        num_items_in_batch=num_labels,
        use_cache=False,
        **kept,
        **(inputs or {}),
    ).loss
    return loss


def _takes_positions(model: torch.nn.Module) -> bool:
    return "logits_to_keep" in inspect.signature(model.forward).parameters
