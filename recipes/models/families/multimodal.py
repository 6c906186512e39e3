"""Language models that see: Qwen2-VL, Qwen2.5-VL, InternVL, Gemma 3."""

from collections.abc import Callable
from dataclasses import replace

from fsft.recipes.models.families.dense import DENSE, GEMMA3, QWEN2_VL_TEXT
from fsft.recipes.models.families.llama_like import read_like_llama
from fsft.recipes.models.families.vision import (
    intern_vision,
    internvl_vision,
    qwen2_5_vl_vision,
    qwen2_vl_vision,
    siglip_vision,
)
from fsft.recipes.models.fields import Fields
from fsft.recipes.models.shape import ModelShape, Vision


def read_qwen2_vl(fields: Fields) -> ModelShape:
    """Qwen2-VL."""
    return _read_qwen(fields, "qwen2_vl", qwen2_vl_vision)


def read_qwen2_5_vl(fields: Fields) -> ModelShape:
    """Qwen2.5-VL."""
    return _read_qwen(fields, "qwen2_5_vl", qwen2_5_vl_vision)


def read_internvl_chat(fields: Fields) -> ModelShape:
    """InternVL 1.5 to 2.5, remote code."""
    shape = _language_model(fields.table("llm_config"), "")
    vision = fields.table("vision_config")
    downsample = fields.ratio("downsample_ratio", 0.5, least=0.1, most=1.0)
    return replace(
        shape,
        architecture="internvl_chat",
        vision=intern_vision(vision, shape.hidden, downsample),
    )


def read_internvl(fields: Fields) -> ModelShape:
    """InternVL as transformers has it."""
    shape = _language_model(fields.table("text_config"), "qwen2")
    vision = fields.table("vision_config")
    downsample = fields.ratio("downsample_ratio", 0.5, least=0.1, most=1.0)
    return replace(
        shape,
        architecture="internvl",
        tied=fields.flag("tie_word_embeddings", True),
        vision=internvl_vision(vision, shape.hidden, downsample),
    )


def read_gemma3(fields: Fields) -> ModelShape:
    """Gemma 3 from 4B on."""
    shape = read_like_llama(fields.table("text_config"), GEMMA3)
    tokens = fields.size("mm_tokens_per_image", 256)
    return replace(
        shape,
        architecture="gemma3",
        tied=fields.flag("tie_word_embeddings", True),
        vision=siglip_vision(fields.table("vision_config"), shape.hidden, tokens),
    )


def _read_qwen(
    fields: Fields, architecture: str, read_vision: Callable[[Fields, int], Vision]
) -> ModelShape:
    """Published configs have the language model's keys at the top, saved ones in `text_config`."""
    text = fields.table("text_config") if fields.has("text_config") else fields
    shape = read_like_llama(text, QWEN2_VL_TEXT)
    return replace(
        shape,
        architecture=architecture,
        tied=shape.tied or fields.flag("tie_word_embeddings", False),
        vision=read_vision(fields.table("vision_config"), shape.hidden),
    )


def _language_model(fields: Fields, default: str) -> ModelShape:
    """The language model inside; read as Llama where its kind is not known, to find the rest."""
    name = fields.text("model_type", default)
    if name not in DENSE:
        reason = f'"{name}" is no language model known here.' if name else "is missing."
        fields.refuse("model_type", reason, "one of " + ", ".join(DENSE))
    return read_like_llama(fields, DENSE.get(name, DENSE["llama"]))
