"""What is wrong with many files, without looking at all of them each time."""

from dataclasses import replace
from pathlib import Path

from fsft.recipes.inputs import missing_inputs
from fsft.recipes.problems import Problem
from fsft.recipes.schema import Recipe
from fsft.wizard.draft import Draft
from fsft.wizard.looking import LOOKED_AT_AGAIN, Files
from fsft.wizard.outlook import look
from tests.wizard.strategies import NO_GPU

MANY = 3 * LOOKED_AT_AGAIN


def _recipe(train: str, evaluated: str = "") -> Recipe:
    draft = Draft().answer("model.path", "llama-2-7b").answer("hardware.accelerator", "H100")
    recipe = look(draft.answer("data.train", train).answer("data.eval", evaluated), NO_GPU).usable
    assert recipe
    return recipe


def test_problems_are_those_of_a_whole_look_and_stand_at_their_file(tmp_path: Path) -> None:
    (tmp_path / "good.jsonl").write_text("{}\n")
    (tmp_path / "odd.exe").write_text("{}\n")
    recipe = _recipe("good.jsonl, none.jsonl, odd.exe, none.jsonl", "gone.jsonl, good.jsonl")
    files = Files()
    whole = missing_inputs(recipe, tmp_path)
    assert [problem.key for problem in whole] == [
        "data.train.1.path",
        "data.train.2.path",
        "data.train.3.path",
        "data.eval.0.path",
    ]
    assert files.problems(recipe, tmp_path) == whole
    assert files.problems(recipe, tmp_path) == whole


def test_few_files_are_looked_at_each_time(tmp_path: Path) -> None:
    recipe = _recipe("mine.jsonl")
    files = Files()
    assert files.problems(recipe, tmp_path)
    (tmp_path / "mine.jsonl").write_text("{}\n")
    assert not files.problems(recipe, tmp_path)
    (tmp_path / "mine.jsonl").unlink()
    assert files.problems(recipe, tmp_path)


def test_many_files_are_looked_at_once_and_then_by_turns(tmp_path: Path) -> None:
    recipe = _recipe(", ".join(f"{number}.jsonl" for number in range(MANY)))
    asked: list[list[str]] = []

    def missing(part: Recipe, _folder: Path) -> list[Problem]:
        asked.append([source.path for source in part.data.train])
        return [Problem(key="model.path", reason="is not there.")]

    files = Files(missing)
    for _ in range(4):
        problems = files.problems(recipe, tmp_path)
        assert [problem.key for problem in problems] == ["model.path"]
    first, *later = asked
    assert len(first) == MANY
    assert [len(turn) for turn in later] == [LOOKED_AT_AGAIN] * 3
    assert sorted(path for turn in later for path in turn) == sorted(first)


def test_a_file_that_is_named_later_is_looked_at_at_once(tmp_path: Path) -> None:
    names = [f"{number}.jsonl" for number in range(MANY)]
    for name in names:
        (tmp_path / name).write_text("{}\n")
    files = Files()
    assert not files.problems(_recipe(", ".join(names)), tmp_path)
    found = files.problems(_recipe(", ".join([*names, "new.jsonl"])), tmp_path)
    assert [problem.key for problem in found] == [f"data.train.{MANY}.path"]


def test_what_cannot_be_a_path_is_told_beside_what_is_missing(tmp_path: Path) -> None:
    found = Files().problems(_recipe("~nobody-at-all/x.jsonl, none.jsonl"), tmp_path)
    assert [problem.key for problem in found] == ["data.train.0.path", "data.train.1.path"]
    assert "cannot be a path" in found[0].reason
    assert found[1] == replace(found[1], reason="there is no such file.")
