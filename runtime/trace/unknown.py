"""The shape of an architecture that has no reader: counted on the model itself."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from fsft.recipes.models.families.blocks import stack_of
from fsft.recipes.models.shape import (
    Attention,
    Experts,
    FeedForward,
    Layer,
    Linear,
    ModelShape,
    Norm,
)
from fsft.recipes.problems import Problem, RecipeError
from fsft.runtime.trace.model import causal_model
from fsft.runtime.train.apart import mixes_by_itself
from fsft.runtime.train.head_probe import loses_at_head


def counted_shape(config: Mapping[str, Any]) -> ModelShape:
    """The shape of what transformers builds from `config`; exact in its number of parameters.

    Matrices are told apart by their places: those below a module with "attn" or "attention" in its
    name, and the others. Raises RecipeError where transformers does not know the architecture
    either, or where it is not built of equal layers.
    """
    with torch.device("meta"):
        model = causal_model(config)
    settings = model.config.get_text_config()
    stack = max(
        (each for each in model.modules() if isinstance(each, nn.ModuleList)),
        key=_count,
        default=None,
    )
    if stack is None or len(stack) == 0:
        reason = f"{str(config['model_type'])[:60]!r} is not built of equal layers."
        raise RecipeError(Problem(key="model_type", reason=reason))
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    hidden = settings.hidden_size
    tied = head is None or head.weight is embedding.weight
    shape = ModelShape(
        architecture=str(config["model_type"]),
        hidden=hidden,
        vocab_size=embedding.weight.shape[0],
        stack=stack_of(map(_layer, stack, _settings_of_layers(settings, len(stack)))),
        final_norms=(Norm(hidden),),
        tied=tied,
        scales_logits=not loses_at_head(model),
        max_positions=getattr(settings, "max_position_embeddings", None),
        own_attention=not model._supports_attention_backend or mixes_by_itself(model),
    )
    rest = _count(model) - shape.num_parameters
    return replace(shape, num_embedding_projection_parameters=rest)


def _settings_of_layers(settings: Any, number: int) -> list[Any]:
    """What each layer is made by; layers of some models differ in their heads."""
    own = list(settings.per_layer_config)
    return own if len(own) == number else [settings] * number


def _layer(module: nn.Module, settings: Any) -> Layer:
    hidden, heads = settings.hidden_size, settings.num_attention_heads
    inside = [(name, part) for name, part in module.named_modules() if _is_linear(part)]
    in_attention = [(n, p) for n, p in inside if "attn" in n.lower() or "attention" in n.lower()]
    others = [(name, part) for name, part in inside if (name, part) not in in_attention]
    attention = Attention(
        hidden,
        heads,
        getattr(settings, "num_key_value_heads", None) or heads,
        getattr(settings, "head_dim", None) or hidden // heads,
        linears=tuple(_linear(name, part) for name, part in in_attention),
    )
    norms = tuple(
        Norm(hidden, "layer" if getattr(part, "bias", None) is not None else "rms")
        for part in module.modules()
        if "norm" in type(part).__name__.lower() and _count(part) in {hidden, 2 * hidden}
    )
    block: FeedForward | Experts = _feed_forward(hidden, [part for _, part in others])
    if stacked := _stacked_experts(module, hidden):
        number, width = stacked
        top_k = getattr(settings, "num_experts_per_tok", None) or 2
        expert = FeedForward(hidden, width, fused=True)
        block = Experts(expert, number, min(top_k, number), hidden * number)
    layer = Layer(attention, block, norms)
    return replace(layer, num_other_parameters=_count(module) - layer.num_parameters)


def _feed_forward(hidden: int, linears: list[nn.Module]) -> FeedForward:
    """Gated where more goes in than comes out: two matrices, or one of twice the width."""
    downs = [part for part in linears if _sizes(part)[1] == hidden]
    width = max((_sizes(part)[0] for part in downs), default=4 * hidden)
    into = sum(_sizes(part)[1] for part in linears if _sizes(part)[0] == hidden)
    return FeedForward(hidden, width, gated=into >= 2 * width)


def _stacked_experts(module: nn.Module, hidden: int) -> tuple[int, int] | None:
    """Number and width of experts that are kept in one tensor for each matrix."""
    for _, parameter in module.named_parameters():
        if parameter.ndim == 3 and parameter.shape[0] > 1 and hidden in parameter.shape[1:]:
            number, *sizes = parameter.shape
            other = sizes[1] if sizes[0] == hidden else sizes[0]
            widths = [p.shape for _, p in module.named_parameters() if p.ndim == 3]
            # The first matrix of a gated block holds both of its parts.
            return number, other // 2 if len(widths) > 1 and other % 2 == 0 else other
    return None


def _linear(name: str, part: nn.Module) -> Linear:
    inputs, outputs = _sizes(part)
    short = name.rpartition(".")[2].removesuffix("_proj")
    return Linear(short, inputs, outputs, getattr(part, "bias", None) is not None)


def _sizes(part: nn.Module) -> tuple[int, int]:
    rows, columns = part.weight.shape  # type: ignore[misc]
    return (rows, columns) if type(part).__name__ == "Conv1D" else (columns, rows)


def _is_linear(part: nn.Module) -> bool:
    return isinstance(part, nn.Linear) or type(part).__name__ == "Conv1D"


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
