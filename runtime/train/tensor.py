"""Tensor parallelism: neighbouring ranks hold the same layers and divide each weight among them.

What is divided, and how, says the model's plan in transformers, or fsft's where it has none. The
vocabulary is divided too, of the embedding and of the output projection: no rank sees all logits of
a token.
"""

from typing import Any

from fsft.recipes.models.plans import plan_of
from fsft.recipes.problems import Problem, Refused
from fsft.runtime.train.mesh import Axis
from fsft.runtime.train.slices import note_slices
from fsft.runtime.train.tensor_layers import VocabularyEmbedding
from fsft.runtime.train.tensor_styles import STYLES, num_columns


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
        model.set_submodule(name, STYLES[style](module, axis, model.config.get_text_config()))
    _divide_vocabulary(model, axis)
    note_slices(model)


def divides_heads(model: Any) -> bool:
    """Whether each rank computes a share of the attention heads, rather than all of them."""
    return any("att" in name and s in _OF_HEADS for name, (_, s) in _planned(model).items())


_OF_HEADS = {"colwise", "colwise_qkv"}
"""Styles whose outputs are not gathered."""


def _planned(model: Any) -> dict[str, tuple[Any, str]]:
    """The modules between the model's ends that its plan names, and what it says of each."""
    from transformers.distributed.parallel_utils import replace_layer_number_by_wildcard

    own = plan_of(model.config.to_dict())
    plan = {**(own.tensor if own else model.tp_plan or {}), **_SHARED_EXPERT}
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
        raise _refused(f"there is no tensor parallel plan for {config.model_type}.")
    if model.loss_function is not ForCausalLMLoss:
        raise _refused(f"{config.model_type} has a loss of its own, which needs all of its logits.")
    if unknown := {style for _, style in planned.values()} - set(STYLES):
        raise _refused(f"the plan of {config.model_type} asks for {', '.join(sorted(unknown))}.")
    heads = config.num_attention_heads
    numbers = {}
    if divides_heads(model):
        numbers["heads"] = heads
        numbers["key-value heads"] = getattr(config, "num_key_value_heads", None) or heads
    for name, (module, style) in planned.items():
        if columns := num_columns(module, style):
            numbers[f"columns of {name}"] = columns
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
