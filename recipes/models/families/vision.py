"""Vision towers and how they are joined to language models."""

from fsft.recipes.models.families.blocks import (
    ACTIVATIONS,
    fused_attention,
    layer_norm,
    separate_attention,
    stack_of,
)
from fsft.recipes.models.fields import Fields
from fsft.recipes.models.shape import FeedForward, Layer, Norm, Vision


def qwen2_vl_vision(fields: Fields, hidden: int) -> Vision:
    """Qwen2-VL's tower; `hidden` is the language model's width."""
    width = fields.size("embed_dim", 1280)
    heads = fields.size("num_heads", 16, also="num_attention_heads")
    norm = layer_norm(width)
    block = FeedForward(
        width,
        int(width * fields.ratio("mlp_ratio", 4, least=0.1, most=100)),
        gated=False,
        bias=True,
        activation=fields.choice("hidden_act", "quick_gelu", ACTIVATIONS),
    )
    out = fields.size("hidden_size", 3584)
    fields.equal(out, hidden, key="hidden_size", what="the language model's width")
    return _qwen_vision(fields, width, heads, norm, block, out, width_key="embed_dim")


def qwen2_5_vl_vision(fields: Fields, hidden: int) -> Vision:
    """Qwen2.5-VL's tower: gated blocks, and windows in most layers."""
    width = fields.size("hidden_size", 3584)
    heads = fields.size("num_heads", 16, also="num_attention_heads")
    block = FeedForward(
        width,
        fields.size("intermediate_size", 3420),
        bias=True,
        activation=fields.choice("hidden_act", "silu", ACTIVATIONS),
    )
    out = fields.size("out_hidden_size", 3584)
    fields.equal(out, hidden, key="out_hidden_size", what="the language model's width")
    return _qwen_vision(fields, width, heads, Norm(width), block, out, width_key="hidden_size")


def _qwen_vision(
    fields: Fields,
    width: int,
    heads: int,
    norm: Norm,
    block: FeedForward,
    out: int,
    *,
    width_key: str,
) -> Vision:
    patch = fields.side("patch_size", 14)
    merge = fields.size("spatial_merge_size", 2)
    frames = fields.size("temporal_patch_size", 2)
    channels = fields.size("in_channels", 3, also="in_chans")
    attention = fused_attention(
        width,
        heads,
        heads,
        fields.part(width, heads, of=width_key, by="num_heads"),
        bias=True,
        output_bias=True,
    )
    merged = width * merge**2
    return Vision(
        stack_of([Layer(attention, block, (norm, norm))] * fields.depth("depth", 32)),
        hidden=width,
        patch_size=patch,
        merge=merge,
        num_other_parameters=channels * frames * patch**2 * width,
        num_projector_parameters=norm.num_parameters + _two_layers(merged, merged, out),
        projector_input=merged,
    )


def intern_vision(fields: Fields, hidden: int, downsample: float) -> Vision:
    """InternViT of remote code, joined by `mlp1`; all its keys must be there."""
    width = fields.size("hidden_size")
    heads = fields.size("num_attention_heads")
    is_rms = fields.choice("norm_type", "rms_norm", {"rms_norm": True, "layer_norm": False})
    is_normed = fields.flag("qk_normalization", True)
    attention = fused_attention(
        width,
        heads,
        heads,
        fields.part(width, heads, of="hidden_size", by="num_attention_heads"),
        bias=fields.flag("qkv_bias", False),
        output_bias=True,
        norms=(Norm(width),) * 2 if is_normed else (),
        rotary=False,
        dropout=fields.dropout("attention_dropout"),
    )
    block = FeedForward(
        width,
        fields.size("intermediate_size"),
        gated=False,
        bias=True,
        activation=fields.choice("hidden_act", "gelu", ACTIVATIONS),
    )
    norm = Norm(width) if is_rms else layer_norm(width)
    layer = Layer(
        attention,
        block,
        (norm, norm),
        dropout=fields.dropout("dropout"),
        num_other_parameters=2 * width,
    )
    patch, image = fields.side("patch_size", 14), fields.side("image_size", 224)
    return Vision(
        stack_of([layer] * fields.depth("num_hidden_layers")),
        hidden=width,
        patch_size=patch,
        merge=_merge(downsample),
        num_other_parameters=width
        + (3 * patch**2 + 1) * width
        + (_grid(fields, image, patch) ** 2 + 1) * width,
        num_projector_parameters=_intern_projector(width, _merge(downsample), hidden),
        projector_input=width * _merge(downsample) ** 2,
    )


