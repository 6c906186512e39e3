"""Questions, what is answered by default, and how typed text is read."""

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fsft.recipes.files import parse_recipe
from fsft.recipes.wording import all_keys
from fsft.wizard.answers import read, resolve, shown
from fsft.wizard.defaults import Origin
from fsft.wizard.draft import Draft
from fsft.wizard.facts import Facts
from fsft.wizard.outlook import look
from fsft.wizard.questions import BY_KEY, QUESTIONS, STEPS, Question, question_for, questions_of
from tests.support import TINY_RECIPE
from tests.wizard.strategies import FACTS, NO_GPU, TEXTS, TWO_H100, opened, typed

OURS = {"days", "money", "out"}


def test_every_question_has_a_flag_and_a_key_of_its_own() -> None:
    assert len({question.flag for question in QUESTIONS}) == len(BY_KEY) == len(QUESTIONS)


def test_every_question_is_a_key_of_the_recipe_or_one_of_ours() -> None:
    assert set(BY_KEY) - set(all_keys()) == OURS


def test_every_question_says_what_it_means_and_shows_a_form() -> None:
    assert [
        q.key for q in QUESTIONS if not (q.label and q.meaning and (q.forms or q.choices))
    ] == []


def test_every_step_has_its_questions() -> None:
    assert [q for step in STEPS for q in questions_of(step)] == list(QUESTIONS)


@pytest.mark.parametrize("key", list(all_keys()))
def test_a_problem_of_any_key_of_the_recipe_has_a_question_of_its_table(key: str) -> None:
    question = question_for(key)
    if question is not None:
        assert question.key.partition(".")[0] == key.partition(".")[0]
    else:
        assert key.partition(".")[0] in {"schema", "convert"}


@pytest.mark.parametrize("facts", [NO_GPU, TWO_H100])
def test_every_default_comes_with_its_origin(facts: Facts) -> None:
    for answer in resolve(Draft(), facts).values():
        assert answer.origin in set(get_args(Origin)) - {"you", "recipe"}
        assert answer.problem is None


@pytest.mark.parametrize("facts", [NO_GPU, TWO_H100])
def test_without_any_answer_there_is_a_valid_recipe(facts: Facts) -> None:
    outlook = look(Draft(), facts)
    assert outlook.recipe is not None
    assert parse_recipe(outlook.text) == outlook.recipe
    assert outlook.first_trouble is None


@given(FACTS, st.sampled_from(["quickstart", "gpt2", "nobody/nothing"]))
def test_a_default_that_is_typed_means_the_same(facts: Facts, model: str) -> None:
    draft = Draft().answer("model.path", model)
    before = look(draft, facts)
    answers = before.answers.values()
    same = [(a.question.key, a.text) for a in answers if a.text and a.origin != "you"]
    after = look(typed(draft, [(k, t) for k, t in same if k != "data.train"]), facts)
    assert after.recipe == before.recipe


@pytest.mark.parametrize("name", ["qwen2.5-7b", "QWEN2.5-7B", "Qwen/Qwen2.5-7B"])
def test_a_model_of_the_catalogue_is_written_with_its_name_on_the_hub(name: str) -> None:
    recipe = look(Draft().answer("model.path", name), NO_GPU).recipe
    assert recipe is not None
    assert recipe.model.path == "Qwen/Qwen2.5-7B"


def test_a_folder_goes_before_a_model_of_the_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gpt2").mkdir()
    outlook = look(Draft().answer("model.path", "gpt2"), NO_GPU)
    assert outlook.answers["model.path"].value == "gpt2"
    assert any("config.json" in problem.reason for problem in outlook.problems["model.path"])


def test_an_opened_recipe_answers_for_itself_and_the_schema_for_the_rest() -> None:
    answers = resolve(opened(TINY_RECIPE), NO_GPU)
    assert (answers["seed"].value, answers["seed"].origin) == (7, "recipe")
    assert answers["serve.port"].origin == "default"
    assert answers["budget.steps"].text == "6"
    assert answers["budget.epochs"].value is None
    assert answers["out"].text == "/nowhere/at/all/opened.toml"


def test_a_new_file_is_called_as_no_other() -> None:
    taken = Facts(NO_GPU.machine, existing=frozenset({"quickstart.toml", "quickstart-2.toml"}))
    assert resolve(Draft(), taken)["out"].text == "quickstart-3.toml"


@given(st.sampled_from(QUESTIONS), TEXTS.map(str.strip).filter(bool))
@example(BY_KEY["description"], "\ud800")
@example(BY_KEY["model.path"], "a\0")
def test_any_text_has_a_value_or_a_reason(question: Question, text: str) -> None:
    try:
        value = read(question, text)
    except ValueError as error:
        reason = str(error)
    else:
        assert isinstance(shown(question, value), str)
        return
    assert reason


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("data.packing", "Yes", True),
        ("data.packing", "off", False),
        ("parallel.zero", "auto", "auto"),
        ("parallel.zero", "2", 2),
        ("budget.tokens", "0.7B", "0.7B"),
        ("optimizer.learning_rate", "2e-5", 2e-5),
        ("hardware.link", "300", "300"),
        ("data.train", "a.jsonl, b.parquet,", [{"path": "a.jsonl"}, {"path": "b.parquet"}]),
        ("days", "12h", 0.5),
        ("days", "2d", 2.0),
        ("money", "1e3", 1000.0),
    ],
)
def test_text_is_read_as_a_person_means_it(key: str, text: str, value: object) -> None:
    assert read(BY_KEY[key], text) == value


@pytest.mark.parametrize(
    ("key", "text"),
    [("days", "-1"), ("days", "h"), ("days", "inf"), ("money", "nan"), ("data.packing", "maybe")],
)
def test_what_cannot_be_read_is_a_named_problem_at_its_question(key: str, text: str) -> None:
    outlook = look(Draft().answer(key, text), NO_GPU)
    assert outlook.recipe is None
    assert [problem.key for problem in outlook.all_problems] == [key]


@pytest.mark.parametrize(
    "paths",
    [["a.jsonl"], ["a,b.jsonl", "c.jsonl"], [" lead.jsonl"], ['say "hi", x.json', "d.json"]],
)
def test_any_path_can_be_typed_and_is_shown_as_it_is_typed(paths: list[str]) -> None:
    question = BY_KEY["data.train"]
    text = shown(question, [{"path": path} for path in paths])
    assert read(question, text) == [{"path": path} for path in paths]
