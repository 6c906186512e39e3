"""The halves of a transformers layer: up to the sum after attention, and what follows it.

A half is the layer itself, in which what belongs to the other half gives nothing or passes on: so
the names of its weights stay, and its forward is the model's own. That the halves one after the
other are the whole layer is tried before training, with functions in the place of attention and
feed-forward that any could be; no list of architectures knows the next one.
"""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import torch

from fsft.recipes.problems import Problem, Refused
from fsft.runtime.train.pipeline_stage import PassOn, order_of

ROWS, TOKENS = 2, 3
"""Of what the halves are tried with."""


class Halves(NamedTuple):
    """What a layer is made of, by the names of its modules."""

    attention: str
    feed_forward: str
    norms_of_attention: frozenset[str]
    """And whatever else has weights."""
    norms_of_feed_forward: frozenset[str]

    @classmethod
    def of(cls, model: Any, index: int) -> Self:
        """Those of one layer of a model, which stays as it is.

        Raises Refused where the layer cannot be divided so.
        """
        layer = layers_of(model)[index]
        attention, feed_forward = _blocks(layer)
        bare = _bare(layer, attention, feed_forward, model.config.get_text_config().hidden_size)
        norms = [name for name in _weighted(layer) if name not in (attention, feed_forward)]
        try:
            first = _without(bare, feed_forward, _NoFeedForward())
            rest = _without(bare, attention, _NoAttention())
            of_attention, of_rest = (_learning(half, norms, model, index) for half in (first, rest))
            found = cls(attention, feed_forward, of_attention, of_rest)
            if of_attention & of_rest or of_attention | of_rest != set(norms):
                raise _refused(layer, "some of its weights are not of one half alone")
            hidden = _hidden(model)
            whole = _through(bare, hidden, model, index)
            for second in (False, True):
                half = _copy(bare)
                found.keep(half, second=second)
                hidden = _through(half, hidden, model, index)
        # What a layer of any kind does with modules that it does not know.
        except (TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
            raise _refused(layer, f"it does not compute without one of them ({error})") from error
        if not torch.equal(whole, hidden):
            raise _refused(layer, "one after the other they do not give what the layer gives")
        return found

    def keep(self, layer: Any, *, second: bool) -> None:
        """Take everything out of a layer that is not of its first, or of its second half."""
        from transformers.distributed.pipeline_parallel import PipelineIdentityLayer

        if second:
            setattr(layer, self.attention, _NoAttention())
        else:
            setattr(layer, self.feed_forward, _NoFeedForward())
        for name in self.norms_of_attention if second else self.norms_of_feed_forward:
            setattr(layer, name, PipelineIdentityLayer())


def layers_of(model: Any) -> torch.nn.ModuleList:
    """The layers of a transformers model that has a plan for a pipeline."""
    here = dict(model.base_model.named_modules())
    modules = (here.get(name) for name in order_of(model))
    return next(module for module in modules if isinstance(module, torch.nn.ModuleList))


def base_around(model: Any, index: int, layer: torch.nn.Module) -> Any:
    """The base of a model in which `layer` alone computes, in the place of one of its layers.

    `model` stays as it is. It is called with the hidden states that the layer is to be given.
    """
    base = _copy(model.base_model)
    here = dict(base.named_modules())
    for path, passed_on in order_of(model).items():
        module = here.get(path)
        *parents, name = path.split(".")
        inner = base
        for parent in parents:
            setattr(inner, parent, _copy(getattr(inner, parent)))
            inner = getattr(inner, parent)
        if isinstance(module, torch.nn.ModuleList):
            alone = torch.nn.ModuleList(PassOn(passed_on) for _ in module)
            alone[index] = layer
            setattr(inner, name, alone)
        elif module is not None:
            setattr(inner, name, PassOn(passed_on))
    return base


class _NoAttention(torch.nn.Module):
    """Adds nothing to the residual stream."""

    def forward(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, None]:
        return _nothing(*args, **kwargs), None


class _NoFeedForward(torch.nn.Module):
    """Adds nothing to the residual stream."""

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return _nothing(*args, **kwargs)


def _nothing(*args: Any, **kwargs: Any) -> torch.Tensor:
    """Zeros of the shape of the hidden states that are given first, without their memory."""
    hidden: torch.Tensor = args[0] if args else next(iter(kwargs.values()))
    return hidden.new_zeros(()).expand_as(hidden)


class _AnyBlock(torch.nn.Module):
    """Stands for a block of a layer: a token's output depends on it and on those before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(width))

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        hidden: torch.Tensor = args[0] if args else next(iter(kwargs.values()))
        return (hidden * self.weight).tanh().cumsum(dim=1)


class _AnyAttention(_AnyBlock):
    """Gives weights besides, as attention does."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return super().forward(*args, **kwargs), None


def _blocks(layer: Any) -> tuple[str, str]:
    """The names of attention and feed-forward."""
    large = {
        name: type(child).__name__
        for name, child in layer.named_children()
        if any(parameter.ndim >= 2 for parameter in child.parameters())
    }
    attentions = [name for name, kind in large.items() if "attention" in kind.lower()]
    if len(large) != 2 or len(attentions) != 1 or layer._parameters:
        raise _refused(layer, f"it is made of {', '.join(large) or 'nothing that is known'}")
    (other,) = set(large) - set(attentions)
    return attentions[0], other


def _weighted(layer: Any) -> list[str]:
    return [name for name, child in layer.named_children() if any(True for _ in child.parameters())]


def _bare(layer: Any, attention: str, feed_forward: str, width: int) -> Any:
    """A copy of a layer with small blocks, whose weights are drawn anew; in float32."""
    bare = _copy(layer)
    blocks = {attention: _AnyAttention(width), feed_forward: _AnyBlock(width)}
    for name, child in layer.named_children():
        setattr(bare, name, blocks.get(name) or copy.deepcopy(child).float())
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in bare.parameters():
            parameter.uniform_(0.5, 1.5, generator=draw)
    return bare.eval()


def _without(bare: Any, name: str, nothing: torch.nn.Module) -> Any:
    half = _copy(bare)
    setattr(half, name, nothing)
    return half


def _learning(half: Any, norms: Sequence[str], model: Any, index: int) -> frozenset[str]:
    """Those of `norms` whose weights change what a half gives."""
    given = _through(half, _hidden(model), model, index)
    given.square().cumsum(dim=-1).sum().backward()
    found = frozenset(
        name
        for name in norms
        if any(p.grad is not None and p.grad.any() for p in getattr(half, name).parameters())
    )
    half.zero_grad()
    return found


def _through(layer: Any, hidden: torch.Tensor, model: Any, index: int) -> torch.Tensor:
    base = base_around(model, index, layer)
    base.training = False
    positions = torch.arange(TOKENS).expand(ROWS, -1)
    given: torch.Tensor = base(
        inputs_embeds=hidden, position_ids=positions, use_cache=False
    ).last_hidden_state
    return given


def _hidden(model: Any) -> torch.Tensor:
    width = model.config.get_text_config().hidden_size
    return torch.randn(ROWS, TOKENS, width, generator=torch.Generator().manual_seed(1))


def _copy(module: Any) -> Any:
    """Another module with the same children, which can be replaced."""
    copied = copy.copy(module)
    copied._modules = dict(module._modules)
    return copied


def _refused(layer: Any, reason: str) -> Refused:
    return Refused(
        Problem(
            key="parallel.pipeline_units",
            reason=f"{type(layer).__name__} cannot be divided into attention and feed-forward: "
            f"{reason}.",
            example='pipeline_units = "layers"',
        )
    )
