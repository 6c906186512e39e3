"""GPT-2, GPT-NeoX, BLOOM, MPT, Falcon and Phi: LayerNorm and plain feed-forward blocks."""

from dataclasses import replace

from fsft.recipes.models.families.blocks import (
    ACTIVATIONS,
    fused_attention,
    head_width,
    heads_of,
    layer_norm,
    separate_attention,
    stack_of,
)
from fsft.recipes.models.fields import Fields
from fsft.recipes.models.shape import FeedForward, Layer, ModelShape

SCORE_BYTES = 6.0
"""The softmax in float32, and its copy in the computing type."""


def read_gpt2(fields: Fields) -> ModelShape:
    """GPT-2: learned positions, biases everywhere."""
    hidden = fields.size("n_embd", 768, also="hidden_size")
    depth = fields.depth("n_layer", 12, also="num_hidden_layers")
    heads = fields.size("n_head", 12, also="num_attention_heads")
    positions = fields.size("n_positions", 1024, also="max_position_embeddings")
    attention = fused_attention(
        hidden,
        heads,
        heads,
        fields.part(hidden, heads, of="n_embd", by="n_head"),
        bias=True,
        output_bias=True,
        rotary=False,
        dropout=fields.dropout("attn_pdrop", 0.1),
    )
    block = FeedForward(
        hidden,
        fields.optional_size("n_inner") or 4 * hidden,
        gated=False,
        bias=True,
        activation=fields.choice("activation_function", "gelu_new", ACTIVATIONS),
    )
    norm = layer_norm(hidden)
    dropout = fields.dropout("resid_pdrop", 0.1)
    layer = Layer(attention, block, (norm, norm), dropout=dropout)
    return ModelShape(
        architecture="gpt2",
        hidden=hidden,
        vocab_size=fields.size("vocab_size", 50_257),
        stack=stack_of([layer] * depth),
        final_norms=(norm,),
        tied=fields.flag("tie_word_embeddings", True),
        max_positions=positions,
        num_position_parameters=positions * hidden,
        embedding_dropout=fields.dropout("embd_pdrop", 0.1),
    )


def read_gpt_neox(fields: Fields) -> ModelShape:
    """GPT-NeoX and Pythia."""
    hidden = fields.size("hidden_size", 6144)
    depth = fields.depth("num_hidden_layers", 44)
    heads = fields.size("num_attention_heads", 64)
    bias = fields.flag("attention_bias", True)
    attention = fused_attention(
        hidden,
        heads,
        heads,
        head_width(fields, hidden, heads),
        bias=bias,
        output_bias=bias,
        dropout=fields.dropout("attention_dropout"),
    )
    share = fields.ratio("rotary_pct", 0.25, least=0.0, most=1.0)
    attention = replace(attention, concatenates=True, rotary_share=share)
    block = FeedForward(
        hidden,
        fields.size("intermediate_size", 24_576),
        gated=False,
        bias=True,
        activation=fields.choice("hidden_act", "gelu", ACTIVATIONS),
    )
    norm = layer_norm(hidden)
    dropout = fields.dropout("hidden_dropout")
    parallel = fields.flag("use_parallel_residual", True)
    layer = Layer(attention, block, (norm, norm), dropout=dropout, parallel=parallel)
    return ModelShape(
        architecture="gpt_neox",
        hidden=hidden,
        vocab_size=fields.size("vocab_size", 50_432),
        stack=stack_of([layer] * depth),
        final_norms=(norm,),
        tied=fields.flag("tie_word_embeddings", False),
        max_positions=fields.size("max_position_embeddings", 2048),
        embedding_dropout=dropout,
    )


def read_bloom(fields: Fields) -> ModelShape:
    """BLOOM: ALiBi, and a norm right behind the embedding."""
    hidden = fields.size("hidden_size", 64, also="n_embed")
    depth = fields.depth("n_layer", 2, also="num_hidden_layers")
    heads = fields.size("n_head", 8, also="num_attention_heads")
    attention = fused_attention(
        hidden,
        heads,
        heads,
        fields.part(hidden, heads, of="hidden_size", by="n_head"),
        bias=True,
        output_bias=True,
        rotary=False,
        dropout=fields.dropout("attention_dropout"),
    )
    attention = replace(attention, score_bytes=SCORE_BYTES)
    block = FeedForward(hidden, 4 * hidden, gated=False, bias=True, activation="gelu_tanh")
    norm = layer_norm(hidden)
    layer = Layer(attention, block, (norm, norm), dropout=fields.dropout("hidden_dropout"))
    return ModelShape(
        architecture="bloom",
        hidden=hidden,
        vocab_size=fields.size("vocab_size", 250_880),
        stack=stack_of([layer] * depth),
        final_norms=(norm,),
        tied=fields.flag("tie_word_embeddings", True),
        max_positions=fields.optional_size("seq_length"),
        embedding_norms=(norm,),
    )


