"""Checkpoints whose experts are spread over ranks, read whole.

The experts of a rank lie one after another in each of its parameters, and neighbouring ranks hold
those that follow: the pieces of all ranks, in the order of their experts, are the whole.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fsft.runtime.train.marks import CheckpointMark

PARAMETER_NAMES = "parameter_names"
"""In a checkpoint of ZeRO 0: names in the optimizer's order, which it keeps its state by."""
SPREAD_NAMES = "spread_names"
"""In a checkpoint: the names of parameters that hold other experts on other ranks."""
STATES = ("fp32", "exp_avg", "exp_avg_sq")
"""What is kept of each parameter: weight and moments."""


@dataclass(frozen=True)
class Whole:
    """A tensor in pieces of mapped files; `contiguous` brings it into memory."""

    pieces: list[Any]
    shape: list[int]

    @property
    def dtype(self) -> Any:
        """The type of its numbers."""
        return self.pieces[0].dtype

    def contiguous(self) -> Any:
        """The tensor."""
        import torch

        return torch.cat([piece.flatten() for piece in self.pieces]).view(self.shape)


class _Piece(NamedTuple):
    """What one rank holds of a parameter."""

    name: str
    rank: int
    """Its place among those that hold other pieces."""
    states: dict[str, Any]


def whole_weights(checkpoint: Path, mark: CheckpointMark) -> dict[str, Any]:
    """Name to float32 weight, also of tied ones, and buffers; checkpoints of weights alone too."""
    first = _load(checkpoint / _weights_file(0))
    weights: dict[str, Any] = {
        name: states["fp32"] for name, states in whole_states(checkpoint, mark, ("fp32",)).items()
    }
    for name, value in first["module"].items():
        if name not in weights:
            tied = (first["shared_params"] or {}).get(name)
            weights[name] = weights[tied] if tied else value
    return weights


def whole_states(
    checkpoint: Path, mark: CheckpointMark, keys: Sequence[str] = STATES
) -> dict[str, dict[str, Whole]]:
    """Name to those of STATES that are asked for; ZeRO 0 in float32, ZeRO 1 and 2."""
    first = _load(checkpoint / _weights_file(0))
    spread = set(first[SPREAD_NAMES])
    read = _pieces_of_zero if mark.zero else _pieces_of_copies
    found: dict[str, list[_Piece]] = defaultdict(list)
    for piece in read(checkpoint, mark, keys):
        found[piece.name].append(piece)
    wholes = {}
    for name, pieces in found.items():
        is_spread = name in spread
        ordered = _in_order(pieces, mark, is_spread=is_spread)
        length, *rest = first["module"][name].shape
        shape = [length * mark.expert if is_spread else length, *rest]
        wholes[name] = {key: Whole([piece.states[key] for piece in ordered], shape) for key in keys}
    return wholes


def _in_order(pieces: list[_Piece], mark: CheckpointMark, *, is_spread: bool) -> list[_Piece]:
    """The pieces that make the whole, one after another."""
    if is_spread:
        return sorted(pieces, key=lambda piece: (piece.rank % mark.expert, piece.rank))
    by_rank = sorted(pieces, key=lambda piece: piece.rank)
    # Without ZeRO each of them is all.
    return by_rank if mark.zero else by_rank[:1]


def optimizer_of(checkpoint: Path, mark: CheckpointMark) -> dict[str, Any]:
    """The state of torch's optimizer on the first rank."""
    if mark.zero == 0:
        optimizer: dict[str, Any] = _load(checkpoint / _weights_file(0))["optimizer"]
        return optimizer
    first: dict[str, Any] = min(_shards(checkpoint))[1]["base_optimizer_state"]
    return first


def _pieces_of_zero(checkpoint: Path, _: CheckpointMark, keys: Sequence[str]) -> Iterator[_Piece]:
    """ZeRO 1 and 2: each rank has a piece of each group, flat, in a file of its own."""
    for rank, shard in _shards(checkpoint):
        optimizer = shard.get("base_optimizer_state")
        for group, addresses in enumerate(shard["param_slice_mappings"]):
            flat = {"fp32": shard["single_partition_of_fp32_groups"][group]}
            if optimizer:
                flat |= optimizer["state"][optimizer["param_groups"][group]["params"][0]]
            for name, address in addresses.items():
                inside = slice(address.start, address.start + address.numel)
                yield _Piece(name, rank, {key: flat[key][inside] for key in keys})


def _pieces_of_copies(
    checkpoint: Path, mark: CheckpointMark, keys: Sequence[str]
) -> Iterator[_Piece]:
    """ZeRO 0: a file for the ranks with the same experts, with all else in each."""
    for rank in range(mark.expert):
        saved = _load(checkpoint / _weights_file(rank))
        # In bfloat16 there are no such names: the optimizer's state is by other tensors.
        for index, name in enumerate(saved.get(PARAMETER_NAMES, saved["module"])):
            states = {"fp32": saved["module"][name]}
            if len(keys) > 1:
                states |= saved["optimizer"]["state"][index]
            yield _Piece(name, rank, {key: states[key] for key in keys})


def _shards(checkpoint: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for file in checkpoint.glob("*zero_pp_rank_*_optim_states.pt"):
        rank = int(re.findall(r"zero_pp_rank_(\d+)", file.name)[0])
        yield rank, _load(file)["optimizer_state_dict"]


def _weights_file(expert_rank: int) -> str:
    return f"mp_rank_{expert_rank:02d}_model_states.pt"


def _load(path: Path) -> Any:
    import torch

    return torch.load(path, map_location="cpu", mmap=True, weights_only=False)
