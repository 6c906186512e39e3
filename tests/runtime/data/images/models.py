"""Tiny models of each family that takes images, their processors, and pictures."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from fsft.recipes.schema import Recipe
from fsft.runtime.data.images.of_recipe import image_processor_of, image_tokens
from fsft.runtime.data.tokenizer import train_tokenizer

TEXTS = [
    "Who are they? They are Kane and Gretzka.",
    "What is this? 这是什么？",
    "user assistant",
] * 4

QWEN_TEMPLATE = """\
{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif %}<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}<|im_end|>
{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' \
or 'image' in content or 'image_url' in content %}<|vision_start|><|image_pad|><|vision_end|>\
{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""That of Qwen2-VL, less its videos."""

INTERNVL_TEMPLATE = """\
{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n'}}\
{% if message['content'] is string %}{{ message['content'] }}{% else %}\
{% for content in message['content'] %}{% if content['type'] == 'image' %}{{ '<IMG_CONTEXT>\\n' }}\
{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}\
{{'<|im_end|>\\n'}}{% endfor %}{% if add_generation_prompt %}{{'<|im_start|>assistant\\n' }}\
{% endif %}"""
"""That of InternVL3 in transformers' format, less its videos."""

_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}
_MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}

CONFIGS: Mapping[str, dict[str, Any]] = {
    "qwen2_vl": {
        "model_type": "qwen2_vl",
        "text_config": {**_TEXT, "rope_parameters": _MROPE},
        "vision_config": {
            "depth": 2,
            "embed_dim": 16,
            "hidden_size": 32,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 4,
        },
    },
    "qwen2_5_vl": {
        "model_type": "qwen2_5_vl",
        "text_config": {**_TEXT, "rope_parameters": _MROPE},
        "vision_config": {
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 32,
            "out_hidden_size": 32,
            "num_heads": 2,
            "patch_size": 4,
            "window_size": 16,
            "fullatt_block_indexes": [1],
        },
    },
    "internvl": {
        "model_type": "internvl",
        "text_config": {**_TEXT, "model_type": "qwen2"},
        "vision_config": {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": [16, 16],
            "patch_size": [4, 4],
        },
    },
}
FAMILIES = sorted(CONFIGS)


def template_of(family: str) -> str:
    """The chat template of a family."""
    return INTERNVL_TEMPLATE if family == "internvl" else QWEN_TEMPLATE


def recipe_of(family: str, train: str = "train.jsonl", **data: Any) -> Recipe:
    """A recipe for a tiny model made from nothing."""
    return Recipe.model_validate(
        {
            "schema": 1,
            "name": "tiny",
            "model": {"init": "random", "dtype": "float32", "config": CONFIGS[family]},
            "data": {"train": [{"path": train}], "tokenizer": {"vocab_size": 320}, **data},
            "budget": {"steps": 2},
            "optimizer": {"learning_rate": 1e-3},
        }
    )


def tokenizer_of(family: str) -> Any:
    """A transformers tokenizer that knows the family's image tokens."""
    special = image_tokens(recipe_of(family))
    tokenizer = train_tokenizer(iter(TEXTS), 400, template_of(family), special)
    tokenizer.chat_template = template_of(family)
    return tokenizer


def image_processor(family: str, tokenizer: Any, **data: Any) -> Any:
    """Ours."""
    return image_processor_of(recipe_of(family, **data), tokenizer)


def whole_processor(family: str, tokenizer: Any, ours: Any) -> Any:
    """The processor of transformers around the same image processor.

    It wants a video processor, which needs torchvision.
    """
    import transformers

    names = {
        "qwen2_vl": "Qwen2VLProcessor",
        "qwen2_5_vl": "Qwen2_5_VLProcessor",
        "internvl": "InternVLProcessor",
    }
    base = getattr(transformers, names[family])
    checked = {"check_argument_for_proper_class": lambda *arguments: type(arguments[-1])}
    arguments: dict[str, Any] = {"image_processor": ours._processor, "tokenizer": tokenizer}
    if family == "internvl":
        arguments["image_seq_length"] = ours._tokens_of_tile
        for name, token in {
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        }.items():
            setattr(tokenizer, name, token)
            setattr(tokenizer, f"{name}_id", tokenizer.convert_tokens_to_ids(token))
    return type(base.__name__, (base,), checked)(**arguments)


def picture(path: Path, width: int, height: int, **options: Any) -> Path:
    """Write a picture of noise, as its name's ending says."""
    noise = random.Random(width * height).randbytes(width * height * 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.frombytes("RGB", (width, height), noise).save(path, **options)
    return path
