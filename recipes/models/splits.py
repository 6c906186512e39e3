"""How transformers can divide each architecture by its own plans."""

from dataclasses import replace

from fsft.recipes.models.shape import ModelShape, Stack


def splits_of(architecture: str) -> frozenset[str]:
    """Which of "tensor", "pipeline" and "expert" a model's plans offer; none for remote code."""
    splits: set[str] = set()
    if architecture in _DIVIDED:
        splits |= {"tensor", "pipeline"}
    if architecture in _WITH_EXPERT_PLAN:
        splits.add("expert")
    return frozenset(splits)


def with_plans(shape: ModelShape, architecture: str) -> ModelShape:
    """The shape with what the model's plans offer to divide, and what they leave whole."""
    whole = _WHOLE.get(architecture, frozenset())
    layers = tuple((replace(layer, whole=whole), count) for layer, count in shape.stack.layers)
    return replace(shape, splits=splits_of(architecture), stack=Stack(layers))


_WHOLE = {
    "deepseek_v3": frozenset({"attention", "attention weights"}),
    "glm": frozenset({"feed-forward"}),
    "glm4": frozenset({"feed-forward"}),
    "phi3": frozenset({"attention", "feed-forward"}),
}
"""Products that hold several matrices in one are divided, but what they give is gathered."""
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
