"""Baichuan and Baichuan2, remote code: the 7B has rotary positions, the 13B ALiBi."""

from fsft.recipes.models.families.llama_like import Variant, read_like_llama
from fsft.recipes.models.fields import Fields
from fsft.recipes.models.shape import ModelShape


def read_baichuan(fields: Fields) -> ModelShape:
    """Both sizes have one architecture name; only the config of rotary ones gives positions."""
    rotary = fields.has("max_position_embeddings")
    variant = Variant(
        "baichuan",
        fused_qkv=True,
        rotary=rotary,
        positions_key="max_position_embeddings" if rotary else "model_max_length",
    )
    return read_like_llama(fields, variant)
