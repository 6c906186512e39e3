"""The implementations behind published runs, in the planner's terms."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from fsft.recipes.planner.kernels import Kernels
from fsft.recipes.planner.style import HUGGING_FACE, Style

MEGATRON = Style(
    name="megatron",
    gradient_bytes=4,
    copies_gradients=False,
    pipeline_copies=0,
    held_gradients=True,
    norm="fused",
    gated="fused",
    logit_bytes=8,
    reserved_per_allocated=1.03,
)
BRIDGE = replace(MEGATRON, name="megatron-bridge", gradient_bytes=2, optimizer_bytes=8)
MEGATRON_DEEPSPEED = replace(MEGATRON, name="megatron-deepspeed", gradient_bytes=2)
TORCHTITAN = Style(
    name="torchtitan",
    pipeline_copies=2,
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
    context_bytes=0.92 * 2**30,
    logit_bytes=13,
    reserved_per_allocated=1.1,
    optimizer_bytes=4,
    held_gradients=True,
    communicators=1,
)
PEFT_DEEPSPEED = replace(PEFT, optimizer_bytes=12)


def style_of(fields: dict[str, Any]) -> Style:
    """The style of the framework that a case names; fsft's own where it is not known."""
    framework = fields["framework"].lower()
    for words, make in _STYLES:
        if any(word in framework for word in words):
            return replace(make(fields), kernels=kernels_of(fields))
    return replace(HUGGING_FACE, kernels=kernels_of(fields))


def network_of(fields: dict[str, Any]) -> str:
    """The network of a node where a case does not tell it, but its authors do elsewhere."""
    if fields["framework"].startswith("xtuner"):
        # That of the A100-SXM4-80GB cluster which the same organization describes for InternLM
        # (InternLM/InternLM doc/en/train_performance.md); xtuner's page names no network.
        return "4x100 Gb/s"
    return ""


def kernels_of(fields: dict[str, Any]) -> Kernels:
    """The kernels that a case's framework launches, as its fields and its source code tell."""
    framework = fields["framework"].lower()
    has_own_kernels = any(word in framework for word in ("megatron", "internevo"))
    is_core = "megatron" in framework and framework != "megatron-deepspeed"
    is_gptq = "gptq" in str(fields["quant"]).lower()
    elementwise = "compiled" if fields["compile"] else "fused" if has_own_kernels else "eager"
    return Kernels(
        attention=_attention(framework, fields),
        elementwise=elementwise,
        modules="megatron-core" if is_core else None,
        products="float8" if re.match(r"(float8|fp8)", fields["precision"]) else "bfloat16",
        gathers="layers" if "fsdp" in str(fields["zero"]).lower() else "modules",
        passes="keys" if (fields["cp"] or 1) > 1 else "heads",
        # torchtitan models/llama/model.py and xtuner model/modules/dispatch/*.py call repeat_kv
        # before attention is divided.
        repeats_keys="torchtitan" in framework or "xtuner" in framework,
        hides_tensor="async tp" in str(fields["notes"]).lower(),
        # Megatron-DeepSpeed reduces gradients when backward has ended, and so does Megatron without
        # --overlap-grad-reduce (model_config.yaml of its test of vision models).
        hides_gradients=not ("megatron-deepspeed" in framework or "pretrain_vlm" in framework),
        hides_exchange="a2a overlap" in str(fields["notes"]).lower(),
        sends_once="deepep" in str(fields["notes"]).lower(),
        deterministic="deterministic" in framework,
        flat_states=not (
            # DDP, Megatron's distributed optimizer and FSDP2 keep each weight by itself;
            # Megatron-FSDP has buckets.
            (
                has_own_kernels
                and framework != "megatron-deepspeed"
                and "FSDP" not in str(fields["zero"])
            )
            or "torchtitan" in framework
            or fields["zero"] == "none"
        ),
        joined=_joined(fields, framework),
        loss_bytes=_loss_bytes(fields, framework),
        # AutoGPTQ of the time unpacked int4 by elementary operations on int32.
        dequantized_bytes=25.0 if is_gptq else 5.0,
        dequantizing_kernels=12 if is_gptq else 3,
    )