def read_mpt(fields: Fields) -> ModelShape:
    """MPT as transformers has it: ALiBi, no biases, feed-forward of four times the width."""
    hidden = fields.size("d_model", 2048, also="hidden_size")
    depth = fields.depth("n_layers", 24, also="num_hidden_layers")
    heads = fields.size("n_heads", 16, also="num_attention_heads")
    ratio = fields.size("expansion_ratio", 4)
    fields.equal(ratio, 4, key="expansion_ratio", what="what transformers has MPT with")
    no_bias = fields.flag("no_bias", True)
    fields.equal(no_bias, True, key="no_bias", what="what transformers has MPT with")
    attention = fused_attention(
        hidden,
        heads,
        heads,
        fields.part(hidden, heads, of="d_model", by="n_heads"),
        rotary=False,
        dropout=fields.table("attn_config").dropout("attn_pdrop"),
    )
    attention = replace(attention, score_bytes=SCORE_BYTES, masked=True)
    block = FeedForward(hidden, 4 * hidden, gated=False, activation="gelu")
    norm = layer_norm(hidden, bias=False)
    layer = Layer(attention, block, (norm, norm), dropout=fields.dropout("resid_pdrop"))
    return ModelShape(
        architecture="mpt",
        hidden=hidden,
        vocab_size=fields.size("vocab_size", 50_368),
        stack=stack_of([layer] * depth),
        final_norms=(norm,),
        tied=fields.flag("tie_word_embeddings", True),
        max_positions=fields.size("max_seq_len", 2048),
    )


def read_falcon(fields: Fields) -> ModelShape:
    """Falcon: one or few heads of keys and values, attention and feed-forward side by side."""
    hidden = fields.size("hidden_size", 4544, also="n_embed")
    depth = fields.depth("num_hidden_layers", 32)
    heads = fields.size("num_attention_heads", 71)
    is_new = fields.flag("new_decoder_architecture", False)
    kv_heads = heads
    if is_new:
        kv_heads = heads_of(
            fields, heads, fields.optional_size("num_kv_heads"), kv_key="num_kv_heads"
        )
    elif fields.flag("multi_query", True):
        kv_heads = 1
    bias = fields.flag("bias", False)
    attention = fused_attention(
        hidden,
        heads,
        kv_heads,
        head_width(fields, hidden, heads),
        bias=bias,
        output_bias=bias,
        rotary=not fields.flag("alibi", False),
        dropout=fields.dropout("attention_dropout"),
    )
    attention = replace(attention, masked=True, copies_values=True)
    block = FeedForward(
        hidden,
        fields.optional_size("ffn_hidden_size") or 4 * hidden,
        gated=False,
        bias=bias,
        activation=fields.choice("activation", "gelu", ACTIVATIONS),
    )
    norm = layer_norm(hidden)
    num_norms = fields.optional_size("num_ln_in_parallel_attn") or (2 if is_new else 1)
    parallel = fields.flag("parallel_attn", True)
    if not parallel:
        num_norms = 2
    layer = Layer(
        attention,
        block,
        (norm,) * min(2, num_norms),
        dropout=fields.dropout("hidden_dropout"),
        parallel=parallel,
    )
    return ModelShape(
        architecture="falcon",
        hidden=hidden,
        vocab_size=fields.size("vocab_size", 65_024),
        stack=stack_of([layer] * depth),
        final_norms=(norm,),
        tied=fields.flag("tie_word_embeddings", True),
        max_positions=fields.size("max_position_embeddings", 2048),
    )


def read_phi(fields: Fields) -> ModelShape:
    """Phi-1, 1.5 and 2: attention and feed-forward side by side under one norm."""
    hidden = fields.size("hidden_size", 2048)
    depth = fields.depth("num_hidden_layers", 24)
    heads = fields.size("num_attention_heads", 32)
    width = head_width(fields, hidden, heads)
    is_normed = fields.flag("qk_layernorm", False)
    attention = separate_attention(
        hidden,
        heads,
        heads_of(fields, heads, fields.optional_size("num_key_value_heads")),
        width,
        bias=True,
        output_bias=True,
        norms=(layer_norm(width),) * 2 if is_normed else (),
        dropout=fields.dropout("attention_dropout"),
    )
    share = fields.ratio("partial_rotary_factor", 0.5, least=0.0, most=1.0)
    attention = replace(attention, concatenates=True, rotary_share=share)
    block = FeedForward(
        hidden,
        fields.size("intermediate_size", 8192),
        gated=False,
        bias=True,
        activation=fields.choice("hidden_act", "gelu_new", ACTIVATIONS),
    )
    norm = layer_norm(hidden)
    layer = Layer(attention, block, (norm,), dropout=fields.dropout("resid_pdrop"), parallel=True)
    return ModelShape(
        architecture="phi",
        hidden=hidden,
        vocab_size=fields.size("vocab_size", 51_200),
        stack=stack_of([layer] * depth),
        final_norms=(norm,),
        tied=fields.flag("tie_word_embeddings", False),
        max_positions=fields.size("max_position_embeddings", 2048),
        head_bias=True,
        embedding_dropout=fields.dropout("embd_pdrop"),
    )
