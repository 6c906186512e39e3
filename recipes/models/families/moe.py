"""Mixtures of experts with Llama's attention: Mixtral, Qwen's, the first of DeepSeek."""

from fsft.recipes.models.families.llama_like import Block, Variant, read_like_llama
from fsft.recipes.models.fields import Fields
from fsft.recipes.models.shape import Activation, Experts, FeedForward, ModelShape

MIXTRAL = Variant(
    "mixtral",
    vocab_size=32_000,
    hidden=4096,
    depth=32,
    num_heads=32,
    num_kv_heads=8,
    max_positions=131_072,
    windowed="always",
    window_switch="",
)
QWEN2_MOE = Variant(
    "qwen2_moe",
    vocab_size=151_936,
    hidden=2048,
    depth=24,
    num_heads=16,
    num_kv_heads=16,
    max_positions=32_768,
    qkv_bias=True,
    qkv_bias_key="qkv_bias",
    windowed="odd",
    window=4096,
    max_window_layers=28,
)
QWEN3_MOE = Variant(
    "qwen3_moe",
    vocab_size=151_936,
    hidden=2048,
    depth=24,
    num_heads=32,
    num_kv_heads=4,
    max_positions=32_768,
    bias_key="attention_bias",
    head_norms=True,
    windowed="always",
    window=4096,
)
DEEPSEEK = Variant("deepseek", bias_key="attention_bias")


def read_mixtral(fields: Fields) -> ModelShape:
    """Mixtral: every layer has experts."""
    return read_like_llama(fields, MIXTRAL, _mixtral)


def read_qwen2_moe(fields: Fields) -> ModelShape:
    """Qwen1.5-MoE and Qwen2-MoE: a shared block whose output has a gate of its own."""
    return read_like_llama(fields, QWEN2_MOE, _qwen2)


def read_qwen3_moe(fields: Fields) -> ModelShape:
    """Qwen3-MoE: experts only."""
    return read_like_llama(fields, QWEN3_MOE, _qwen3)


def read_deepseek(fields: Fields) -> ModelShape:
    """DeepSeekMoE, remote code: first layers dense, shared experts in all others."""
    return read_like_llama(fields, DEEPSEEK, _deepseek)


def experts_per_token(fields: Fields, num_experts: int, default: int | None) -> int:
    """How many experts a token goes to; not more than there are."""
    top_k = fields.size("num_experts_per_tok", default)
    if top_k > num_experts:
        fields.refuse(
            "num_experts_per_tok", f"{top_k} is more than there are experts, {num_experts}."
        )
    return min(top_k, num_experts)


def _mixtral(fields: Fields, hidden: int, depth: int, activation: Activation) -> list[Block]:
    width = fields.size("intermediate_size", 14_336)
    num_experts = fields.size("num_local_experts", 8, also="num_experts")
    expert = FeedForward(hidden, width, activation=activation, fused=True)
    top_k = experts_per_token(fields, num_experts, 2)
    return [Experts(expert, num_experts, top_k, hidden * num_experts)] * depth


def _qwen2(fields: Fields, hidden: int, depth: int, activation: Activation) -> list[Block]:
    dense = FeedForward(hidden, fields.size("intermediate_size", 5632), activation=activation)
    num_experts = fields.size("num_experts", 60)
    shared_width = fields.size("shared_expert_intermediate_size", 5632)
    sparse = Experts(
        FeedForward(
            hidden,
            fields.size("moe_intermediate_size", 1408),
            activation=activation,
            fused=True,
        ),
        num_experts,
        experts_per_token(fields, num_experts, 4),
        hidden * (num_experts + 1),
        FeedForward(hidden, shared_width, activation=activation),
    )
    return _qwen_order(fields, depth, dense, sparse)


def _qwen3(fields: Fields, hidden: int, depth: int, activation: Activation) -> list[Block]:
    dense = FeedForward(hidden, fields.size("intermediate_size", 6144), activation=activation)
    num_experts = fields.size("num_experts", 128, also="num_local_experts")
    expert = FeedForward(
        hidden, fields.size("moe_intermediate_size", 768), activation=activation, fused=True
    )
    top_k = experts_per_token(fields, num_experts, 8)
    sparse = Experts(expert, num_experts, top_k, hidden * num_experts)
    return _qwen_order(fields, depth, dense, sparse)


def _qwen_order(fields: Fields, depth: int, dense: Block, sparse: Block) -> list[Block]:
    """Every `decoder_sparse_step`-th layer has experts, but those of `mlp_only_layers`."""
    step = fields.size("decoder_sparse_step", 1)
    plain = fields.numbers("mlp_only_layers")
    return [
        sparse if index not in plain and (index + 1) % step == 0 else dense
        for index in range(depth)
    ]


def _deepseek(fields: Fields, hidden: int, depth: int, activation: Activation) -> list[Block]:
    dense = FeedForward(hidden, fields.size("intermediate_size"), activation=activation)
    width = fields.size("moe_intermediate_size")
    num_experts = fields.size("n_routed_experts")
    num_shared = fields.count("n_shared_experts", 0)
    sparse = Experts(
        FeedForward(hidden, width, activation=activation),
        num_experts,
        experts_per_token(fields, num_experts, None),
        hidden * num_experts,
        FeedForward(hidden, width * num_shared, activation=activation) if num_shared else None,
    )
    first = fields.count("first_k_dense_replace", 0)
    every = fields.size("moe_layer_freq", 1)
    return [sparse if index >= first and index % every == 0 else dense for index in range(depth)]
