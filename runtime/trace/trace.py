"""One training step of the real model on tensors without data: what it keeps and computes.

Shapes, types and lifetimes are those of transformers and PyTorch; nothing of any size is allocated.
"""

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from fsft.runtime.trace.kernels import gpu_kernels
from fsft.runtime.train.activation_checkpointing import apply_checkpointing
from fsft.runtime.train.loss import loss_at


@dataclass(frozen=True)
class Kept:
    """Tensors alike that forward leaves behind: who made them, what they are, how many."""

    operation: str
    shape: tuple[int, ...]
    dtype: str
    count: int
    num_bytes: int
    """Of all of them."""


@dataclass(frozen=True)
class StepTrace:
    """What one micro batch takes; bytes, and floating point operations.

    `activation_bytes` is what is held for backward when forward has ended: all but parameters,
    buffers and the batch. `peak_bytes` is the most that is held at once, gradients included, and
    `peak_by_kind` its parts (torch's MemTracker). `flops` counts matrix multiplications of forward,
    of what is computed again, and of backward.
    """

    num_parameters: int
    parameter_bytes: int
    activation_bytes: int
    peak_bytes: int
    peak_by_kind: dict[str, int]
    flops: int
    kept: tuple[Kept, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def trace_step(
    config: dict[str, Any],
    *,
    micro_batch: int,
    sequence_length: int,
    checkpointing: str,
    dtype: str = "bfloat16",
    num_logits: int | None = None,
) -> StepTrace:
    """Trace forward, loss and backward of a config.json's causal language model.

    Every token learns, unless `num_logits` says at how many positions of each row logits are
    computed. `dtype` is that of weights and activations. Raises what transformers raises for a
    config that it does not take.
    """
    with FakeTensorMode(), gpu_kernels(), _unpacked():
        return _trace(config, micro_batch, sequence_length, checkpointing, dtype, num_logits)


def _trace(
    config: dict[str, Any],
    micro_batch: int,
    sequence_length: int,
    checkpointing: str,
    dtype: str,
    num_logits: int | None,
) -> StepTrace:
    from torch.distributed._tools.mem_tracker import MemTracker

    model = _model(config, dtype)
    apply_checkpointing(model, checkpointing)
    size = (micro_batch, sequence_length)
    ids, places, targets = (torch.zeros(size, dtype=torch.long) for _ in range(3))
    positions = torch.zeros(num_logits or sequence_length, dtype=torch.long)
    memory = MemTracker()
    memory.track_external(model, ids, places, targets, positions)
    flops = FlopCounterMode(display=False)
    with memory, flops:
        with Living(known=(*model.parameters(), *model.buffers(), ids, places)) as living:
            loss = loss_at(positions, model, ids, places, targets, micro_batch * len(positions))
            kept = living.kept()
        loss.backward()
    peak = _by_kind(memory.get_tracker_snapshot("peak"))
    parameters = list(model.parameters())
    return StepTrace(
        num_parameters=sum(p.numel() for p in parameters),
        parameter_bytes=sum(p.untyped_storage().nbytes() for p in parameters),
        activation_bytes=sum(each.num_bytes for each in kept),
        peak_bytes=sum(peak.values()),
        peak_by_kind=peak,
        flops=flops.get_total_flops(),
        kept=kept,
    )


class Living(TorchDispatchMode):
    """Notes every tensor that is made, and knows which of them are still in use."""

    def __init__(self, known: Iterable[torch.Tensor]) -> None:
        """`known` are the tensors that were there before."""
        super().__init__()
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self._made: dict[int, tuple[Any, str, tuple[int, ...], str, int]] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call the operation and note what it gives."""
        given = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(given):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor, str(function))
        return given

    def kept(self) -> tuple[Kept, ...]:
        """The tensors in use, largest first; those that share memory count once."""
        groups: Counter[tuple[str, tuple[int, ...], str]] = Counter()
        sizes: Counter[tuple[str, tuple[int, ...], str]] = Counter()
        for reference, *rest, num_bytes in self._made.values():
            if reference() is not None:
                groups[tuple(rest)] += 1  # type: ignore[index]
                sizes[tuple(rest)] += num_bytes  # type: ignore[index]
        return tuple(Kept(*key, groups[key], size) for key, size in sizes.most_common())

    def _note(self, tensor: torch.Tensor, operation: str) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata in self._known:
            return
        before = self._made.get(storage._cdata)
        # An address is used again when its tensor is gone.
        if before is None or before[0]() is None:
            self._made[storage._cdata] = (
                weakref.ref(storage),
                operation,
                tuple(tensor.shape),
                str(tensor.dtype).removeprefix("torch."),
                storage.nbytes(),
            )


def _model(config: dict[str, Any], dtype: str) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {key: value for key, value in config.items() if key != "model_type"}
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(config["model_type"], **settings), dtype=getattr(torch, dtype)
    )
    return model.train()


@contextmanager
def _unpacked() -> Iterator[None]:
    """Sequences that are not packed, which transformers cannot see in positions without data."""
    with patch("transformers.masking_utils.find_packed_sequence_indices", lambda _: None):
        yield


def _by_kind(snapshot: Any) -> dict[str, int]:
    """Bytes on the one device of a MemTracker snapshot, by the kind of tensor."""
    totals: Counter[str] = Counter()
    for by_kind in snapshot.values():
        for kind, num_bytes in by_kind.items():
            name = str(getattr(kind, "value", kind))
            if name != "Total":
                totals[name.lower()] += num_bytes
    return dict(totals)
