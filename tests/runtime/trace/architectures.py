"""Small models of many architectures, with the proportions of real ones."""

from typing import Any

_LLAMA: dict[str, Any] = {
    "vocab_size": 2048,
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_PLAIN = {**_LLAMA, "intermediate_size": 2048, "num_key_value_heads": 8}
_MIXTURE = {"num_experts_per_tok": 2, "moe_intermediate_size": 512}
_GPT2 = {
    "n_embd": 512,
    "n_layer": 3,
    "n_head": 8,
    "n_positions": 4096,
    "resid_pdrop": 0.0,
    "attn_pdrop": 0.0,
    "embd_pdrop": 0.0,
}

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": {**_LLAMA, "head_dim": 64},
    "mistral": {**_LLAMA, "sliding_window": 1024},
    "gemma": {**_LLAMA, "head_dim": 64},
    "gemma2": {**_LLAMA, "head_dim": 64},
    "gemma3_text": {**_LLAMA, "head_dim": 64},
    "phi": _PLAIN,
    "phi3": _LLAMA,
    "glm4": {**_LLAMA, "head_dim": 64},
    "mixtral": {**_LLAMA, "num_local_experts": 8, "num_experts_per_tok": 2},
    "qwen3_moe": {**_LLAMA, **_MIXTURE, "head_dim": 64, "num_experts": 8},
    "gpt2": {**_LLAMA, **_GPT2},
    "gpt_neox": _PLAIN,
    "opt": {**_PLAIN, "ffn_dim": 2048, "word_embed_proj_dim": 512, "dropout": 0.0},
    "bloom": {**_LLAMA, "n_layer": 3, "n_head": 8},
    "falcon": {**_LLAMA, "multi_query": True, "bias": False},
}
"""config.json by model_type."""


def config_of(architecture: str) -> dict[str, Any]:
    """The config.json of a small model."""
    return {"model_type": architecture, **ARCHITECTURES[architecture]}
