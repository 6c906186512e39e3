"""The files that a recipe names."""

from pathlib import Path

import pytest

from fsft.recipes.files import parse_recipe
from fsft.recipes.inputs import missing_inputs, resolve_paths, without_eval
from fsft.recipes.problems import Refused
from fsft.recipes.schema import Recipe
from fsft.recipes.shipped import library_folder
from tests.support import TINY_RECIPE, dialogue, write_jsonl

EVAL = 'data.eval=[{ path = "eval.jsonl" }]'
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


def test_a_model_with_an_encoder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("{}")
    assert reasons(tiny('model.config={ model_type = "t5", d_model = 32 }'), tmp_path) == {
        "model": "t5 has an encoder beside its decoder, and is not trained."
    }


def test_each_unusable_data_file_has_its_own_reason(tmp_path: Path) -> None:
    for name in ("empty.jsonl", "table.xlsx", "rows.parquet.gz"):
        (tmp_path / name).write_text("" if "empty" in name else "a,b")
    (tmp_path / "nothing").mkdir()
    names = ["none.jsonl", "empty.jsonl", "table.xlsx", "rows.parquet.gz", "nothing"]
    names += ["x" * 300 + ".jsonl", "hub:", "hub:a/b/c", "hub:a/b@"]
    rows = ", ".join(f'{{ path = "{name}" }}' for name in names)
    assert list(reasons(tiny(f"data.train=[{rows}]"), tmp_path).values()) == [
        "there is no such file.",
        "the file is empty.",
        "`.xlsx` is not a known kind of data file.",
        "`.gz` is not a known kind of data file.",
        "the folder holds no data file.",
        "cannot be read: File name too long.",
        "`hub:` names no data set of the hub.",
        "`hub:a/b/c` names no data set of the hub.",
        "`hub:a/b@` names no data set of the hub.",
    ]


def test_folders_urls_and_hub_sets_are_data(tmp_path: Path) -> None:
    deep = tmp_path / "spark" / "day=1"
    deep.mkdir(parents=True)
    (tmp_path / "spark" / "_SUCCESS").write_text("")
    (deep / "part-0.json.gz").write_bytes(b"not looked into")
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "dataset_dict.json").write_text("{}")
    names = ["spark", "saved", "s3://bucket/rows.jsonl", "memory://folder"]
    names += ["hub:owner/name", "hub:owner/name@refs/pr/1"]
    rows = ", ".join(f'{{ path = "{name}" }}' for name in names)
    assert reasons(tiny(f"data.train=[{rows}]"), tmp_path) == {}


def test_a_folder_that_links_to_itself_is_looked_through_once(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "again").symlink_to(tmp_path / "data")
    found = reasons(tiny('data.train.0.path="data"'), tmp_path)
    assert found == {"data.train.0.path": "the folder holds no data file."}


def test_a_folder_of_links_to_data_is_data(tmp_path: Path) -> None:
    for name in ("data", "far"):
        (tmp_path / name).mkdir()
    (tmp_path / "far" / "rows.jsonl").write_text("{}")
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "far")
    assert reasons(tiny('data.train.0.path="data"'), tmp_path) == {}


def test_the_folder_of_images_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("{}")
    recipe = tiny('data.train=[{ path = "train.jsonl", images = "pictures" }]')
    assert reasons(recipe, tmp_path) == {"data.train.0.images": "there is no such folder."}
    (tmp_path / "pictures").mkdir()
    assert reasons(recipe, tmp_path) == {}
    assert resolve_paths(recipe, tmp_path).data.train[0].images == str(tmp_path / "pictures")


@pytest.mark.parametrize("path", ["s3://bucket/a b.jsonl", "hub:owner/name", "memory://x"])
def test_what_lies_elsewhere_keeps_its_name(tmp_path: Path, path: str) -> None:
    recipe = tiny(f'data.train=[{{ path = "{path}" }}]')
    assert resolve_paths(recipe, tmp_path) == recipe


def test_a_link_to_itself_is_told(tmp_path: Path) -> None:
    (tmp_path / "round.jsonl").symlink_to("round.jsonl")
    with pytest.raises(Refused, match="a link to itself"):
        missing_inputs(tiny('data.train.0.path="round.jsonl"'), tmp_path)


def test_the_shipped_data_is_named_where_another_is_asked_for(tmp_path: Path) -> None:
    (found,) = missing_inputs(tiny('data.train.0.path="library:nothing"'), tmp_path)
    assert "library:identity.jsonl" in found.example


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


def test_a_template_of_one_set_is_looked_for_like_that_of_all(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [dialogue("q", "a")])
    overrides = ["data.train.0.template=vicunia", "data.template=mine.jinja"]
    recipe = parse_recipe(TINY_RECIPE, overrides=overrides)
    one, other = missing_inputs(recipe, tmp_path)
    assert (one.key, other.key) == ("data.template", "data.train.0.template")
    assert other.nearest == "vicuna"


@pytest.mark.parametrize("override", ["checkpoint.keep_best=true", "evaluate.patience=3"])
def test_what_the_eval_loss_decides_needs_eval_data(override: str) -> None:
    (problem,) = without_eval(tiny(override))
    assert problem.key == override.partition("=")[0]
    assert problem.reason == "needs an eval loss, and there is no eval data."
    assert not list(without_eval(tiny(override, EVAL)))


def test_the_best_checkpoint_is_converted_only_where_it_is_kept() -> None:
    (problem,) = without_eval(tiny("convert.checkpoint=best", EVAL))
    assert problem.key == "convert.checkpoint"
    assert not list(
        without_eval(tiny("convert.checkpoint=best", EVAL, "checkpoint.keep_best=true"))
    )
