"""One stage of a pipeline: a transformers model of which only some layers are left.

Its forward is the model's own, so masks, positions and scales are made as they are without a
pipeline. What belongs to other stages passes on what it is given, as in transformers' pipeline.
"""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from transformers.distributed.pipeline_parallel import PipelineIdentityLayer

from fsft.recipes.models.plans import PassedOn, plan_of
from fsft.runtime.data.encode import IGNORED
from fsft.runtime.train.head_loss import compute_loss_at_head
from fsft.runtime.train.head_probe import BareOutput
from fsft.runtime.train.loss import loss_at

TakeLayers = Callable[[torch.nn.ModuleList, Callable[[], torch.nn.Module]], None]
"""Puts what passes on, which the second makes, in the place of the layers of other stages."""


class Stage(torch.nn.Module):
    """Some layers of a model; the first stage has its embedding, the last its norm and its head."""

    def __init__(
        self,
        model: Any,
        take_layers: TakeLayers,
        *,
        is_first: bool,
        is_last: bool,
    ) -> None:
        """`model`: whole, and changed."""
        super().__init__()
        self.is_first, self.is_last = is_first, is_last
        self.is_tied = is_tied(model)
        _keep(model, take_layers, is_first=is_first, is_last=is_last)
        self.model = model

    def forward(self, inputs: tuple[torch.Tensor, torch.Tensor]) -> Any:
        """Token ids or hidden states, and position ids; gives hidden states, and position ids.

        Shapes: (rows, length), (rows, length, width). The last stage gives hidden states alone,
        after the final norm.
        """
        given, position_ids = inputs
        hidden = self.model.base_model(
            **{"input_ids" if self.is_first else "inputs_embeds": given},
            position_ids=position_ids,
            use_cache=False,
        ).last_hidden_state
        return hidden if self.is_last else (hidden, position_ids)


def head_loss(model: Any) -> Callable[[torch.Tensor, tuple[torch.Tensor, torch.Tensor]], Any]:
    """The loss of a causal model from what its layers and its final norm give.

    The returned function takes (rows, length, width) hidden states, and (rows, length) targets with
    the number that their summed cross entropy is divided by.
    """
    head = copy.copy(model)
    head._modules = {**model._modules, model.base_model_prefix: _Given()}
    compute_loss_at_head(head)

    def loss_of(hidden: torch.Tensor, goal: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        targets, divisor = goal
        positions = (targets != IGNORED).any(dim=0).nonzero().squeeze(1)
        return loss_at(positions, head, hidden, None, targets, divisor)

    return loss_of


def is_tied(model: Any) -> bool:
    """Whether the head's weights are those of the embedding."""
    head = model.get_output_embeddings()
    return head is not None and head.weight is model.get_input_embeddings().weight


class _Given(torch.nn.Module):
    """Stands for the layers of a model whose hidden states are given in place of token ids."""

    embed_tokens = None
    """transformers tells of a head only where it finds something by this name, or by the next."""

    def get_input_embeddings(self) -> None:
        """There are none."""

    @property
    def decoder(self) -> torch.nn.Module:
        """OPT goes past its base model."""
        return self

    def forward(self, input_ids: torch.Tensor, **_: Any) -> Any:
        return BareOutput(input_ids)


def _keep(
    model: Any,
    take_layers: TakeLayers,
    *,
    is_first: bool,
    is_last: bool,
) -> None:
    """Put what passes on in place of all that the model's plan gives to other stages.

    Where embedding and head share their weights, the first and the last stage have both modules.
    """
    base, head = model.base_model, model.get_output_embeddings()
    is_end = is_first or is_last
    kept = {model.get_input_embeddings()} if is_end and is_tied(model) else set()
    here = dict(base.named_modules())
    is_here = is_first
    for name, passed_on in order_of(model).items():
        # A model may do without a norm, or a projection.
        module = here.get(name)
        if isinstance(module, torch.nn.ModuleList):
            take_layers(module, partial(PassOn, passed_on))
            is_here = is_last
        elif module is not None and not is_here and module not in kept:
            base.set_submodule(name, PassOn(passed_on))
    if not is_last and not kept:
        names = {module: name for name, module in model.named_modules()}
        model.set_submodule(names[head], PassOn("input"))


def order_of(model: Any) -> Mapping[str, PassedOn]:
    """The modules of the base model in the order in which they compute."""
    if own := plan_of(model.config.to_dict()):
        return own.pipeline
    return dict.fromkeys(model.base_model.config.base_model_pp_plan, "input")


class PassOn(PipelineIdentityLayer):
    """What is given goes on as it is, for what another stage has computed or will compute."""

    def __init__(self, passed_on: PassedOn) -> None:
        super().__init__()
        self._passed_on = passed_on

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        given = super().forward(*args, **kwargs)
        if self._passed_on == "nothing":
            return given.new_zeros(())
        return (given,) if self._passed_on == "input in a tuple" else given
