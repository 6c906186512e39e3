"""Reading a recipe: all its problems at once, each with file, line, key and an example."""

import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fsft.recipes.overrides import apply_overrides
from fsft.recipes.positions import key_lines, line_of
from fsft.recipes.problems import Problem, RecipeError, in_file
from fsft.recipes.schema import SCHEMA_VERSION, Recipe
from fsft.recipes.wording import describe


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in `path`, with `key=value` overrides applied.

    Raises RecipeError with every problem found.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(
            Problem(
                file=str(path),
                reason="there is no such recipe file.",
                example="`fsft recipe list` names the shipped ones, `fsft recipe new` writes one",
            )
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(Problem(file=str(path), reason=f"cannot be read: {error}.")) from None
    return parse_recipe(text, file=str(path), overrides=overrides)


def parse_recipe(text: str, *, file: str = "", overrides: Sequence[str] = ()) -> Recipe:
    """The recipe that a TOML text holds; `file` is named in problems."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(_syntax_problem(error, text, file)) from None
    _refuse_other_schema(document, file)
    overridden = apply_overrides(document, overrides)
    lines = key_lines(text)
    problems: list[Problem] = []
    recipe = None
    try:
        recipe = Recipe.model_validate(document)
    except ValidationError as error:
        problems += describe(error.errors())
    problems += _problems_between_tables(document)
    if problems or recipe is None:
        raise RecipeError(*(_located(problem, file, lines, overridden) for problem in problems))
    return recipe


def _located(
    problem: Problem, file: str, lines: dict[str, int], overridden: Sequence[str]
) -> Problem:
    if problem.key in overridden:
        return in_file(problem, "--set")
    return in_file(problem, file, line_of(problem.key, lines))


def _syntax_problem(error: tomllib.TOMLDecodeError, text: str, file: str) -> Problem:
    """The place stands only in the message: "… (at line 3, column 7)" or "(at end …)"."""
    reason = str(error).partition(" (at ")[0]
    place = re.search(r"at line (\d+)", str(error))
    return Problem(
        file=file,
        line=int(place[1]) if place else len(text.splitlines()),
        reason=f"not valid TOML: {reason}.",
        example='name = "my-run"',
    )


def _refuse_other_schema(document: dict[str, Any], file: str) -> None:
    version = document.get("schema")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise RecipeError(
            Problem(
                file=file,
                key="schema",
                reason=f"the recipe uses schema {version}, this fsft reads up to {SCHEMA_VERSION}.",
                example="pip install --upgrade fsft",
            )
        )


def _problems_between_tables(document: dict[str, Any]) -> Iterator[Problem]:
    """What no single table can see; tolerant, for the tables themselves may be wrong."""
    model, data = document.get("model"), document.get("data")
    if isinstance(model, dict) and isinstance(data, dict):
        if "config" in model and "path" not in model and "tokenizer" not in data:
            yield Problem(
                key="data.tokenizer",
                reason="a model made from config brings no tokenizer, so the run must train one.",
                example="[data.tokenizer] with vocab_size = 2048",
            )
        if model.get("init", "pretrained") == "pretrained" and "tokenizer" in data:
            yield Problem(
                key="data.tokenizer",
                reason="pretrained weights only fit the tokenizer they were trained with.",
                example='remove [data.tokenizer], or set model.init = "random"',
            )
    evaluate = document.get("evaluate")
    asks_eval = isinstance(evaluate, dict) and evaluate.get("split") == "eval"
    if asks_eval and isinstance(data, dict) and not data.get("eval"):
        yield Problem(
            key="evaluate.split",
            reason="there is no eval data.",
            example='[[data.eval]] with path = "eval.jsonl"',
        )
