"""Readers of the config of every family, by `model_type`."""

from collections.abc import Callable
from functools import partial

from fsft.recipes.models.families.baichuan import read_baichuan
from fsft.recipes.models.families.chatglm import read_chatglm
from fsft.recipes.models.families.deepseek import read_deepseek_v2, read_deepseek_v3
from fsft.recipes.models.families.dense import DENSE
from fsft.recipes.models.families.gpt import (
    read_bloom,
    read_falcon,
    read_gpt2,
    read_gpt_neox,
    read_mpt,
    read_phi,
)
from fsft.recipes.models.families.internlm3 import read_internlm3
from fsft.recipes.models.families.llama_like import read_like_llama
from fsft.recipes.models.families.moe import (
    read_deepseek,
    read_mixtral,
    read_qwen2_moe,
    read_qwen3_moe,
)
from fsft.recipes.models.families.multimodal import (
    read_gemma3,
    read_internvl,
    read_internvl_chat,
    read_qwen2_5_vl,
    read_qwen2_vl,
)
from fsft.recipes.models.families.opt import read_opt
from fsft.recipes.models.families.qwen import read_qwen
from fsft.recipes.models.families.t5 import read_t5
from fsft.recipes.models.fields import Fields
from fsft.recipes.models.shape import ModelShape

READERS: dict[str, Callable[[Fields], ModelShape]] = {
    **{name: partial(read_like_llama, variant=variant) for name, variant in DENSE.items()},
    "baichuan": read_baichuan,
    "bloom": read_bloom,
    "chatglm": read_chatglm,
    "deepseek": read_deepseek,
    "deepseek_v2": read_deepseek_v2,
    "deepseek_v3": read_deepseek_v3,
    "falcon": read_falcon,
    "gemma3": read_gemma3,
    "gpt2": read_gpt2,
    "gpt_neox": read_gpt_neox,
    "internlm3": read_internlm3,
    "internvl": read_internvl,
    "internvl_chat": read_internvl_chat,
    "mixtral": read_mixtral,
    "mpt": read_mpt,
    "opt": read_opt,
    "phi": read_phi,
    "qwen": read_qwen,
    "qwen2_5_vl": read_qwen2_5_vl,
    "qwen2_moe": read_qwen2_moe,
    "qwen2_vl": read_qwen2_vl,
    "qwen3_moe": read_qwen3_moe,
    "t5": read_t5,
}
