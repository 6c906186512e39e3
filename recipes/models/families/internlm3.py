"""InternLM3."""

from fsft.recipes.models.families.dense import INTERNLM3
from fsft.recipes.models.families.llama_like import read_like_llama
from fsft.recipes.models.fields import Fields
from fsft.recipes.models.shape import ModelShape


def read_internlm3(fields: Fields) -> ModelShape:
    """InternLM3: run by transformers as Llama, which has all biases of a layer or none."""
    attention = fields.flag("attention_bias", False, also="qkv_bias")
    block = fields.flag("mlp_bias", False, also="bias")
    if attention != block:
        fields.refuse(
            "qkv_bias", "differs from bias, and transformers only has both.", '"qkv_bias": false'
        )
    return read_like_llama(fields, INTERNLM3)
