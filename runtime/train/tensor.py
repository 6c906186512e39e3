"""Tensor parallelism: neighbouring ranks hold the same layers and divide each weight among them.

What is divided, and how, says the model's own plan in transformers. The vocabulary is divided too,
of the embedding and of the output projection: no rank sees all logits of a token.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from fsft.recipes.problems import Problem, Refused
from fsft.runtime.train.mesh import Axis
from fsft.runtime.train.slices import note_slices
from fsft.runtime.train.tensor_layers import (
    ColumnLinear,
    RowLinear,
    VocabularyEmbedding,
    shared,
    summed,
)


def divide(model: Any, axis: Axis) -> None:
    """Leave each rank of `axis` its share of a whole transformers causal model, on its device.

    Modules and parameters keep their names. What is not divided stays the same on all ranks.
    Raises Refused where the model cannot be divided.
    """
    if axis.size == 1:
        return
    from deepspeed.module_inject.layers import set_autotp_mode

    set_autotp_mode(training=True)
    _require_plan(model, axis.size)
    for name, (module, style) in _planned(model).items():
        model.set_submodule(name, _STYLES[style](module, axis, model.config.get_text_config()))
    _divide_vocabulary(model, axis)
    note_slices(model)


def divides_heads(model: Any) -> bool:
    """Whether each rank computes a share of the attention heads, rather than all of them."""
    return any("att" in name and s == "colwise" for name, (_, s) in _planned(model).items())


def _planned(model: Any) -> dict[str, tuple[Any, str]]:
    """The modules between the model's ends that its plan names, and what it says of each."""
    from transformers.distributed.parallel_utils import replace_layer_number_by_wildcard

    plan = {**(model.tp_plan or {}), **_SHARED_EXPERT}
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    planned = (
        (name, module, plan.get(replace_layer_number_by_wildcard(name)))
        for name, module in model.named_modules()
        if module not in ends
    )
    return {name: (module, style) for name, module, style in planned if style}


_SHARED_EXPERT = {
    "model.layers.*.mlp.shared_expert.gate_proj": "colwise",
    "model.layers.*.mlp.shared_expert.up_proj": "colwise",
    "model.layers.*.mlp.shared_expert.down_proj": "rowwise",
}
"""Of Qwen's mixtures, whose plans leave it out."""


def _require_plan(model: Any, size: int) -> None:
    """Raises Refused where the model's plan or its numbers do not allow `size` ranks."""
    from transformers.loss.loss_utils import ForCausalLMLoss

    config = model.config.get_text_config()
    planned = _planned(model)
    if not planned:
        raise _refused(f"transformers has no tensor parallel plan for {config.model_type}.")
    if model.loss_function is not ForCausalLMLoss:
        raise _refused(f"{config.model_type} has a loss of its own, which needs all of its logits.")
    if unknown := {style for _, style in planned.values()} - set(_STYLES):
        raise _refused(f"the plan of {config.model_type} asks for {', '.join(sorted(unknown))}.")
    heads = config.num_attention_heads
    numbers = {}
    if divides_heads(model):
        numbers["heads"] = heads
        numbers["key-value heads"] = getattr(config, "num_key_value_heads", None) or heads
    for name, (module, style) in planned.items():
        if style.startswith(("colwise", "rowwise")):
            columns = module.out_features if style.startswith("colwise") else module.in_features
            numbers[f"columns of {name}"] = columns
        if style == "moe_tp_experts":
            numbers[f"columns of {name}"] = module.down_proj.shape[-1]
    for what, number in numbers.items():
        if number % size:
            raise _refused(f"{number} {what} cannot be divided by {size}.")


def _refused(reason: str) -> Refused:
    return Refused(Problem(key="parallel.tensor", reason=reason, example="tensor = 1"))


