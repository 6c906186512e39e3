"""The loss at the head: cross entropy without the logits of all tokens at once.

A chunk of tokens is projected, and the gradients of its loss are computed at once, so that its
logits can go before the next chunk's come. Nothing is computed twice (as in Liger-Kernel,
https://arxiv.org/abs/2410.10989). DeepSpeed's own (TiledFusedLogitsLoss) adds to the weights'
gradients during forward, where neither the scale of the loss nor ZeRO's hooks have their say.
"""

from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import torch
from torch.autograd.function import once_differentiable

from fsft.recipes.planner.head import chunk_tokens
from fsft.runtime.data.encode import IGNORED

BLOCK_ELEMENTS = 2**22
"""Logits of which float32 copies exist at once, where no kernel does without them."""


def compute_loss_at_head(model: Any) -> None:
    """Let a transformers model compute its training loss without the logits of all tokens.

    It is called as before, with labels, and what it adds to the loss stays (the balance of
    experts). A model that changes its logits before the loss, by a cap or a scale, has them
    computed whole, but without float32 copies; one with a loss of its own is left as it is.
    """
    from deepspeed.runtime.chunked_cross_entropy import ChunkedCausalLMLoss
    from transformers.loss.loss_utils import ForCausalLMLoss

    if model.loss_function is not ForCausalLMLoss:
        return
    head = model.get_output_embeddings()
    of_logits = ChunkedCausalLMLoss(
        block_rows=_block_rows(model.config.get_text_config().vocab_size)
    )
    if not loses_at_head(model):
        model.loss_function = of_logits
        return
    project = head.forward
    targets: list[torch.Tensor] = []

    def note(_model: Any, _args: Any, inputs: dict[str, Any]) -> None:
        targets.clear()
        if inputs.get("labels") is not None and inputs.get("shift_labels") is not None:
            targets.append(inputs["shift_labels"])

    def project_or_lose(hidden: torch.Tensor) -> torch.Tensor:
        if not targets:
            return project(hidden)
        return head_cross_entropy(hidden, head.weight, head.bias, targets.pop())

    def loss_of(logits: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if logits.ndim:
            return of_logits(logits, *args, **kwargs)
        return logits / kwargs["num_items_in_batch"]

    # In the head's own forward, for that is where ZeRO-3 has its weights gathered.
    head.forward = project_or_lose
    model.register_forward_pre_hook(note, with_kwargs=True)
    model.loss_function = loss_of


def head_cross_entropy(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    chunk: int | None = None,
) -> torch.Tensor:
    """Cross entropy of hidden · weightᵀ + bias, summed over all but IGNORED targets; float32.

    `hidden`: (…, width), `weight`: (vocabulary, width), `targets`: (…). `chunk`: tokens whose
    logits exist at once. The weight's gradient is added up in float32 over the chunks.
    """
    width = hidden.shape[-1]
    loss: torch.Tensor = _HeadCrossEntropy.apply(
        hidden.reshape(-1, width),
        weight,
        bias,
        targets.reshape(-1),
        chunk or chunk_tokens(width),
        torch.is_grad_enabled(),
    )
    return loss


class _HeadCrossEntropy(torch.autograd.Function):
    """Forward computes the gradients for a slope of 1; backward gives them the one it gets."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        chunk: int,
        differentiate: bool,
    ) -> torch.Tensor:
        needed = ctx.needs_input_grad[:3] if differentiate else (False, False, False)
        of_hidden, of_weight, of_bias = needed
        loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
        hidden_gradient = torch.empty_like(hidden) if of_hidden else None
        # With one chunk the product is rounded once, as in one product over all tokens.
        exact = torch.float32 if len(hidden) > chunk else weight.dtype
        weight_gradient = bias_gradient = None
        for start in range(0, max(1, len(hidden)), chunk):
            part = slice(start, start + chunk)
            rows = hidden[part]
            logits = torch.nn.functional.linear(rows, weight, bias)
            lost, slope = _lost(logits, targets[part], differentiate=any(needed))
            loss += lost
            del logits
            if hidden_gradient is not None:
                torch.mm(slope, weight, out=hidden_gradient[part])
            if of_weight:
                weight_gradient = _sum(weight_gradient, slope.t() @ rows, exact)
            if of_bias:
                bias_gradient = _sum(bias_gradient, slope.sum(dim=0, dtype=exact), exact)
        ctx.gradients = [
            None if each is None else each.to(weight.dtype)
            for each in (hidden_gradient, weight_gradient, bias_gradient)
        ]
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("the gradients of the loss are gone: backward was called before")
        given = [None if each is None else each.mul_(slope) for each in ctx.gradients]
        ctx.gradients = None
        return (*given, None, None, None)


def _lost(
    logits: torch.Tensor, targets: torch.Tensor, *, differentiate: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """The summed loss of (tokens, vocabulary) logits, and their gradients (empty without)."""
    from deepspeed.runtime.chunked_cross_entropy import chunked_cross_entropy

    logits.requires_grad_(differentiate)
    with torch.set_grad_enabled(differentiate):
        loss = chunked_cross_entropy(
            logits,
            targets,
            ignore_index=IGNORED,
            reduction="sum",
            block_rows=_block_rows(logits.shape[1]),
        )
    slope = torch.autograd.grad(loss, logits)[0] if differentiate else logits.new_empty(0)
    return loss.detach(), slope


def _sum(before: torch.Tensor | None, one: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return one.to(dtype) if before is None else before.add_(one)


def _block_rows(vocabulary: int) -> int:
    return max(1, BLOCK_ELEMENTS // vocabulary)


class _Told(Exception):
    """What the loss was asked of."""


def loses_at_head(model: Any) -> bool:
    """Whether a transformers model computes its loss of just what its head gives.

    Seen by calling it with layers that do nothing: no list of architectures knows the next one.
    """
    head = model.get_output_embeddings()
    if type(head) is not torch.nn.Linear:
        return False
    hidden = head.weight.new_zeros(1, 2, head.in_features)
    given: list[torch.Tensor] = []

    def tell(logits: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        raise _Told(logits)

    hook = head.register_forward_hook(lambda _head, _inputs, logits: given.append(logits))
    tokens = torch.zeros(1, 2, dtype=torch.long, device=hidden.device)
    with ExitStack() as stack, torch.no_grad():
        stack.callback(hook.remove)
        stack.enter_context(patch.object(model, "_loss_function", tell, create=True))
        for below in {model.base_model, model.get_decoder()} - {model}:
            stack.enter_context(patch.object(below, "forward", lambda *_, **__: _Bare(hidden)))
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
        except Exception:  # noqa: BLE001
            return False
    return False


class _Bare:
    """What layers give, and None for all that they might give besides."""

    def __init__(self, hidden: torch.Tensor) -> None:
        self.last_hidden_state = hidden

    def __getitem__(self, place: int | slice) -> Any:
        return () if isinstance(place, slice) else self.last_hidden_state

    def __getattr__(self, _name: str) -> None:
        return None
