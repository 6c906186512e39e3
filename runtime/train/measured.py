"""Seconds of each layer on this device: forward and backward of a real micro batch.

One layer is there at a time, a copy of the model's own on the device, so that it takes little
memory; layers of one kind are measured once.
"""

import copy
import statistics
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from fsft.recipes.schema import Recipe
from fsft.runtime.train.activation_checkpointing import apply_checkpointing
from fsft.runtime.train.batches import Batch
from fsft.runtime.train.halves import Halves, base_around, layers_of
from fsft.runtime.train.model import computing_dtype
from fsft.runtime.train.pipeline_stage import head_loss

ROUNDS = 5


class Measured(NamedTuple):
    """Seconds of forward and backward for a micro batch."""

    units: tuple[float, ...]
    """Of layers or their halves, from first to last."""
    embedding: float
    head: float
    """With the loss."""


def measured(recipe: Recipe, model: Any, batch: Batch) -> Measured:
    """The times of a transformers model's units on this process's device.

    `model`: whole, on the host; it stays there. Layers compute again what they will in training.
    """
    from deepspeed.accelerator import get_accelerator

    parallel = recipe.parallel
    apply_checkpointing(
        model,
        parallel.settled.activation_checkpointing,
        every=parallel.activation_checkpointing_every,
        offload=parallel.activation_offload,
    )
    device = torch.device(get_accelerator().current_device_name())
    bench = _Bench(model, batch, device, computing_dtype(recipe.model))
    times = _times(bench, model, halves=parallel.pipeline_units == "halves")
    del bench
    get_accelerator().empty_cache()
    return times


def _times(bench: "_Bench", model: Any, *, halves: bool) -> Measured:
    known: dict[object, tuple[float, ...]] = {}
    units: list[float] = []
    for index in range(len(layers_of(model))):
        kind = _kind(model, index)
        if kind not in known:
            known[kind] = bench.layer(index, halves=halves)
        units += known[kind]
    return Measured(tuple(units), bench.embedding(), bench.head())


class _Bench:
    """A micro batch on a device, and what of a model is brought there."""

    def __init__(self, model: Any, batch: Batch, device: torch.device, dtype: torch.dtype) -> None:
        self._model, self._device, self._dtype = model, device, dtype
        self._ids = batch.input_ids.to(device)
        self._targets = batch.targets.to(device)
        self._positions = batch.position_ids.to(device)
        width = model.config.get_text_config().hidden_size
        self._hidden = torch.randn(*batch.input_ids.shape, width, device=device, dtype=dtype)
        self._hidden.requires_grad_()

    def layer(self, index: int, *, halves: bool) -> tuple[float, ...]:
        """Seconds of a layer, or of each of its halves."""
        layer = layers_of(self._model)[index]
        if not halves:
            return (self._unit(index, self._brought(layer)),)
        found = Halves.of(self._model, index)
        seconds = []
        for second in (False, True):
            half = self._brought(layer)
            found.keep(half, second=second)
            seconds.append(self._unit(index, half))
        return tuple(seconds)

    def embedding(self) -> float:
        """Seconds of the token embedding, whose gradient is as large as it is."""
        embed = self._brought(self._model.get_input_embeddings())
        return self._seconds(lambda: embed(self._ids))

    def head(self) -> float:
        """Seconds of the output projection and the loss."""
        model = self._model
        head = copy.copy(model)
        # What the loss hooks into is to be the copy alone.
        head._forward_pre_hooks, head._forward_pre_hooks_with_kwargs = OrderedDict(), OrderedDict()
        head._modules = {
            name: None if name == model.base_model_prefix else self._brought(child)
            for name, child in model._modules.items()
        }
        loss_of = head_loss(head)
        divisor = torch.ones((), dtype=torch.float64, device=self._device)
        return self._seconds(lambda: loss_of(self._hidden, (self._targets, divisor)))

    def _unit(self, index: int, unit: Any) -> float:
        """`unit`: what is in the place of a layer. It is called as the model calls it."""
        base = base_around(self._model, index, unit)
        base._buffers = {name: self._there(value) for name, value in base._buffers.items()}
        for name, child in base._modules.items():
            # What all layers share, as what turns positions.
            if child is getattr(self._model.base_model, name):
                base._modules[name] = copy.deepcopy(child).to(self._device)
        calls: list[tuple[Any, Any]] = []
        hook = unit.register_forward_pre_hook(
            lambda _unit, args, kwargs: calls.append((args, kwargs)), with_kwargs=True
        )
        with torch.no_grad():
            base(inputs_embeds=self._hidden, position_ids=self._positions, use_cache=False)
        hook.remove()
        (((_, *args), kwargs),) = calls
        return self._seconds(lambda: unit(self._hidden, *args, **kwargs))

    def _seconds(self, compute: Callable[[], Any]) -> float:
        """The median of some rounds; the first, in which all is new, does not count."""
        from deepspeed.accelerator import get_accelerator

        rounds = []
        for _ in range(ROUNDS + 1):
            get_accelerator().synchronize()
            start = time.perf_counter()
            given = compute()
            # Some layers give more than hidden states.
            given = given[0] if isinstance(given, tuple) else given
            given.backward(torch.ones_like(given))
            get_accelerator().synchronize()
            rounds.append(time.perf_counter() - start)
            self._hidden.grad = None
        return statistics.median(rounds[1:])

    def _brought(self, module: Any) -> Any:
        """A copy on the device, in the type that is computed in."""
        return copy.deepcopy(module).to(self._device, self._dtype).train()

    def _there(self, value: torch.Tensor | None) -> torch.Tensor | None:
        return None if value is None else value.to(self._device)


def _kind(model: Any, index: int) -> object:
    """What layers that take the same time have in common."""
    layer = layers_of(model)[index]
    types = getattr(model.config.get_text_config(), "layer_types", None)
    return (
        getattr(layer, "gradient_checkpointing", False),
        types[index] if types else None,
        *((name, parameter.shape) for name, parameter in layer.named_parameters()),
    )
