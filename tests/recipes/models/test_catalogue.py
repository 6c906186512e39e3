"""The catalogue: what it says, and how it is found."""

import subprocess
import sys
from importlib.resources import files
from typing import Any

import pytest

from fsft.recipes.models.catalogue import catalogue, find_entry, nearest_names
from fsft.recipes.models.families import READERS
from fsft.recipes.models.from_config import load_shape, read_shape
from fsft.recipes.problems import RecipeError

_ENTRIES = [entry for name in catalogue() if (entry := find_entry(name))]
_COUNTED = [entry for entry in _ENTRIES if entry.num_parameters]


@pytest.mark.parametrize("entry", _COUNTED, ids=lambda entry: entry.name)
def test_a_model_has_exactly_as_many_parameters_as_published(entry: Any) -> None:
    assert read_shape(entry.config).num_parameters == entry.num_parameters


def test_every_entry_is_a_shape_with_sensible_sizes() -> None:
    for entry in _ENTRIES:
        shape = read_shape(entry.config)
        assert 5e7 < shape.num_active_parameters <= shape.num_parameters < 1e12, entry.name
        if shape.architecture != "t5":
            assert shape.max_positions, entry.name


def test_every_family_that_can_be_read_and_was_published_has_a_model() -> None:
    # These two are transformers' forms of internvl_chat, and of the inside of Qwen2-VL.
    assert set(READERS) - {"internvl", "qwen2_vl_text"} == {
        entry.config["model_type"] for entry in _ENTRIES
    }


def test_most_counts_are_published_ones() -> None:
    assert len(_ENTRIES) >= 150
    assert len(_COUNTED) >= 0.9 * len(_ENTRIES)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("llama-2-70b", "meta-llama/Llama-2-70b-hf"),
        ("meta-llama/Llama-2-70b-hf", "meta-llama/Llama-2-70b-hf"),
        ("Llama-2-7b-chat-hf", "meta-llama/Llama-2-7b-hf"),
        ("Meta-Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B"),
        ("llama-3-8b", "meta-llama/Meta-Llama-3-8B"),
        ("Qwen2.5-7B", "Qwen/Qwen2.5-7B"),
        ("qwen/qwen2.5-7b-instruct", "Qwen/Qwen2.5-7B-Instruct"),
        (" GPT2 ", "openai-community/gpt2"),
        ("glm-4-9b", "THUDM/glm-4-9b"),
        ("glm-4-9b-hf", "THUDM/glm-4-9b-hf"),
        ("baichuan2-13b-chat", "baichuan-inc/Baichuan2-13B-Base"),
        ("deepseek-r1", "deepseek-ai/DeepSeek-V3"),
    ],
)
def test_a_model_is_found_by_every_usual_way_to_write_its_name(name: str, found: str) -> None:
    entry = find_entry(name)
    assert entry
    assert entry.name == found
    assert load_shape(name) == read_shape(entry.config)


def test_no_name_stands_for_two_models() -> None:
    full = [name.lower() for entry in _ENTRIES for name in (entry.name, *entry.also)]
    assert len(full) == len(set(full))


@pytest.mark.parametrize("name", ["qwen2.5-7", "Qwen-2.5-7B", "qwen/qwen25-7b"])
def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(name: str) -> None:
    assert "Qwen/Qwen2.5-7B" in nearest_names(name)
    with pytest.raises(RecipeError, match=r"Did you mean `Qwen/Qwen2\.5-7B"):
        load_shape(name)


@pytest.mark.parametrize("name", ["", " ", "no such model at all", "a\0b", "~nobody/x", "x" * 5000])
def test_a_name_that_is_nothing_is_refused_in_one_short_problem(name: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_shape(name)
    assert len(caught.value.problems) == 1
    assert len(str(caught.value)) < 600


def test_data_files_of_the_catalogue_are_all_packaged() -> None:
    folder = files("fsft.recipes.models.catalogue")
    names = {file.name for file in folder.iterdir()} - {"__pycache__", "__init__.py"}
    assert names
    assert all(name.endswith(".json") for name in names)


def test_all_shapes_are_read_in_less_time_than_a_person_notices() -> None:
    code = (
        "import time\n"
        "from fsft.recipes.models.from_config import catalogue, load_shape\n"
        "start = time.perf_counter()\n"
        "for name in catalogue(): load_shape(name)\n"
        "print(time.perf_counter() - start)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 1.0
