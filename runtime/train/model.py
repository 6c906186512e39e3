"""The transformers model of a run, before any training."""

from pathlib import Path
from typing import Any

import torch

from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Model, Recipe
from fsft.runtime.model_config import model_config


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer that prepare saved."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def build_model(
    recipe: Recipe, tokenizer: Any, accelerator: str, dtype: torch.dtype | None = None
) -> Any:
    """The model with its first weights, on the CPU.

    Pretrained weights come in `dtype`, by default the type that is computed in; what is stored in
    it stays in the mapped files until it is read. Random weights are in float32. What is drawn is
    drawn with the recipe's seed: each call and each process gets the same. Raises Refused when
    there is no usable model.
    """
    model = recipe.model
    attention = attention_kernel(model, accelerator)
    try:
        config = model_config(recipe, tokenizer)
        torch.manual_seed(recipe.seed)
        if model.init == "pretrained":
            return auto_class(config).from_pretrained(
                model.path,
                revision=model.revision or "main",
                dtype=dtype or computing_dtype(model),
                attn_implementation=attention,
            )
        return auto_class(config).from_config(
            config, dtype=torch.float32, attn_implementation=attention
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Refused(Problem(key="model", reason=f"the model cannot be built: {error}")) from error


def computing_dtype(model: Model) -> torch.dtype:
    """The type that forward and backward compute in."""
    return torch.bfloat16 if model.dtype == "bfloat16" else torch.float32


def auto_class(config: Any) -> Any:
    """The transformers class that loads a model: of those that see, with their vision tower."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    )

    kind = type(config)
    sees = kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING and kind not in MODEL_FOR_CAUSAL_LM_MAPPING
    return AutoModelForImageTextToText if sees else AutoModelForCausalLM


def attention_kernel(model: Model, accelerator: str) -> str:
    """The attention implementation that transformers is asked for.

    Raises Refused for one that computes no gradients on a cpu.
    """
    if model.attention == "flex_attention" and accelerator == "cpu":
        reason = "flex_attention computes no gradients on a cpu."
        raise Refused(Problem(key="model.attention", reason=reason, example='attention = "sdpa"'))
    if model.attention != "auto":
        return model.attention
    from transformers.utils import is_flash_attn_2_available, is_flash_attn_3_available

    if accelerator != "cpu" and model.dtype == "bfloat16":
        if is_flash_attn_3_available():
            return "flash_attention_3"
        if is_flash_attn_2_available():
            return "flash_attention_2"
    return "sdpa"


def joins_rows(kernel: str) -> bool:
    """Whether an attention implementation skips what samples of one row do not see of each other.

    Then all rows of a micro batch are computed as one, without padding.
    """
    return "flash" in kernel or kernel == "flex_attention"


def num_matmul_parameters(model: Any) -> tuple[int, int]:
    """Parameters of matrix products: those of the layers, and those of the output projection.

    The input embedding is looked up, not multiplied; a tied one is the output projection too.
    """
    apart = {id(module.weight) for module in (model.get_input_embeddings(), _head(model))}
    in_layers = sum(p.numel() for p in model.parameters() if p.ndim >= 2 and id(p) not in apart)
    return in_layers, _head(model).weight.numel()


def attention_width(model: Any) -> float:
    """Columns of queries in a layer, all heads together; the mean of layers that differ."""
    layers = list(model.config.get_text_config().per_layer_config)
    widths = [
        (getattr(layer, "head_dim", None) or layer.hidden_size // layer.num_attention_heads)
        * layer.num_attention_heads
        for layer in layers
    ]
    return sum(widths) / len(widths)


def _head(model: Any) -> Any:
    return model.get_output_embeddings()
