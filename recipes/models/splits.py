"""How transformers can divide each architecture by its own plans."""


def splits_of(architecture: str) -> frozenset[str]:
    """Which of "tensor", "pipeline" and "expert" a model's plans offer; none for remote code."""
    splits: set[str] = set()
    if architecture in _DIVIDED:
        splits |= {"tensor", "pipeline"}
    if architecture in _WITH_EXPERT_PLAN:
        splits.add("expert")
    return frozenset(splits)


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
