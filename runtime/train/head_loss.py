"""The loss at the head: cross entropy without the logits of all tokens at once.

A chunk of tokens is projected, and the gradients of its loss are computed at once, so that its
logits can go before the next chunk's come. Nothing is computed twice (as in Liger-Kernel,
https://arxiv.org/abs/2410.10989). DeepSpeed's own (TiledFusedLogitsLoss) adds to the weights'
gradients during forward, where neither the scale of the loss nor ZeRO's hooks have their say.
"""

from typing import Any, NamedTuple

import torch
from torch._subclasses.fake_tensor import is_fake
from torch.autograd.function import once_differentiable

from fsft.recipes.planner.head import chunk_tokens
from fsft.runtime.data.encode import IGNORED
from fsft.runtime.train.head_probe import is_divided, loses_at_head

BLOCK_ELEMENTS = 2**22
"""Logits of which float32 copies exist at once, where no kernel does without them."""


class Shard(NamedTuple):
    """The rows of the vocabulary, from `first` to before `end` of `size`, that this rank has."""

    group: Any
    """The ranks that have the others."""
    first: int
    end: int
    size: int


def compute_loss_at_head(model: Any) -> None:
    """Let a transformers model compute its training loss without the logits of all tokens.

    It is called as before, with labels, and what it adds to the loss stays (the balance of
    experts). A model that changes its logits before the loss, by a cap or a scale, has them
    computed whole, but without float32 copies; one with a loss of its own is left as it is.
    Where tensor parallel ranks divide the vocabulary, each computes the logits of its own part.
    """
    from transformers.loss.loss_utils import ForCausalLMLoss

    if model.loss_function is not ForCausalLMLoss:
        return
    head = model.get_output_embeddings()
    shard = _shard_of(head)
    of_logits = _loss_of_logits(model, shard)
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
        return head_cross_entropy(hidden, head.weight, head.bias, targets.pop(), shard=shard)

    def loss_of(logits: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if logits.ndim:
            return of_logits(logits, *args, **kwargs)
        return logits / kwargs["num_items_in_batch"]

    # In the head's own forward, for that is where ZeRO-3 has its weights gathered.
    head.forward = project_or_lose
    model.register_forward_pre_hook(note, with_kwargs=True)
    model.loss_function = loss_of
    model.has_loss_at_head = True


def head_cross_entropy(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    chunk: int | None = None,
    shard: Shard | None = None,
) -> torch.Tensor:
    """Cross entropy of hidden · weightᵀ + bias, summed over all but IGNORED targets; float32.

    Of those nothing is computed.
    `hidden`: (…, width), `weight`: (vocabulary, width), `targets`: (…). `chunk`: tokens whose
    logits exist at once. The weight's gradient is added up in float32 over the chunks.
    `shard`: `weight` and `bias` are these rows of the vocabulary; all of its group call this.
    """
    width = hidden.shape[-1]
    learned = _learned(targets.reshape(-1))
    loss: torch.Tensor = _HeadCrossEntropy.apply(
        hidden.reshape(-1, width).index_select(0, learned),
        weight,
        bias,
        targets.reshape(-1)[learned],
        chunk or chunk_tokens(width),
        shard,
        torch.is_grad_enabled(),
    )
    return loss


def _learned(targets: torch.Tensor) -> torch.Tensor:
    """Their places; of a tensor without values, as a trace has it, all of them."""
    if is_fake(targets):
        return torch.arange(len(targets), device=targets.device)
    return (targets != IGNORED).nonzero().squeeze(1)


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
        shard: Shard | None,
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
            lost, slope = _lost(logits, targets[part], shard, differentiate=any(needed))
            loss += lost
            del logits
            if hidden_gradient is not None:
                torch.mm(slope, weight, out=hidden_gradient[part])
            if of_weight:
                weight_gradient = _sum(weight_gradient, slope.t() @ rows, exact)
            if of_bias:
                bias_gradient = _sum(bias_gradient, slope.sum(dim=0, dtype=exact), exact)
            del slope
        if shard and hidden_gradient is not None:
            torch.distributed.all_reduce(hidden_gradient, group=shard.group)
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
        return (*given, None, None, None, None)


def _lost(
    logits: torch.Tensor, targets: torch.Tensor, shard: Shard | None, *, differentiate: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """The summed loss of (tokens, vocabulary) logits, and their gradients (empty without)."""
    logits.requires_grad_(differentiate)
    with torch.set_grad_enabled(differentiate):
        loss = _cross_entropy(logits, targets, shard)
    slope = torch.autograd.grad(loss, logits)[0] if differentiate else logits.new_empty(0)
    return loss.detach(), slope


def _cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, shard: Shard | None
) -> torch.Tensor:
    if shard:
        from deepspeed.sequence.cross_entropy import vocab_parallel_cross_entropy

        return vocab_parallel_cross_entropy(
            logits,
            targets,
            shard.group,
            vocab_start_index=shard.first,
            vocab_end_index=shard.end,
            global_vocab_size=shard.size,
            ignore_index=IGNORED,
            reduction="sum",
        )
    from deepspeed.runtime.chunked_cross_entropy import chunked_cross_entropy

    return chunked_cross_entropy(
        logits,
        targets,
        ignore_index=IGNORED,
        reduction="sum",
        block_rows=_block_rows(logits.shape[1]),
    )


def _loss_of_logits(model: Any, shard: Shard | None) -> Any:
    """DeepSpeed's loss of logits that exist whole, called as transformers calls its own."""
    if shard:
        from deepspeed.sequence.cross_entropy import VocabParallelCausalLMLoss

        return VocabParallelCausalLMLoss(
            tp_group=shard.group,
            vocab_start_index=shard.first,
            vocab_end_index=shard.end,
            ignore_index=IGNORED,
        )
    from deepspeed.runtime.chunked_cross_entropy import ChunkedCausalLMLoss

    vocabulary = model.config.get_text_config().vocab_size
    return ChunkedCausalLMLoss(block_rows=_block_rows(vocabulary))


def _shard_of(head: Any) -> Shard | None:
    """None where the head has the whole vocabulary."""
    if not is_divided(head):
        return None
    return Shard(head.mp_group, head.vocab_start_index, head.vocab_end_index, head.vocab_size)


def _sum(before: torch.Tensor | None, one: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return one.to(dtype) if before is None else before.add_(one)


def _block_rows(vocabulary: int) -> int:
    return max(1, BLOCK_ELEMENTS // vocabulary)
