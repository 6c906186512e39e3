"""A checkpoint in DeepSpeed's universal format, which any number of processes and stage can load.

DeepSpeed's own converter leaves out what another stage needs; that is added here. A folder for each
parameter holds its weight and moments whole, in float32: 12 bytes a parameter.
"""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fsft.runtime.train.expert import is_spread, own_share, whole_shape
from fsft.runtime.train.marks import CheckpointMark
from fsft.runtime.train.slices import Joined, own_slice
from fsft.runtime.train.whole_experts import (
    PARAMETER_NAMES,
    SPREAD_NAMES,
    STATES,
    optimizer_of,
    whole_states,
)


def to_universal(
    checkpoint: Path, target: Path, saved: CheckpointMark, ours: CheckpointMark, engine: Any
) -> None:
    """Write the checkpoint into the folder `target` in universal format, for `engine` to load.

    `ours`: of a checkpoint that the engine would save.
    """
    if saved.expert > 1:
        step, groups = _from_experts(checkpoint, target, saved)
    elif saved.zero == 0:
        step, groups = _from_whole(checkpoint, target)
    else:
        step, groups = _from_shards(checkpoint, target)
    if saved.expert != ours.expert:
        groups = _settings(engine, groups[0]["lr"])
    _complete(checkpoint, target, step, groups, ours.tensor)
    _mark_experts(target, engine)


def load_universal(engine: Any, folder: Path) -> None:
    """Load what to_universal wrote into an engine that was made for it, of any ZeRO stage."""
    if engine.zero_optimization_stage() == 0:
        _load_into_plain(engine, folder)
        return
    from deepspeed.utils import groups

    if engine.zero_optimization_stage() == 3:
        # It looks for the group there and not at the engine's mpu.
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
        parts |= {key: [each["state"][index][key] for each in optimizers] for key in STATES[1:]}
        for key, slices in parts.items():
            value = Joined.of(name, slices, saved[0]).contiguous().float().clone()
            _save({"param": value}, target / "zero" / name / f"{key}.pt")
    return optimizers[0]["state"][0]["step"], optimizers[0]["param_groups"]


def _from_experts(
    checkpoint: Path, target: Path, mark: CheckpointMark
) -> tuple[Any, list[dict[str, Any]]]:
    """Convert experts spread over ranks; returns the optimizer's step and parameter groups."""
    for name, states in whole_states(checkpoint, mark).items():
        for key, value in states.items():
            _save({"param": value.contiguous().float()}, target / "zero" / name / f"{key}.pt")
    optimizer = optimizer_of(checkpoint, mark)
    return optimizer["state"][0]["step"], optimizer["param_groups"]


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
        for file in (folder / f"{key}.pt" for key in STATES):
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
    schedule = progress["lr_scheduler"]
    # One entry a group, all the same; the engine may have another number of groups.
    for key in ("base_lrs", "_last_lr", "lr_lambdas"):
        schedule[key] = schedule[key][:1] * len(groups)
    for copied in target.glob("*_model_states.pt"):
        copied.unlink()
    for name in _progress_files(tensor):
        state = {**progress, "module": {}, "optimizer": None, "mp_world_size": tensor}
        _save(state, target / name)


def _settings(engine: Any, learning_rate: float) -> list[dict[str, Any]]:
    """The settings of the engine's groups, at the learning rate of the checkpoint."""
    return [{**group, "params": [], "lr": learning_rate} for group in engine.optimizer.param_groups]


def _mark_experts(target: Path, engine: Any) -> None:
    """Let ZeRO 1 and 2 load only the experts of a rank, where the engine spreads them."""
    from deepspeed.checkpoint.constants import EP_IS_EXPERT_PARAM, EP_NUM_EXPERTS

    for name, parameter in engine.module.named_parameters():
        if not is_spread(parameter):
            continue
        shape = whole_shape(parameter)
        marks = {EP_IS_EXPERT_PARAM: True, EP_NUM_EXPERTS: shape[0]}
        for file in (target / "zero" / name / f"{key}.pt" for key in STATES):
            _save({"param": _load(file)["param"].view(shape), **marks}, file)


_ELSEWHERE = ("module", "optimizer", "param_shapes", PARAMETER_NAMES, SPREAD_NAMES)


def _load_into_plain(engine: Any, folder: Path) -> None:
    """ZeRO 0 in float32, which DeepSpeed does not load this format into."""
    import torch

    rank = engine.mpu.get_tensor_model_parallel_rank()
    for name, parameter in engine.module.named_parameters():
        parts = folder / "zero" / name
        wholes = {key: _load(parts / f"{key}.pt")["param"] for key in STATES}
        states = {
            key: own_slice(parameter, own_share(whole, parameter), rank)
            for key, whole in wholes.items()
        }
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
