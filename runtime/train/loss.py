"""The training loss of a micro batch."""

import inspect
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
    kept: dict[str, torch.Tensor] = {}
    if _takes_positions(getattr(model, "module", model)):
        positions = (targets != IGNORED).any(dim=0).nonzero().squeeze(1)
        kept = {"logits_to_keep": positions}
        targets = targets[:, positions]
    loss: torch.Tensor = model(
        input_ids=batch.input_ids.to(model.device),
        position_ids=batch.position_ids.to(model.device),
        # Already shifted: labels only say that a loss is wanted.
        labels=targets,
        shift_labels=targets,
        num_items_in_batch=num_labels,
        use_cache=False,
        **kept,
    ).loss
    return loss


def _takes_positions(model: torch.nn.Module) -> bool:
    return "logits_to_keep" in inspect.signature(model.forward).parameters
