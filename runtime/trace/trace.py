"""One training step of the real model on tensors without data: what it keeps and computes.

Shapes, types and lifetimes are those of transformers and PyTorch; nothing of any size is allocated.
"""

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from fsft.runtime.trace.kernels import gpu_kernels
from fsft.runtime.trace.model import causal_model
from fsft.runtime.train.activation_checkpointing import apply_checkpointing
from fsft.runtime.train.head_loss import compute_loss_at_head
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
    buffers and the batch. `peak_bytes` is the most that is held at once besides those, gradients
    included. `flops` counts matrix multiplications of forward, of what is computed again, and of
    backward.
    """

    num_parameters: int
    parameter_bytes: int
    activation_bytes: int
    peak_bytes: int
    flops: int
    kept: tuple[Kept, ...]


def trace_step(
    config: dict[str, Any],
    *,
    micro_batch: int,
    sequence_length: int,
    checkpointing: str,
    every: int = 1,
    dtype: str = "bfloat16",
    packed: bool = False,
) -> StepTrace:
    """Trace forward, loss and backward of a config.json's causal language model.

    Every token learns. One of `every` layers is checkpointed. `dtype` is that of weights and
    activations. `packed` rows hold several samples, which a mask keeps apart. Raises RecipeError
    for a config that transformers does not take.
    """
    with FakeTensorMode(), gpu_kernels(), _packing(packed):
        return _trace(config, micro_batch, sequence_length, checkpointing, every, dtype)


def _trace(
    config: dict[str, Any],
    micro_batch: int,
    sequence_length: int,
    checkpointing: str,
    every: int,
    dtype: str,
) -> StepTrace:
    model = causal_model(config, getattr(torch, dtype)).train()
    apply_checkpointing(model, checkpointing, every=every)
    compute_loss_at_head(model)
    size = (micro_batch, sequence_length)
    ids, places, targets = (torch.zeros(size, dtype=torch.long) for _ in range(3))
    positions = torch.zeros(sequence_length, dtype=torch.long)
    num_labels = micro_batch * len(positions)
    known = (*model.parameters(), *model.buffers(), ids, places, targets, positions)
    with Living(known) as living:
        loss = loss_at(positions, model, ids, places, targets, num_labels)
        kept = living.kept()
        loss.backward()
    model.zero_grad()
    # In a step of its own: the counter's hooks hold on to what checkpointing computes again.
    with FlopCounterMode(display=False) as flops:
        loss_at(positions, model, ids, places, targets, num_labels).backward()
    parameters = list(model.parameters())
    return StepTrace(
        num_parameters=sum(p.numel() for p in parameters),
        parameter_bytes=sum(p.untyped_storage().nbytes() for p in parameters),
        activation_bytes=sum(each.num_bytes for each in kept),
        peak_bytes=living.peak_bytes,
        flops=flops.get_total_flops(),
        kept=kept,
    )


class Living(TorchDispatchMode):
    """Notes every tensor that is made, which of them are in use, and the most that ever was.

    Gives what MemTracker of torch.distributed gives, in a sixth of its time.
    """

    def __init__(self, known: Iterable[torch.Tensor]) -> None:
        """`known` are the tensors that were there before."""
        super().__init__()
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self._made: dict[int, tuple[Any, str, tuple[int, ...], str, int]] = {}
        self._bytes = 0
        self.peak_bytes = 0

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
            self._bytes += storage.nbytes()
            self.peak_bytes = max(self.peak_bytes, self._bytes)
            weakref.finalize(storage, self._free, storage.nbytes())

    def _free(self, num_bytes: int) -> None:
        self._bytes -= num_bytes


@contextmanager
def _packing(packed: bool) -> Iterator[None]:
    """Whether rows are packed, which transformers cannot see in positions without data.

    Training computes attention for each sample alone, which takes the more the longer they are:
    here one fills its row.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    def find(positions: torch.Tensor) -> torch.Tensor | None:
        return torch.zeros_like(positions) if packed else None

    whole = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def of_one_sample(module: Any, query: Any, key: Any, value: Any, mask: Any, **how: Any) -> Any:
        window = how.get("sliding_window") or query.shape[2]
        is_plain = packed and mask is not None and query.shape[2] <= window
        return whole(module, query, key, value, None if is_plain else mask, **how)

    ALL_ATTENTION_FUNCTIONS.register("sdpa", of_one_sample)
    try:
        with patch("transformers.masking_utils.find_packed_sequence_indices", find):
            yield
    finally:
        ALL_ATTENTION_FUNCTIONS.register("sdpa", whole)