def _divide_vocabulary(model: Any, axis: Axis) -> None:
    """Give each rank some rows of the embedding and of the output projection."""
    from deepspeed.module_inject.layers import VocabParallelLinear

    names = {module: name for name, module in model.named_modules()}
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    is_tied = embedding.weight is head.weight
    own_head = VocabParallelLinear(head, axis.group)
    own_embedding = VocabularyEmbedding(
        embedding, axis.group, tied_vocab_parallel_linear=own_head if is_tied else None
    )
    model.set_submodule(names[head], own_head)
    model.set_submodule(names[embedding], own_embedding)


def _column(module: Any, axis: Axis, _: Any) -> nn.Module:
    return ColumnLinear(module, axis.group)


def _column_gathered(module: Any, axis: Axis, _: Any) -> nn.Module:
    return ColumnLinear(module, axis.group, gather_output=True)


def _row(module: Any, axis: Axis, _: Any) -> nn.Module:
    return RowLinear(module, axis.group)


def _row_of_whole(module: Any, axis: Axis, _: Any) -> nn.Module:
    return RowLinear(module, axis.group, whole_input=True)


def _whole(module: Any, axis: Axis, _: Any) -> nn.Module:
    """Held whole by all ranks, each of which applies it to its own heads."""
    for parameter in module.parameters():
        parameter.register_hook(lambda gradient: summed(gradient, axis.group))
    return module


def _with_rope(module: Any, axis: Axis, config: Any) -> nn.Module:
    """The last of its outputs are the rotated part of a key that the heads of all ranks share."""
    rope = config.qk_rope_head_dim

    def share_rope(_: nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
        latent, rotated = output.split([output.shape[-1] - rope, rope], dim=-1)
        return torch.cat([latent, shared(rotated, axis.group)], dim=-1)

    module.register_forward_hook(share_rope)
    return module


def _experts(module: Any, axis: Axis, _: Any) -> nn.Module:
    """Each rank has some columns of every expert."""

    def share_inputs(_: nn.Module, inputs: Any) -> Any:
        states, chosen, weights = inputs
        return shared(states, axis.group), chosen, shared(weights, axis.group)

    def sum_outputs(_: nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
        return summed(output, axis.group)

    _cut(module.gate_up_proj, axis, dim=1, num_parts=2)
    _cut(module.down_proj, axis, dim=2, num_parts=1)
    module.register_forward_pre_hook(share_inputs)
    module.register_forward_hook(sum_outputs)
    return module


def _cut(parameter: nn.Parameter, axis: Axis, *, dim: int, num_parts: int) -> None:
    """Keep this rank's share of each of `num_parts` equal parts along `dim`, and note it."""
    from deepspeed.accelerator import get_accelerator
    from deepspeed.checkpoint.affine import sub_param_map
    from deepspeed.checkpoint.constants import DS_AUTOTP_UC_META
    from deepspeed.module_inject.layers import (
        DS_TENSOR_MODEL_PARALLEL,
        _build_param_uc_restore_meta,
    )

    shape, size = tuple(parameter.shape), parameter.shape[dim] // num_parts
    layout = sub_param_map(
        shape, [size] * num_parts, [[size // axis.size] * axis.size] * num_parts, dim
    )
    device = get_accelerator().current_device_name()
    parameter.data = layout.extract(parameter.data, axis.rank).to(device)
    setattr(parameter, DS_TENSOR_MODEL_PARALLEL, True)
    note = _build_param_uc_restore_meta(
        partition_type="column",
        partition_dim=dim,
        logical_shape=shape,
        original_shape=shape,
        affine_map=layout,
    )
    setattr(parameter, DS_AUTOTP_UC_META, note)


_STYLES: dict[str, Callable[[Any, Axis, Any], nn.Module]] = {
    "colwise": _column,
    "colwise_gather_output": _column_gathered,
    "rowwise": _row,
    "rowwise_split_input": _row_of_whole,
    "replicated_with_grad_allreduce": _whole,
    "mla_kv_a_proj": _with_rope,
    "moe_tp_experts": _experts,
}
"""What transformers' words for a module mean."""
