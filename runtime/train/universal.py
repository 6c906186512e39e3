"""A checkpoint in DeepSpeed's universal format, which any number of processes and stage can load.

DeepSpeed's own converter leaves out what another stage needs; that is added here. A folder for each
parameter holds its weight and moments whole, in float32: 12 bytes a parameter.
"""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fsft.runtime.train.slices import Joined, own_slice

PARAMETER_NAMES = "parameter_names"
"""In a checkpoint of ZeRO 0: names in the optimizer's order, which it keeps its state by."""


def to_universal(checkpoint: Path, target: Path, *, zero_stage: int, tensor: int = 1) -> None:
    """Write the checkpoint, saved at `zero_stage`, into the folder `target` in universal format.

    `tensor`: the tensor parallel ranks that are to load it.
    """
    if zero_stage == 0:
        step, groups = _from_whole(checkpoint, target)
    else:
        step, groups = _from_shards(checkpoint, target)
    _complete(checkpoint, target, step, groups, tensor)


def load_universal(engine: Any, folder: Path) -> None:
    """Load what to_universal wrote into an engine that was made for it, of any ZeRO stage."""
    if engine.zero_optimization_stage() == 0:
        _load_into_plain(engine, folder)
        return
    from deepspeed.utils import groups

    # Stage 3 looks for the group there and not at the engine's mpu.
    groups._TENSOR_MODEL_PARALLEL_GROUP = engine.mpu.get_tensor_model_parallel_group()
    engine.load_checkpoint(str(folder.parent), tag=folder.name)


def first_state(checkpoint: Path) -> dict[str, Any]:
    """What the first process saved besides the optimizer."""
    state: dict[str, Any] = _load(min(checkpoint.glob("*_model_states.pt")), mapped=True)
    return state


def parameter_names(engine: Any) -> list[str]:
    """The names of an engine's parameters in the order of its optimizer, of ZeRO 0."""
    names = {id(parameter): name for name, parameter in engine.module.named_parameters()}
    return [names[id(p)] for group in engine.optimizer.param_groups for p in group["params"]]


_STATES = ("fp32", "exp_avg", "exp_avg_sq")


def _progress_files(tensor: int) -> Iterator[str]:
    """For each tensor parallel rank what stages 0 to 2 look for, and what stage 3 does."""
    for rank in range(tensor):
        yield f"mp_rank_{rank:02d}_model_states.pt"
        yield f"zero_pp_rank_0_mp_rank_{rank:02d}_model_states.pt"


def _from_whole(checkpoint: Path, target: Path) -> tuple[Any, list[dict[str, Any]]]:
    """Convert ZeRO 0; returns the optimizer's step and its parameter groups."""
    paths = sorted(checkpoint.glob("mp_rank_*_model_states.pt"))
    saved = [_load(path, mapped=True) for path in paths]
    optimizers = [state["optimizer"] for state in saved]
    for index, name in enumerate(saved[0][PARAMETER_NAMES]):
        parts = {"fp32": [state["module"][name] for state in saved]}
        parts |= {key: [each["state"][index][key] for each in optimizers] for key in _STATES[1:]}
        for key, slices in parts.items():
            value = Joined.of(name, slices, saved[0]).contiguous().float().clone()
            _save({"param": value}, target / "zero" / name / f"{key}.pt")
    return optimizers[0]["state"][0]["step"], optimizers[0]["param_groups"]


def _from_shards(checkpoint: Path, target: Path) -> tuple[Any, list[dict[str, Any]]]:
    """Convert ZeRO 1 to 3; returns the optimizer's step and its parameter groups."""
    from deepspeed.checkpoint.ds_to_universal import main

    main(
        SimpleNamespace(
            input_folder=str(checkpoint),
            output_folder=str(target),
            # A process of a training run is not to be forked.
            num_extract_workers=1,
            num_merge_workers=1,
            keep_temp_folder=False,
            strict=True,
            inject_missing_state=True,
        )
    )
    optimizer = _load(target / "zero" / "optimizer_state.pt")
    groups: list[dict[str, Any]] = optimizer["param_groups"]
    known = next((target / "zero").glob("*/step.pt"), None)
    if known is not None:
        return _load(known), groups
    return optimizer["optimizer_state_dict"]["state"][0]["step"], groups


def _complete(
    checkpoint: Path, target: Path, step: Any, groups: list[dict[str, Any]], tensor: int
) -> None:
    """Add what each stage wants to find: the step in its place, groups, and the schedule."""
    from deepspeed import __version__

    for folder in (path.parent for path in (target / "zero").glob("*/exp_avg.pt")):
        _save(step, folder / "step.pt")
        for file in (folder / f"{key}.pt" for key in _STATES):
            # From stage 3 they come bare, which the other stages do not read.
            if not isinstance(value := _load(file), dict):
                _save({"param": value}, file)
    _save(
        {
            "ds_version": __version__,
            "param_groups": groups,
            "optimizer_state_dict": {"state": {0: {"step": step}}, "param_groups": groups},
        },
        target / "zero" / "optimizer_state.pt",
    )
    progress = first_state(checkpoint)
    progress = {key: value for key, value in progress.items() if key not in _ELSEWHERE}
    for copied in target.glob("*_model_states.pt"):
        copied.unlink()
    for name in _progress_files(tensor):
        state = {**progress, "module": {}, "optimizer": None, "mp_world_size": tensor}
        _save(state, target / name)


_ELSEWHERE = ("module", "optimizer", "param_shapes", PARAMETER_NAMES)


def _load_into_plain(engine: Any, folder: Path) -> None:
    """ZeRO 0 in float32, which DeepSpeed does not load this format into."""
    import torch

    rank = engine.mpu.get_tensor_model_parallel_rank()
    for name, parameter in engine.module.named_parameters():
        parts = folder / "zero" / name
        wholes = {key: _load(parts / f"{key}.pt")["param"] for key in _STATES}
        states = {key: own_slice(parameter, whole, rank) for key, whole in wholes.items()}
        with torch.no_grad():
            parameter.copy_(states.pop("fp32"))
        engine.optimizer.state[parameter] = {
            "step": _load(parts / "step.pt").clone(),
            **{key: value.to(parameter, copy=True) for key, value in states.items()},
        }
    progress = _load(folder / next(_progress_files(1)))
    engine.lr_scheduler.load_state_dict(progress["lr_scheduler"])
    for group, rate in zip(
        engine.optimizer.param_groups, engine.lr_scheduler.get_last_lr(), strict=True
    ):
        group["lr"] = rate
    engine.global_steps = progress["global_steps"]
    engine.global_samples = progress["global_samples"]


def _load(path: Path, *, mapped: bool = False) -> Any:
    import torch

    return torch.load(path, map_location="cpu", mmap=mapped, weights_only=False)


def _save(value: Any, path: Path) -> None:
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(value, path)
