"""The implementations behind published runs, in the planner's terms."""

from dataclasses import replace
from typing import Any

from fsft.recipes.planner.style import HUGGING_FACE, Style

MEGATRON = Style(
    name="megatron",
    gradient_bytes=4,
    copies_gradients=False,
    held_gradients=True,
    norm="fused",
    gated="fused",
    logit_bytes=8,
    reserved_per_allocated=1.03,
)
BRIDGE = replace(MEGATRON, name="megatron-bridge", gradient_bytes=2, optimizer_bytes=8)
TORCHTITAN = Style(
    name="torchtitan",
    copies_gradients=False,
    weight_bytes=4,
    gradient_bytes=4,
    optimizer_bytes=8,
    sharded_weights="fsdp",
    logit_bytes=14,
    held_gradients=True,
    whole_gradients=True,
    lost_to_gathering=0.0,
)
NANOTRON = replace(
    MEGATRON,
    name="nanotron",
    other_gradient_bytes=2,
    gated="eager",
    logit_bytes=10,
    other_bytes_per_width=16,
    reserved_per_allocated=1.05,
)
LIT_GPT = Style(
    name="lit-gpt",
    copies_gradients=False,
    optimizer_bytes=4,
    sharded_weights="fsdp",
    norm="fused",
    fused_linears=True,
    logit_bytes=8,
    other_bytes_per_width=5.5,
    whole_gradients=True,
    copies_attention_output=True,
)
PEFT = replace(
    HUGGING_FACE,
    name="peft",
    logit_bytes=13,
    reserved_per_allocated=1.1,
    optimizer_bytes=4,
    held_gradients=True,
    communicators=1,
)
PEFT_DEEPSPEED = replace(PEFT, optimizer_bytes=12)


def style_of(fields: dict[str, Any]) -> Style:
    """The style of the framework that a case names."""
    framework = fields["framework"].lower()
    notes = str(fields["notes"])
    if "megatron-bridge" in framework:
        return BRIDGE
    if "megatron" in framework or "internevo" in framework:
        scores = 2 if "unfused" in str(fields["attention"]).lower() else 0
        return replace(MEGATRON, scores_bytes=scores)
    if "torchtitan" in framework:
        bytes_per_logit = 22 if fields["tp"] > 1 else 14
        reserved = 1.01 if fields["compile"] else 1.08
        return replace(
            TORCHTITAN,
            logit_bytes=bytes_per_logit,
            norm="fused" if fields["compile"] else "eager",
            reserved_per_allocated=reserved,
        )
    if "nanotron" in framework:
        return NANOTRON
    if "lit-gpt" in framework or "litgpt" in framework:
        return LIT_GPT
    if "peft" in framework or "hf trainer" in framework:
        half = fields["precision"] == "fp16"
        base = PEFT_DEEPSPEED if fields["zero"] != "none" else PEFT
        return replace(base, logit_bytes=8 if half else 13)
    return HUGGING_FACE
