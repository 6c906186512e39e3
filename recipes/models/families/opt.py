"""OPT: learned positions; the 350m has a narrower embedding and norms behind the blocks."""

from fsft.recipes.models.families.blocks import (
    ACTIVATIONS,
    head_width,
    layer_norm,
    separate_attention,
    stack_of,
)
from fsft.recipes.models.fields import Fields
from fsft.recipes.models.shape import FeedForward, Layer, ModelShape

_POSITION_OFFSET = 2
"""The table of positions has this many rows more than there are positions."""


def read_opt(fields: Fields) -> ModelShape:
    """All sizes of OPT."""
    hidden = fields.size("hidden_size", 768)
    depth = fields.depth("num_hidden_layers", 12)
    heads = fields.size("num_attention_heads", 12)
    bias = fields.flag("enable_bias", True)
    affine = fields.flag("layer_norm_elementwise_affine", True)
    norm = layer_norm(hidden, bias=affine, affine=affine)
    attention = separate_attention(
        hidden,
        heads,
        heads,
        head_width(fields, hidden, heads),
        bias=bias,
        output_bias=bias,
        rotary=False,
        dropout=fields.dropout("attention_dropout"),
    )
    block = FeedForward(
        hidden,
        fields.size("ffn_dim", 3072),
        gated=False,
        bias=bias,
        activation=fields.choice("activation_function", "relu", ACTIVATIONS),
    )
    embedding = fields.optional_size("word_embed_proj_dim") or hidden
    positions = fields.size("max_position_embeddings", 2048)
    is_pre_norm = fields.flag("do_layer_norm_before", True)
    has_final = is_pre_norm and not fields.flag("_remove_final_layer_norm", False)
    layer = Layer(attention, block, (norm, norm), dropout=fields.dropout("dropout", 0.1))
    return ModelShape(
        architecture="opt",
        hidden=hidden,
        vocab_size=fields.size("vocab_size", 50_272),
        stack=stack_of([layer] * depth),
        final_norms=(norm,) if has_final else (),
        tied=fields.flag("tie_word_embeddings", True),
        max_positions=positions,
        embedding_width=None if embedding == hidden else embedding,
        num_position_parameters=(positions + _POSITION_OFFSET) * hidden,
        num_embedding_projection_parameters=0 if embedding == hidden else 2 * embedding * hidden,
    )
