"""How a model computes its loss: asked of the model itself."""

import warnings
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import torch


def loses_at_head(model: Any) -> bool:
    """Whether a transformers model computes its loss of just what its head gives.

    Seen by calling it with layers that do nothing: no list of architectures knows the next one.
    """
    head = model.get_output_embeddings()
    if type(head) is not torch.nn.Linear and not is_divided(head):
        return False
    hidden = head.weight.new_zeros(1, 2, head.weight.shape[1])
    given: list[torch.Tensor] = []

    def tell(logits: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        raise _Told(logits)

    hook = head.register_forward_hook(lambda _head, _inputs, logits: given.append(logits))
    tokens = torch.zeros(1, 2, dtype=torch.long, device=hidden.device)
    with ExitStack() as stack, torch.no_grad():
        stack.callback(hook.remove)
        stack.enter_context(patch.object(model, "_loss_function", tell, create=True))
        for below in {model.base_model, model.get_decoder()} - {model}:
            stack.enter_context(patch.object(below, "forward", lambda *_, **__: BareOutput(hidden)))
        try:
            model(
                input_ids=tokens,
                labels=tokens,
                shift_labels=tokens,
                num_items_in_batch=2,
                use_cache=False,
            )
        except _Told as told:
            return len(given) == 1 and told.args[0] is given[0]
        # What a model of any kind does with layers that it does not know.
        except Exception as error:  # noqa: BLE001
            warnings.warn(
                f"{type(model).__name__} could not be asked how it computes its loss "
                f"({type(error).__name__}: {error}): the logits of all tokens will exist at once.",
                stacklevel=2,
            )
    return False


def is_divided(head: Any) -> bool:
    """Whether an output projection is DeepSpeed's, with a part of the vocabulary on each rank."""
    return bool(getattr(head, "is_vocab_parallel_lm_head", False))


class _Told(Exception):
    """What the loss was asked of."""


class BareOutput:
    """What layers give, and None for all that they might give besides."""

    def __init__(self, hidden: torch.Tensor) -> None:
        self.last_hidden_state = hidden

    def __getitem__(self, place: int | slice) -> Any:
        return () if isinstance(place, slice) else self.last_hidden_state

    def __getattr__(self, _name: str) -> None:
        return None
