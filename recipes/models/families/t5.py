"""T5 and FLAN-T5: an encoder and a decoder that share one embedding."""

from dataclasses import replace

from fsft.recipes.models.families.blocks import ACTIVATIONS, separate_attention, stack_of
from fsft.recipes.models.fields import Fields
from fsft.recipes.models.shape import Activation, FeedForward, Layer, ModelShape, Norm, Stack

_FEED_FORWARDS: dict[str, tuple[bool, Activation]] = {
    **{name: (False, activation) for name, activation in ACTIVATIONS.items()},
    **{f"gated-{name}": (True, activation) for name, activation in ACTIVATIONS.items()},
    "gated-gelu": (True, "gelu_new"),
}
"""Whether gated, and the nonlinearity; transformers takes gelu for gelu_new where gated."""


def read_t5(fields: Fields) -> ModelShape:
    """Positions are relative: a bias for each bucket and head, held by the first layer only."""
    hidden = fields.size("d_model", 512, also="hidden_size")
    num_encoder = fields.depth("num_layers", 6, also="num_hidden_layers")
    num_decoder = num_encoder
    if fields.has("num_decoder_layers"):
        num_decoder = fields.depth("num_decoder_layers")
    heads = fields.size("num_heads", 8, also="num_attention_heads")
    dropout = fields.dropout("dropout_rate", 0.1)
    gated, activation = fields.choice("feed_forward_proj", "relu", _FEED_FORWARDS)
    norm = Norm(hidden)
    attention = separate_attention(
        hidden,
        heads,
        heads,
        fields.size("d_kv", 64, also="head_dim"),
        rotary=False,
        dropout=dropout,
    )
    block = FeedForward(hidden, fields.size("d_ff", 2048), gated=gated, activation=activation)
    encoder = Layer(attention, block, (norm, norm), dropout=dropout)
    decoder = Layer(attention, block, (norm,) * 3, cross_attention=attention, dropout=dropout)
    biases = fields.size("relative_attention_num_buckets", 32) * heads
    return ModelShape(
        architecture="t5",
        hidden=hidden,
        vocab_size=fields.size("vocab_size", 32_128),
        stack=_first_with(decoder, biases, num_decoder),
        final_norms=(norm,),
        tied=fields.flag("tie_word_embeddings", True),
        max_positions=None,
        embedding_dropout=dropout,
        encoder=_first_with(encoder, biases, num_encoder),
        encoder_norms=(norm,),
    )


def _first_with(layer: Layer, num_biases: int, depth: int) -> Stack:
    attention = replace(layer.attention, num_other_parameters=num_biases)
    return stack_of([replace(layer, attention=attention), *([layer] * (depth - 1))])
