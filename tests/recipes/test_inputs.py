"""The files that a recipe names."""

from pathlib import Path

import pytest

from fsft.recipes.files import parse_recipe
from fsft.recipes.inputs import missing_inputs, resolve_paths
from fsft.recipes.problems import Refused
from fsft.recipes.schema import Recipe
from fsft.recipes.shipped import library_folder
from tests.support import TINY_RECIPE

ROOT = Path(__file__).parents[2]


def tiny(*overrides: str) -> Recipe:
    return parse_recipe(TINY_RECIPE, overrides=overrides)


def reasons(recipe: Recipe, folder: Path) -> dict[str, str]:
    return {problem.key: problem.reason for problem in missing_inputs(recipe, folder)}


def pretrained(path: str) -> Recipe:
    text = TINY_RECIPE.replace("[data.tokenizer]\nvocab_size = 320\n", "")
    return parse_recipe(text, overrides=[f'model={{ path = "{path}" }}'])


def test_data_in_its_place_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("{}")
    assert reasons(tiny(), tmp_path) == {}


def test_each_unusable_data_file_has_its_own_reason(tmp_path: Path) -> None:
    for name in ("empty.jsonl", "table.csv"):
        (tmp_path / name).write_text("" if "empty" in name else "a,b")
    names = ["none.jsonl", "empty.jsonl", "table.csv", ".", "x" * 300 + ".jsonl"]
    rows = ", ".join(f'{{ path = "{name}" }}' for name in names)
    assert list(reasons(tiny(f"data.train=[{rows}]"), tmp_path).values()) == [
        "there is no such file.",
        "the file is empty.",
        "`.csv` is not a known kind of data file.",
        "is a folder; name the files in it one by one.",
        "cannot be read: File name too long.",
    ]


@pytest.mark.parametrize("path", ["a\\u0000b.jsonl", "~no-such-user/x.jsonl"])
def test_what_cannot_be_a_path_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(Refused, match="cannot be a path"):
        missing_inputs(tiny(f'data.train.0.path="{path}"'), tmp_path)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("none.jinja", "there is no such file."),
        ("chatmll", "`chatmll` is no known chat template."),
    ],
)
def test_a_template_must_be_known_or_there(tmp_path: Path, template: str, reason: str) -> None:
    (tmp_path / "train.jsonl").write_text("{}")
    recipe = tiny(f"data.template={template}")
    assert reasons(recipe, tmp_path) == {"data.template": reason}


def test_a_local_model_needs_config_weights_and_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("{}")
    (tmp_path / "file").write_text("")
    assert reasons(pretrained("./none"), tmp_path) == {"model.path": "there is no such folder."}
    assert reasons(pretrained("./file"), tmp_path) == {"model.path": "is a file, not a folder."}
    base = tmp_path / "base"
    base.mkdir()
    told = []
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        told.append(len(missing_inputs(pretrained("base"), tmp_path)))
        (base / name).write_text("{}")
    assert [*told, len(missing_inputs(pretrained("base"), tmp_path))] == [3, 2, 1, 0]


def test_a_hub_model_is_left_to_the_hub(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("{}")
    recipe = pretrained("Qwen/Qwen2.5-0.5B")
    assert reasons(recipe, tmp_path) == {}
    assert resolve_paths(recipe, tmp_path).model.path == "Qwen/Qwen2.5-0.5B"


def test_resolved_paths_mean_the_same_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    recipe = pretrained("base").model_copy(
        update={
            "data": tiny(
                "data.template=my.jinja",
                'data.train=[{ path = "a.jsonl" }, { path = "library:identity.jsonl" }]',
                'data.eval=[{ path = "~/b.jsonl" }]',
            ).data
        }
    )
    resolved = resolve_paths(recipe, tmp_path)
    shipped = str((library_folder() / "data" / "identity.jsonl").resolve())
    assert resolved.model.path == str(tmp_path / "base")
    assert [row.path for row in resolved.data.train] == [str(tmp_path / "a.jsonl"), shipped]
    assert resolved.data.eval[0].path == str(Path.home() / "b.jsonl")
    assert resolved.data.template == str(tmp_path / "my.jinja")
    assert resolve_paths(resolved, Path("/elsewhere")) == resolved
    kept = resolve_paths(recipe, tmp_path, keep_library=True)
    assert kept.data.train[1].path == "library:identity.jsonl"
