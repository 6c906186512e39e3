"""Models as transformers builds them, without memory for their weights."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

REMOTE = frozenset({"baichuan", "chatglm", "deepseek", "internlm2", "internvl_chat", "qwen"})
"""Their code is on the hub only."""
_SEEING = frozenset({"gemma3", "internvl", "qwen2_5_vl", "qwen2_vl"})
_LAYERS = (
    "model.layers",
    "model.language_model.layers",
    "model.decoder.layers",
    "transformer.h",
    "transformer.blocks",
    "gpt_neox.layers",
    "decoder.block",
)


def build(config: Mapping[str, Any]) -> "nn.Module":
    """The model of a config.json, on the meta device."""
    import torch
    import transformers

    fields = dict(config)
    real = transformers.AutoConfig.for_model(fields.pop("model_type"), **fields)
    if real.model_type in _SEEING:
        auto = transformers.AutoModelForImageTextToText
    elif real.model_type == "t5":
        auto = transformers.AutoModelForSeq2SeqLM
    else:
        auto = transformers.AutoModelForCausalLM
    with torch.device("meta"):
        model: nn.Module = auto.from_config(real)
    return model


def num_parameters(module: "nn.Module") -> int:
    """Parameters, each counted once."""
    return sum(parameter.numel() for parameter in module.parameters())


def layers_of(model: "nn.Module") -> list["nn.Module"]:
    """The layers of the decoder, from first to last."""
    for path in _LAYERS:
        module: Any = model
        for name in path.split("."):
            module = getattr(module, name, None)
        if module is not None:
            return list(module)
    raise LookupError(type(model).__name__)


def is_tied(model: Any) -> bool:
    """The output projection is the input embedding."""
    tied: bool = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    return tied
