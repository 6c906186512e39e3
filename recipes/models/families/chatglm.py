"""ChatGLM2, ChatGLM3 and the first GLM-4, remote code."""

from fsft.recipes.models.families.blocks import fused_attention, heads_of, layer_norm, stack_of
from fsft.recipes.models.fields import Fields
from fsft.recipes.models.shape import FeedForward, Layer, ModelShape, Norm


def read_chatglm(fields: Fields) -> ModelShape:
    """Fused projections; with `multi_query_attention` few heads of keys and values."""
    hidden = fields.size("hidden_size")
    depth = fields.depth("num_layers")
    heads = fields.size("num_attention_heads")
    groups = None
    if fields.flag("multi_query_attention", False):
        groups = fields.size("multi_query_group_num")
    bias = fields.flag("add_bias_linear", False)
    norm = Norm(hidden) if fields.flag("rmsnorm", True) else layer_norm(hidden)
    attention = fused_attention(
        hidden,
        heads,
        heads_of(fields, heads, groups, kv_key="multi_query_group_num"),
        fields.size("kv_channels"),
        bias=bias or fields.flag("add_qkv_bias", False),
        output_bias=bias,
        dropout=fields.dropout("attention_dropout"),
    )
    block = FeedForward(hidden, fields.size("ffn_hidden_size"), bias=bias, fused=True)
    layer = Layer(attention, block, (norm, norm), dropout=fields.dropout("hidden_dropout"))
    return ModelShape(
        architecture="chatglm",
        hidden=hidden,
        vocab_size=fields.size("padded_vocab_size", also="vocab_size"),
        stack=stack_of([layer] * depth),
        final_norms=(norm,) if fields.flag("post_layer_norm", True) else (),
        tied=fields.flag("tie_word_embeddings", False),
        max_positions=fields.size("seq_length"),
    )
