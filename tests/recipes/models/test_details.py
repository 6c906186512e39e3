"""What a shape says besides parameters."""

import pytest

from fsft.recipes.models.from_config import load_shape, read_shape
from fsft.recipes.models.parameters import parameters_by_module


@pytest.mark.parametrize(
    ("name", "rotary"),
    [
        ("Baichuan2-7B", True),
        ("Baichuan2-13B", False),
        ("bloom-560m", False),
        ("gpt2", False),
        ("flan-t5-base", False),
        ("Qwen-7B", True),
        ("falcon-7b", True),
    ],
)
def test_only_models_with_rotary_positions_have_them(name: str, rotary: bool) -> None:
    assert {layer.attention.rotary for layer, _ in load_shape(name).stack.layers} == {rotary}


def test_dropout_is_that_of_the_config() -> None:
    shape = read_shape(
        {"model_type": "gpt2", "attn_pdrop": 0.1, "resid_pdrop": 0.2, "embd_pdrop": 0.3}
    )
    (layer, _), *_ = shape.stack.layers
    assert (layer.attention.dropout, layer.dropout, shape.embedding_dropout) == (0.1, 0.2, 0.3)
    assert load_shape("llama-2-7b").stack.layers[0][0].dropout == 0.0
    assert load_shape("opt-1.3b").stack.layers[0][0].dropout == 0.1


@pytest.mark.parametrize(
    ("name", "linears"),
    [
        ("llama-2-7b", "q k v o gate up down"),
        ("Qwen-7B", "qkv o gate up down"),
        ("chatglm3-6b", "qkv o gate_up down"),
        ("gpt2", "qkv o up down"),
        ("DeepSeek-V2", "q_a q_b kv_a kv_b o gate up down"),
        ("DeepSeek-V2-Lite", "q kv_a kv_b o gate up down"),
    ],
)
def test_matrices_are_those_that_the_family_has(name: str, linears: str) -> None:
    layer, _ = load_shape(name).stack.layers[0]
    parts = (*layer.attention.linears, *layer.feed_forward.linears)  # type: ignore[union-attr]
    assert [part.name for part in parts] == linears.split()


def test_remote_code_offers_no_splits() -> None:
    for name in ("Qwen-7B", "internlm2-7b", "chatglm3-6b", "InternVL2-8B", "deepseek-moe-16b"):
        assert load_shape(name).splits == frozenset()


def test_null_counts_as_false_where_true_is_the_default() -> None:
    assert read_shape({"model_type": "gpt2"}).tied
    assert not read_shape({"model_type": "gpt2", "tie_word_embeddings": None}).tied


def test_every_part_of_a_model_that_sees_is_listed() -> None:
    assert list(parameters_by_module(load_shape("Qwen2-VL-7B"))) == [
        "embedding",
        "vision tower",
        "vision projector",
        "attention",
        "feed-forward",
        "layer norms",
        "final norm",
        "head",
    ]
    assert "experts" in parameters_by_module(load_shape("Mixtral-8x7B"))
    assert "encoder" in parameters_by_module(load_shape("flan-t5-base"))
