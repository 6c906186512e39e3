"""Small configs of every architecture that transformers has, for hypothesis."""

from typing import Any

from hypothesis import strategies as st

from fsft.recipes.models.families import READERS
from tests.recipes.models.reference import REMOTE

ARCHITECTURES = sorted(set(READERS) - REMOTE - {"qwen2_vl_text"})
"""qwen2_vl_text is the inner part of two others."""

DEPTH_KEYS = {"bloom": "n_layer", "gpt2": "n_layer", "mpt": "n_layers", "t5": "num_decoder_layers"}
WIDTH_KEYS = {"opt": "ffn_dim", "t5": "d_ff", "qwen2_moe": "moe_intermediate_size"} | dict.fromkeys(
    ("deepseek_v2", "deepseek_v3", "qwen3_moe"), "moe_intermediate_size"
)
"""Where the key differs from num_hidden_layers, and from intermediate_size."""


@st.composite
def small_configs(draw: st.DrawFn, architecture: str) -> dict[str, Any]:
    """A config that transformers can build."""

    def size(most: int) -> int:
        return draw(st.integers(1, most))

    def flag() -> bool:
        return draw(st.booleans())

    kv_heads = size(3)
    heads = kv_heads * size(3)
    head_dim = 2 * size(4)
    hidden = heads * head_dim
    depth = draw(st.integers(2, 4))
    tokens = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": 0}
    base = {
        "vocab_size": 10 + size(90),
        "hidden_size": hidden,
        "intermediate_size": size(40),
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "tie_word_embeddings": flag(),
        "max_position_embeddings": 64,
        **tokens,
    }
    with_head_dim = {**base, "head_dim": 2 * size(6)}
    biased = flag()
    num_experts = draw(st.integers(2, 5))
    moe = {
        "moe_intermediate_size": size(20),
        "num_experts": num_experts,
        "num_experts_per_tok": draw(st.integers(1, num_experts)),
    }
    order = {"decoder_sparse_step": size(2), "mlp_only_layers": draw(st.sampled_from(([], [0])))}
    latent = {
        "q_lora_rank": draw(st.none() | st.integers(1, 9)),
        "kv_lora_rank": size(9),
        "qk_nope_head_dim": 2 * size(4),
        "qk_rope_head_dim": 2 * size(4),
        "v_head_dim": size(9),
        "n_shared_experts": size(3),
        "n_routed_experts": num_experts,
        "first_k_dense_replace": draw(st.integers(0, 3)),
        "attention_bias": flag(),
        "n_group": 1,
        "topk_group": 1,
    }
    gpt = {"hidden_size": hidden, "n_layer": depth, "n_head": heads, "vocab_size": 90, **tokens}
    image = {"image_size": 56, "patch_size": 14}
    layers = {"num_hidden_layers": size(2), "intermediate_size": size(20)}
    tower = {**image, **layers, "num_attention_heads": 2, "hidden_size": 4 * size(4)}
    qwen_tower = {"depth": size(2), "num_heads": 2, "patch_size": 4}
    qwen_tower |= {"spatial_merge_size": draw(st.integers(1, 3))}
    configs: dict[str, dict[str, Any]] = {
        "llama": {**with_head_dim, "attention_bias": flag(), "mlp_bias": flag()},
        "internlm3": {**with_head_dim, "qkv_bias": biased, "bias": biased},
        "mistral": {**with_head_dim, "sliding_window": 8},
        "glm": {**with_head_dim, "attention_bias": flag()},
        "glm4": {**with_head_dim, "attention_bias": flag()},
        "gemma": {**with_head_dim, "attention_bias": flag()},
        "gemma2": {**with_head_dim, "attention_bias": flag()},
        "gemma3_text": {**with_head_dim, "attention_bias": flag()},
        "qwen2": {**base, "use_sliding_window": flag(), "max_window_layers": 1},
        "qwen3": {**with_head_dim, "attention_bias": flag(), "use_sliding_window": flag()},
        "phi": {**base, "qk_layernorm": flag(), "resid_pdrop": 0.1},
        "phi3": {**base, "sliding_window": draw(st.none() | st.integers(1, 9))},
        "mixtral": {**with_head_dim, "num_local_experts": num_experts, "num_experts_per_tok": 1},
        "qwen2_moe": {
            **base,
            **moe,
            **order,
            "shared_expert_intermediate_size": size(20),
            "qkv_bias": flag(),
            "use_sliding_window": flag(),
        },
        "qwen3_moe": {**with_head_dim, **moe, **order, "attention_bias": flag()},
        "deepseek_v2": {**base, **moe, **latent, "mlp_bias": flag()},
        "deepseek_v3": {**base, **moe, **latent},
        "gpt2": {**gpt, "n_embd": hidden, "n_positions": 8 * size(4)},
        "bloom": gpt,
        "gpt_neox": {**base, "attention_bias": flag()},
        "mpt": {"d_model": hidden, "n_heads": heads, "n_layers": depth, "vocab_size": 90, **tokens},
        "falcon": {
            **{key: base[key] for key in base if key != "num_key_value_heads"},
            "new_decoder_architecture": flag(),
            "num_kv_heads": kv_heads,
            "multi_query": flag(),
            "parallel_attn": flag(),
            "bias": flag(),
            "alibi": flag(),
            "ffn_hidden_size": draw(st.none() | st.integers(1, 40)),
        },
        "opt": {
            **base,
            **tokens,
            "ffn_dim": size(40),
            "word_embed_proj_dim": draw(st.none() | st.integers(1, 9)),
            "do_layer_norm_before": flag(),
            "enable_bias": flag(),
            "layer_norm_elementwise_affine": flag(),
        },
        "t5": {
            "vocab_size": 90,
            "d_model": hidden,
            "d_kv": size(9),
            "d_ff": size(40),
            "num_layers": depth,
            "num_decoder_layers": size(3),
            "num_heads": heads,
            "feed_forward_proj": draw(st.sampled_from(("relu", "gated-gelu"))),
            **tokens,
            "pad_token_id": 0,
        },
        "qwen2_vl": {
            "text_config": base,
            "vision_config": {**qwen_tower, "embed_dim": 4 * size(4), "hidden_size": hidden},
            "tie_word_embeddings": flag(),
        },
        "qwen2_5_vl": {
            **base,
            "vision_config": {
                **qwen_tower,
                "hidden_size": 4 * size(4),
                "intermediate_size": size(20),
                "out_hidden_size": hidden,
            },
        },
        "internvl": {
            "text_config": {**base, "model_type": draw(st.sampled_from(("llama", "qwen2")))},
            "vision_config": {
                **tower,
                "attention_bias": flag(),
                "use_qk_norm": flag(),
                "use_mask_token": flag(),
                "use_mean_pooling": flag(),
                "norm_type": draw(st.sampled_from(("layer_norm", "rms_norm"))),
            },
            "tie_word_embeddings": flag(),
        },
        "gemma3": {
            "text_config": with_head_dim,
            "vision_config": {**tower, "vision_use_head": flag()},
            "mm_tokens_per_image": 4,
            "tie_word_embeddings": flag(),
        },
    }
    return {"model_type": architecture, **configs[architecture]}
