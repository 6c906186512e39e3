"""How each architecture can be divided, by the plans of transformers and of fsft."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fsft.recipes.models.plans import plan_of
from fsft.recipes.models.shape import ModelShape, Stack


def with_plans(shape: ModelShape, config: Mapping[str, Any]) -> ModelShape:
    """The shape with what there are plans to divide, and what they leave whole."""
    architecture = config["model_type"]
    splits: set[str] = set()
    if architecture in _DIVIDED or plan_of(config):
        splits |= {"tensor", "pipeline"}
    if architecture in _WITH_EXPERT_PLAN:
        splits.add("expert")
    whole = _WHOLE.get(architecture, frozenset())
    layers = tuple((replace(layer, whole=whole), count) for layer, count in shape.stack.layers)
    return replace(
        shape,
        splits=frozenset(splits),
        own_attention=architecture in _OWN_ATTENTION,
        stack=Stack(layers),
    )


_WHOLE = {
    "deepseek_v3": frozenset({"attention", "attention weights"}),
    "glm": frozenset({"feed-forward"}),
    "glm4": frozenset({"feed-forward"}),
    "phi3": frozenset({"attention", "feed-forward"}),
}
"""Products that hold several matrices in one are divided, but what they give is gathered."""
_OWN_ATTENTION = frozenset({"bloom", "falcon", "mpt"})
"""transformers 5.23 takes no other attention for these."""
_WITH_EXPERT_PLAN = frozenset({"deepseek_v2", "deepseek_v3", "mixtral", "qwen2_moe", "qwen3_moe"})
_DIVIDED = _WITH_EXPERT_PLAN | {
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3_text",
    "glm",
    "glm4",
    "gpt_neox",
    "internlm3",
    "internvl",
    "llama",
    "mistral",
    "phi",
    "phi3",
    "qwen2",
    "qwen2_5_vl",
    "qwen2_vl",
    "qwen2_vl_text",
    "qwen3",
}
"""transformers 5.23 has a tensor and a pipeline plan for each of these."""
