"""Configs that cannot be: everything that is wrong is said at once."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsft.recipes.models.catalogue import catalogue, find_entry
from fsft.recipes.models.families import READERS
from fsft.recipes.models.from_config import load_shape, read_shape
from fsft.recipes.problems import RecipeError

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([0, -1, 10**400, 4096.0, float("inf"), "4096"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)
_KEYS = (
    "hidden_size",
    "n_embd",
    "d_model",
    "vocab_size",
    "num_hidden_layers",
    "n_layer",
    "num_layers",
    "num_heads",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "kv_channels",
    "hidden_act",
    "tie_word_embeddings",
    "attention_dropout",
    "sliding_window",
    "use_sliding_window",
    "layer_types",
    "mlp_only_layers",
    "num_experts",
    "num_experts_per_tok",
    "n_routed_experts",
    "first_k_dense_replace",
    "text_config",
    "vision_config",
    "llm_config",
    "downsample_ratio",
    "attn_config",
    "padded_vocab_size",
    "q_lora_rank",
    "max_position_embeddings",
    "feed_forward_proj",
    "expansion_ratio",
    "mm_tokens_per_image",
)


def _keys(config: dict[str, Any]) -> set[str]:
    with pytest.raises(RecipeError) as caught:
        read_shape(config)
    return {problem.key for problem in caught.value.problems}


@given(
    architecture=st.sampled_from(sorted(READERS)),
    config=st.dictionaries(st.sampled_from(_KEYS), _JSON),
)
def test_whatever_stands_in_a_config_it_is_read_or_refused(
    architecture: str, config: dict[str, Any]
) -> None:
    _read_or_refused({**config, "model_type": architecture})


@given(data=st.data())
def test_one_wrong_value_in_a_published_config_is_read_or_refused(data: st.DataObject) -> None:
    entry = find_entry(data.draw(st.sampled_from(catalogue())))
    assert entry
    config = json.loads(json.dumps(entry.config))
    table = config
    while isinstance(table, dict):
        key = data.draw(st.sampled_from(sorted(table)))
        table, parent = table[key], table
    parent[key] = data.draw(_JSON)
    _read_or_refused(config)


def _read_or_refused(config: dict[str, Any]) -> None:
    try:
        shape = read_shape(config)
    except RecipeError as error:
        problems = list(error.problems)
        if not all(problem.key and problem.reason for problem in problems):
            raise
    else:
        assert shape.num_parameters > 0


def test_all_wrong_keys_are_named_at_once() -> None:
    config = {
        "model_type": "llama",
        "hidden_size": "4096",
        "num_hidden_layers": 0,
        "num_attention_heads": 2.5,
        "vocab_size": True,
        "intermediate_size": -1,
        "tie_word_embeddings": "yes",
        "hidden_act": "sine",
        "attention_dropout": 1.5,
        "max_position_embeddings": None,
    }
    assert _keys(config) == set(config) - {"model_type"}


def test_keys_that_remote_code_needs_are_asked_for_together() -> None:
    assert _keys({"model_type": "qwen", "hidden_size": 4096}) == {
        "num_hidden_layers",
        "num_attention_heads",
        "kv_channels",
        "intermediate_size",
        "vocab_size",
        "max_position_embeddings",
    }


def test_keys_of_inner_tables_are_named_with_their_table() -> None:
    keys = _keys({"model_type": "internvl_chat", "llm_config": {"model_type": "qwen2"}})
    assert "vision_config.hidden_size" in keys
    assert "llm_config" not in keys
    assert _keys({"model_type": "gemma3", "text_config": [1]}) == {"text_config"}


@pytest.mark.parametrize(
    ("config", "key", "words"),
    [
        (
            {"model_type": "llama", "hidden_size": 4097},
            "hidden_size",
            "4097 is not a multiple of num_attention_heads, which is 32",
        ),
        (
            {"model_type": "llama", "num_key_value_heads": 5},
            "num_attention_heads",
            "32 is not a multiple of num_key_value_heads, which is 5",
        ),
        (
            {"model_type": "mixtral", "num_experts_per_tok": 9},
            "num_experts_per_tok",
            "9 is more than there are experts, 8",
        ),
        (
            {"model_type": "llama", "num_hidden_layers": 10**9},
            "num_hidden_layers",
            "is not between 1 and 10,000",
        ),
        (
            {"model_type": "gemma2", "layer_types": ["full_attention"]},
            "layer_types",
            "names 1 layers where the model has 26",
        ),
        (
            {"model_type": "qwen2_vl", "hidden_size": 1024, "vision_config": {"hidden_size": 512}},
            "vision_config.hidden_size",
            "512 is not the language model's width, 1024",
        ),
        ({"model_type": "deepseek_v2"}, "num_experts_per_tok", "is missing"),
        ({"model_type": "mpt", "no_bias": False}, "no_bias", "transformers has MPT with"),
        ({"model_type": "internlm3", "qkv_bias": True}, "qkv_bias", "differs from bias"),
        ({"model_type": "lama"}, "model_type", "'lama' is not known"),
        ({"hidden_size": 1}, "model_type", "is missing"),
        ({"model_type": 3}, "model_type", "'3' is not known"),
    ],
)
def test_a_config_that_contradicts_itself_is_refused(
    config: dict[str, Any], key: str, words: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        read_shape(config)
    (problem,) = caught.value.problems
    assert problem.key == key
    assert words in problem.reason


def test_a_misspelt_architecture_is_answered_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="Did you mean `llama`"):
        read_shape({"model_type": "lama"})


def test_a_folder_and_its_file_are_the_same_model(tmp_path: Path) -> None:
    config = {"model_type": "gpt2", "n_layer": 3}
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    shape = read_shape(config)
    assert load_shape(tmp_path) == load_shape(str(tmp_path)) == load_shape(file) == shape


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is not valid JSON"),
        (b"[1]", "is not a table"),
        (b"\xff\xfe\x00", "is not valid JSON"),
        (b"[" * 100_000, "is not valid JSON"),
        (b'{"model_type": "llama", "hidden_size": ' + b"9" * 5000 + b"}", "is not valid JSON"),
        (b'{"model_type": "llama", "hidden_size": 0}', "hidden_size"),
    ],
)
def test_a_file_that_is_no_config_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content)
    with pytest.raises(RecipeError, match=words) as caught:
        load_shape(file)
    assert {problem.file for problem in caught.value.problems} == {str(file)}


def test_a_folder_without_a_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="there is no such file"):
        load_shape(tmp_path)
    with pytest.raises(RecipeError, match="there is no such file"):
        load_shape(tmp_path / "nowhere")
