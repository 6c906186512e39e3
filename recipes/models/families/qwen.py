"""The first Qwen, remote code."""

from fsft.recipes.models.families.blocks import fused_attention, stack_of
from fsft.recipes.models.fields import Fields
from fsft.recipes.models.shape import FeedForward, Layer, ModelShape, Norm


def read_qwen(fields: Fields) -> ModelShape:
    """Qwen-1.8B to 72B: `intermediate_size` is the width of gate and up together."""
    hidden = fields.size("hidden_size")
    depth = fields.depth("num_hidden_layers")
    heads = fields.size("num_attention_heads")
    width = fields.size("kv_channels")
    both = fields.size("intermediate_size")
    if both > 1 and both % 2:
        fields.refuse("intermediate_size", f"{both} is not even: gate and up have half of it each.")
    bias = not fields.flag("no_bias", True)
    norm = Norm(hidden)
    attention = fused_attention(
        hidden,
        heads,
        heads,
        width,
        bias=True,
        output_bias=bias,
        dropout=fields.dropout("attn_dropout_prob"),
    )
    block = FeedForward(hidden, max(1, both // 2), bias=bias)
    layer = Layer(attention, block, (norm, norm))
    return ModelShape(
        architecture="qwen",
        hidden=hidden,
        vocab_size=fields.size("vocab_size"),
        stack=stack_of([layer] * depth),
        final_norms=(norm,),
        tied=fields.flag("tie_word_embeddings", False),
        max_positions=fields.size("max_position_embeddings", also="seq_length"),
        embedding_dropout=fields.dropout("emb_dropout_prob"),
    )