def _joined(fields: dict[str, Any], framework: str) -> tuple[str, ...]:
    if "megatron" in framework:
        return ("k", "v", "gate")
    # The attention of Qwen's first generation.
    return ("k", "v") if "c_attn" in (fields["lora"] or {}).get("targets", ()) else ()


def _loss_bytes(fields: dict[str, Any], framework: str) -> float | None:
    if "bridge" in framework or fields["group"] == "moe-modelzoo":
        # Transformer Engine's fused loss reads bfloat16 logits twice and writes their gradient
        # (cross_entropy_fusion_impl of both repositories' recipes).
        return 6.0
    if "megatron" in framework and "fused" not in str(fields["loss"]):
        # Copied to float32, maximum, subtracted, exponential, sum, divided, times the gradient,
        # copied back (Megatron-LM@d98e8a6 core/tensor_parallel/cross_entropy.py).
        return 52.0
    return None


def _attention(
    framework: str, fields: dict[str, Any]
) -> Literal["flash", "flash-2", "cudnn", "scores"]:
    attention, gpu = str(fields["attention"]).lower(), str(fields["gpu"])
    if "unfused" in attention or framework == "megatron-deepspeed":
        return "scores"
    if "megatron" in framework and _has_odd_heads(fields):
        return "scores"
    if "deterministic" in framework and not gpu.startswith("H"):
        # Transformer Engine then leaves cuDNN's kernels for FlashAttention, but for Hopper, whose
        # kernels are deterministic; those of Blackwell are only without dropout (TransformerEngine
        # @d0067d0 dot_product_attention/utils.py, common/fused_attn/fused_attn.cpp).
        return "flash-2"
    if "triton" in attention or attention == "flash-attn":
        return "flash"
    return "cudnn" if "megatron" in framework else "flash-2"


def _has_odd_heads(fields: dict[str, Any]) -> bool:
    """Fused attention takes heads whose size is a multiple of 8, both cuDNN's and FlashAttention.

    Transformer Engine leaves others to plain products and a softmax
    (dot_product_attention/utils.py, get_attention_backend).
    """
    config = fields["hf_config"]
    return bool((config.get("head_dim") or config["hidden"] // config["heads"]) % 8)


def _megatron(fields: dict[str, Any]) -> Style:
    if _has_odd_heads(fields):
        # Of a length that is no multiple of 4, the softmax is not fused either
        # (megatron/core/fusions/fused_softmax.py).
        return replace(MEGATRON, attention="scores")
    scores = 2 if "unfused" in str(fields["attention"]).lower() else 0
    return replace(MEGATRON, scores_bytes=scores)


def _torchtitan(fields: dict[str, Any]) -> Style:
    compiled = bool(fields["compile"])
    return replace(
        TORCHTITAN,
        # The vocabulary-parallel loss keeps two more float32 copies.
        logit_bytes=22 if fields["tp"] > 1 else 14,
        norm="fused" if compiled else "eager",
        reserved_per_allocated=1.01 if compiled else 1.08,
    )


def _peft(fields: dict[str, Any]) -> Style:
    base = PEFT if fields["zero"] == "none" else PEFT_DEEPSPEED
    return replace(base, logit_bytes=8 if fields["precision"] == "fp16" else 13)


_STYLES: tuple[tuple[tuple[str, ...], Callable[[dict[str, Any]], Style]], ...] = (
    (("megatron-bridge",), lambda _: BRIDGE),
    (("megatron-deepspeed",), lambda _: MEGATRON_DEEPSPEED),
    (("megatron", "internevo"), _megatron),
    (("torchtitan",), _torchtitan),
    (("nanotron",), lambda _: NANOTRON),
    (("lit-gpt", "litgpt"), lambda _: LIT_GPT),
    (("peft", "hf trainer"), _peft),
)
"""Words in the name of a framework, and what makes its style."""