def internvl_vision(fields: Fields, hidden: int, downsample: float) -> Vision:
    """InternViT as transformers has it, with its config class's defaults."""
    width = fields.size("hidden_size", 1024)
    heads = fields.size("num_attention_heads", 16)
    is_rms = fields.choice("norm_type", "layer_norm", {"rms_norm": True, "layer_norm": False})
    attention = separate_attention(
        width,
        heads,
        heads,
        fields.part(width, heads, of="hidden_size", by="num_attention_heads"),
        bias=fields.flag("attention_bias", False),
        output_bias=True,
        norms=(Norm(width),) * 2 if fields.flag("use_qk_norm", False) else (),
        rotary=False,
        dropout=fields.dropout("attention_dropout"),
    )
    block = FeedForward(
        width,
        fields.size("intermediate_size", 4096),
        gated=False,
        bias=True,
        activation=fields.choice("hidden_act", "gelu", ACTIVATIONS),
    )
    norm = Norm(width) if is_rms else layer_norm(width)
    layer = Layer(
        attention,
        block,
        (norm, norm),
        dropout=fields.dropout("hidden_dropout_prob"),
        num_other_parameters=2 * width,
    )
    patch, image = fields.side("patch_size", 14), fields.side("image_size", 448)
    tokens = 1 + int(fields.flag("use_mask_token", False))
    others = tokens * width + (fields.size("num_channels", 3) * patch**2 + 1) * width
    if fields.flag("use_absolute_position_embeddings", True):
        others += (_grid(fields, image, patch) ** 2 + 1) * width
    if not fields.flag("use_mean_pooling", True):
        others += layer_norm(width).num_parameters
    return Vision(
        stack_of([layer] * fields.depth("num_hidden_layers", 24)),
        hidden=width,
        patch_size=patch,
        merge=_merge(downsample),
        num_other_parameters=others,
        num_projector_parameters=_intern_projector(width, _merge(downsample), hidden),
        projector_input=width * _merge(downsample) ** 2,
    )


def siglip_vision(fields: Fields, hidden: int, tokens: int) -> Vision:
    """SigLIP as Gemma 3 uses it: patches are averaged to `tokens`, then one projection."""
    width = fields.size("hidden_size", 768)
    heads = fields.size("num_attention_heads", 12)
    norm = layer_norm(width)
    attention = separate_attention(
        width,
        heads,
        heads,
        fields.part(width, heads, of="hidden_size", by="num_attention_heads"),
        bias=True,
        output_bias=True,
        rotary=False,
        dropout=fields.dropout("attention_dropout"),
    )
    block = FeedForward(
        width,
        fields.size("intermediate_size", 3072),
        gated=False,
        bias=True,
        activation=fields.choice("hidden_act", "gelu_pytorch_tanh", ACTIVATIONS),
    )
    patch, image = fields.side("patch_size", 16), fields.side("image_size", 224)
    grid = _grid(fields, image, patch)
    others = (fields.size("num_channels", 3) * patch**2 + 1) * width + grid**2 * width
    others += norm.num_parameters
    if fields.flag("vision_use_head", True):
        # A probe that attends over all patches; its feed-forward block and norm.
        others += width + attention.num_parameters + norm.num_parameters + block.num_parameters
    return Vision(
        stack_of([Layer(attention, block, (norm, norm))] * fields.depth("num_hidden_layers", 12)),
        hidden=width,
        patch_size=patch,
        merge=max(1, grid // max(1, round(tokens**0.5))),
        num_other_parameters=others,
        num_projector_parameters=Norm(width).num_parameters + width * hidden,
        projector_input=width,
    )


def _merge(downsample: float) -> int:
    return max(1, round(1 / downsample))


def _grid(fields: Fields, image: int, patch: int) -> int:
    """Whole patches a side."""
    if patch > image:
        fields.refuse("patch_size", f"{patch} is more than image_size, which is {image}.")
    return max(1, image // patch)


def _intern_projector(width: int, merge: int, hidden: int) -> int:
    merged = width * merge**2
    return layer_norm(merged).num_parameters + _two_layers(merged, hidden, hidden)


def _two_layers(inputs: int, inner: int, outputs: int) -> int:
    return inputs * inner + inner + inner * outputs + outputs
