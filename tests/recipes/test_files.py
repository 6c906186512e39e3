"""Reading, changing and writing recipes."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsft.recipes.diff import diff_recipes
from fsft.recipes.files import parse_recipe, read_recipe
from fsft.recipes.positions import key_lines
from fsft.recipes.problems import RecipeError
from fsft.recipes.schema import Recipe, Source, Table, to_document
from fsft.recipes.shipped import find_recipe, shipped_recipes
from fsft.recipes.wording import all_keys, field_at, table_model
from fsft.recipes.writing import to_toml
from tests.recipes.strategies import RECIPES
from tests.support import TINY_RECIPE

BAD = """\
schema = 1
nme = "x"

[model]
path = 3
config = { a = 1 }

[data]
sequence_length = "long"
packing = 1
template = \"\"\"
zero = 7
\"\"\"

[[data.train]]
path = "a.jsonl"

[[data.train]]
pth = "b.jsonl"

[hardware]
devices_per_node = "many"

[budget]

[optimizer]
learning_rte = 1e-4

[paralel]
zero = 1

[parallel]
zero = 5
"""


def problems_of(text: str, *overrides: str) -> list[tuple[int | None, str, str]]:
    """Line, key and whole message of everything that is wrong."""
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, file="bad.toml", overrides=overrides)
    return [(p.line, p.key, str(p)) for p in caught.value.problems]


def test_all_problems_are_told_at_once_each_with_its_line() -> None:
    found = {(line, key) for line, key, _ in problems_of(BAD)}
    assert found == {
        (2, "nme"),
        (None, "name"),
        (5, "model.path"),
        (9, "data.sequence_length"),
        (10, "data.packing"),
        (18, "data.train.1.path"),
        (19, "data.train.1.pth"),
        (22, "hardware.devices_per_node"),
        (24, "budget"),
        (26, "optimizer.learning_rate"),
        (27, "optimizer.learning_rte"),
        (29, "paralel"),
        (33, "parallel.zero"),
    }


def test_problems_inside_brackets_and_dotted_keys_have_their_own_lines() -> None:
    rows = 'data.train = [\n  { path = "a" }, # one\n  { path = 1, formt = "text" },\n]\n'
    text = f'schema = 1\nname = "x"\n{rows}optimizer.clip = "tight"\nbudget = {{ steps = 0 }}\n'
    found = {key: line for line, key, _ in problems_of(text)}
    assert found == {
        "data.train.1.path": 5,
        "data.train.1.formt": 5,
        "optimizer.clip": 7,
        "optimizer.learning_rate": 7,
        "budget.steps": 8,
        "model": None,
    }


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("nme", "name"),
        ("paralel", "parallel"),
        ("optimizer.learning_rte", "optimizer.learning_rate"),
        ("data.train.1.pth", "data.train.path"),
    ],
)
def test_an_unknown_key_comes_with_the_nearest_known_one(key: str, nearest: str) -> None:
    (message,) = (text for _, found, text in problems_of(BAD) if found == key)
    assert f"Did you mean `{nearest}`?" in message


def test_a_key_in_the_wrong_table_is_sent_to_its_own() -> None:
    text = TINY_RECIPE.replace("seed = 7", "learning_rate = 1e-4")
    assert "Did you mean `optimizer.learning_rate`?" in problems_of(text)[0][2]


def test_what_two_tables_disagree_on_is_told() -> None:
    without = TINY_RECIPE.replace("[data.tokenizer]\nvocab_size = 320\n", "")
    assert "the run must train one" in problems_of(without)[0][2]
    asks_eval = problems_of(TINY_RECIPE, "evaluate.split=eval")
    assert "there is no eval data" in asks_eval[0][2]


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0"])
def test_a_learning_rate_that_cannot_be_is_refused(value: str) -> None:
    assert problems_of(TINY_RECIPE, f"optimizer.learning_rate={value}")


@pytest.mark.parametrize(
    ("text", "line"), [("a = [1,\n2", 2), ('name = "x"\nx y', 2), ("a = 1\na = 2", 2), ("=", 1)]
)
def test_a_syntax_error_comes_with_its_line(text: str, line: int) -> None:
    ((found, _, message),) = problems_of(text)
    assert found == line
    assert "not valid TOML" in message


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"schema = 1\n\x00"])
def test_a_file_that_is_no_text_is_a_recipe_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(content)
    with pytest.raises(RecipeError):
        read_recipe(file)
    with pytest.raises(RecipeError):
        read_recipe(tmp_path)


@pytest.mark.parametrize("prefix", ["", "\ufeff"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_windows_line_ends_and_a_byte_order_mark_do_not_matter(
    tmp_path: Path, prefix: str, newline: str
) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes((prefix + TINY_RECIPE.replace("\n", newline)).encode())
    assert read_recipe(file) == parse_recipe(TINY_RECIPE)


def test_a_newer_schema_names_the_way_out() -> None:
    (problem,) = problems_of(TINY_RECIPE.replace("schema = 1", "schema = 2"))
    assert "pip install --upgrade fsft" in problem[2]


def test_overrides_are_typed_nested_and_numbered() -> None:
    recipe = parse_recipe(
        TINY_RECIPE,
        overrides=[
            "optimizer.learning_rate=3e-4",
            "data.train.0.max_samples = 5",
            "name=other",
            'data.variables={ name = "Ada" }',
            "model.config.hidden_size=64",
        ],
    )
    assert recipe.optimizer.learning_rate == 3e-4
    assert recipe.data.train[0].max_samples == 5
    assert recipe.name == "other"
    assert recipe.data.variables == {"name": "Ada"}
    assert recipe.model.config
    assert recipe.model.config["hidden_size"] == 64


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("zero", "not of the form key=value"),
        ("=3", "not of the form key=value"),
        ("data.train.7.path=x", "no such place"),
        ("seed.inner=1", "no such place"),
        ("parallel.zero=one", '--set: parallel.zero: "one" is not one of'),
        ("parallel.zerro=1", "--set: parallel.zerro: unknown key. Did you mean `parallel.zero`?"),
    ],
)
def test_a_wrong_override_is_told_as_one(override: str, said: str) -> None:
    assert said in problems_of(TINY_RECIPE, override)[0][2]


@given(RECIPES)
def test_a_written_recipe_reads_as_the_same(recipe: Recipe) -> None:
    assert parse_recipe(to_toml(recipe)) == recipe


def test_a_written_recipe_explains_every_key() -> None:
    text = to_toml(read_recipe(find_recipe("quickstart")))
    lines = text.splitlines()
    for key, line in key_lines(text).items():
        names = [name for name in key.split(".") if not name.isdigit()]
        field = field_at(list(names))
        if field and not text.splitlines()[line - 1].startswith("["):
            assert field.description, key
            assert f"# {field.description}" == lines[line - 2], key


LEAF_KEYS = [
    key
    for key in all_keys()
    if (field := field_at(list(key.split(".")))) and not table_model(field.annotation)
]
NEEDED_BESIDES = {
    "model.path": ['model={ init = "random" }'],
    "model.revision": ['model={ init = "random", path = "x" }'],
    "budget.epochs": ["budget={}"],
    "budget.tokens": ["budget={}"],
    "parallel.activation_checkpointing_every": ['parallel.activation_checkpointing="full"'],
    "parallel.activation_offload": ['parallel.activation_checkpointing="full"'],
    "evaluate.split": ['data.eval=[{ path = "x" }]'],
}


@pytest.mark.parametrize("key", LEAF_KEYS)
def test_a_value_of_the_wrong_kind_is_told_with_an_example_that_is_right(key: str) -> None:
    place = key.replace("data.train.", "data.train.0.").replace("data.eval.", "data.eval.0.")
    in_eval = ['data.eval=[{ path = "x" }]'] if key.startswith("data.eval.") else []
    besides = NEEDED_BESIDES.get(key, in_eval)
    (problem,) = (
        message
        for _, found, message in problems_of(TINY_RECIPE, *besides, f"{place}=1979-05-27")
        if found == place
    )
    name, equals, example = problem.partition("For example: ")[2].partition(" = ")
    assert (name, equals) == (key.rpartition(".")[2], " = ")
    parse_recipe(TINY_RECIPE, overrides=[*besides, f"{place}={example}"])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=true", "true is not a whole number"),
        ("seed=1.0", "1.0 is not a whole number"),
        ("seed=1180591620717411303424", "does not fit into 64 bits"),
        ("seed=" + "9" * 5000, "…"),
        ("schema=true", "true is not a whole number"),
        ("parallel.zero=true", "true is not a whole number"),
        ("hardware.devices_per_node=0", "0 must be at least 1"),
        ('hardware.devices_per_node="2"', "\"2\" is not a whole number or 'auto'"),
        ("optimizer.betas=[0.9]", "must have at least 2 items"),
        ("optimizer.betas=[0.9, 7]", "optimizer.betas.1: 7 must be less than 1"),
        ("name='a\tb'", '"a\\tb" must begin with a letter or digit'),
        ('name="' + "a" * 101 + '"', "at most 100 characters"),
        ('data.train={ path = "x" }', "For example: [[data.train]] with path"),
        ('data.train=["x.jsonl"]', '"x.jsonl" is not a table'),
        ("data.variables.name=3", "data.variables.name: 3 is not text in quotes"),
        ("model.config.hidden_size=1979-05-27", "model.config.hidden_size: 1979-05-27 is not"),
        ("model.config.scale=[{ x = nan }]", "model.config.scale.0.x: nan must be a finite"),
        ("model.init=pretrained", 'set init = "random"'),
        ("budget.epochs=3", "--set 'budget={ … }' replaces the whole table"),
        ('budget={ tokens = "0.7 billion" }', '"0.7 billion" is not a whole number'),
        ('"a.b"=1', '"a.b": unknown key. Known here: schema, name'),
        ('"a\x1b[31m"=1', "not of the form key=value"),
        ("model.x." + "a." * 60 + "a=1", "nested too deeply"),
    ],
)
def test_a_message_says_what_is_wrong_with_a_value(override: str, said: str) -> None:
    (problem,) = problems_of(TINY_RECIPE, override)
    assert said in problem[2]
    assert len(problem[2]) < 400


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = " + "9" * 5000, "thousands of digits"),
        ("a = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        (".".join(["a"] * 3000) + " = 1", "nested too deeply"),
        ('path = "C:\\data"', "path = 'C:\\data\\x.jsonl' in single quotes"),
        ('"a\\u001b[31m" = 1', '"a\\u001b[31m": unknown key'),
    ],
)
def test_a_document_made_to_break_things_is_told_like_any_other(text: str, said: str) -> None:
    assert any(said in message for _, _, message in problems_of(text))


def every_table(model: type[Table] = Recipe) -> list[type[Table]]:
    inner = [table_model(field.annotation) for field in model.model_fields.values()]
    tables = [table for table in inner if table and issubclass(table, Table)]
    return [model, *(found for table in tables for found in every_table(table))]


def test_every_key_says_what_it_is() -> None:
    for table in every_table():
        for name, field in table.model_fields.items():
            assert table_model(field.annotation) or field.description, f"{table.__name__}.{name}"


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_are_valid_and_described(name: str) -> None:
    recipe = read_recipe(find_recipe(name))
    assert recipe.name == name
    assert recipe.description


@given(RECIPES, RECIPES)
def test_recipes_differ_in_nothing_just_when_they_are_the_same(one: Recipe, other: Recipe) -> None:
    assert diff_recipes(one, one) == []
    assert (not diff_recipes(one, other)) == (to_document(one) == to_document(other))


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("model.config.bias=true", [("model.config.bias", None, True)]),
        ("model.config.rope={}", [("model.config.rope", None, {})]),
        ("model.config.rope={ a = 1 }", [("model.config.rope.a", None, 1)]),
        ("model.config.tie_word_embeddings=1", [("model.config.tie_word_embeddings", True, 1)]),
        ("data.variables={}", [("data.variables.name", "Fero", None)]),
        ('data.eval=[{ path = "x" }]', [("data.eval.0.path", None, "x")]),
    ],
)
def test_a_diff_names_each_value_by_its_key(override: str, changed: list[Any]) -> None:
    before, after = parse_recipe(TINY_RECIPE), parse_recipe(TINY_RECIPE, overrides=[override])
    changes = diff_recipes(before, after)
    defaults = {f"data.eval.0.{name}" for name in Source.model_fields} - {"data.eval.0.path"}
    assert [(c.key, c.before, c.after) for c in changes if c.key not in defaults] == changed


def test_a_diff_names_the_change_and_what_it_costs() -> None:
    before = parse_recipe(TINY_RECIPE)
    after = parse_recipe(
        TINY_RECIPE,
        overrides=["optimizer.learning_rate=1e-3", "serve.port=81", "data.sequence_length=64"],
    )
    assert list(map(str, diff_recipes(before, after))) == [
        "data.sequence_length: 96 → 64 (done again: prepare, train, convert, evaluate, report)",
        "optimizer.learning_rate: 0.01 → 0.001 (done again: train, convert, evaluate, report)",
        "serve.port: 8000 → 81 (nothing is done again)",
    ]


def test_a_diff_knows_what_follows_from_the_eval_loss() -> None:
    def told(led: str, change: str) -> str:
        before = parse_recipe(TINY_RECIPE, overrides=[led])
        (line,) = map(str, diff_recipes(before, parse_recipe(TINY_RECIPE, overrides=[led, change])))
        return line.partition("(")[2]

    led, free = "checkpoint.keep_best=true", "checkpoint.keep_best=false"
    again = "done again: train, convert, evaluate, report)"
    assert told(free, led) == again
    assert told(free, "evaluate.patience=2") == again
    for key in ("evaluate.every=7", "checkpoint.every=7"):
        assert told(led, key) == again
        assert told(free, key) == "nothing is done again)"


LEAVES = [key.rpartition(".")[2] for key in all_keys()]
TOML_VALUES = st.recursive(
    st.booleans() | st.integers(-5, 5) | st.text(max_size=3) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(LEAVES), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from(sorted(all_keys())), TOML_VALUES)
def test_any_value_anywhere_is_a_recipe_or_a_named_problem(key: str, value: Any) -> None:
    import tomli_w

    document = tomllib.loads(TINY_RECIPE)
    place: Any = document
    *tables, leaf = key.replace("data.train.", "data.train.0.").split(".")
    for name in tables:
        inner: Any = place[int(name)] if isinstance(place, list) else place.setdefault(name, {})
        if not isinstance(inner, dict | list):
            return
        place = inner
    if isinstance(place, list):
        return
    place[leaf] = value
    try:
        parse_recipe(tomli_w.dumps(document), file="x.toml")
    except RecipeError as error:
        problems = error.problems
    else:
        return
    assert problems
    assert all(problem.reason for problem in problems)
