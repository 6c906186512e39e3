"""Reading a recipe: all its problems at once, each with file, line, key and an example."""

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fsft.recipes.keys import join_key
from fsft.recipes.overrides import apply_overrides
from fsft.recipes.positions import key_lines, line_of
from fsft.recipes.problems import Problem, RecipeError, in_file
from fsft.recipes.schema import SCHEMA_VERSION, Recipe
from fsft.recipes.units import MAX_INTEGER
from fsft.recipes.wording import describe

_MAX_DEPTH = 50


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
    except UnicodeDecodeError as error:
        raise RecipeError(
            Problem(
                file=str(path),
                reason=f"is not text in UTF-8: byte {error.start + 1} cannot be read.",
                example="save it again as UTF-8, if it is a recipe at all",
            )
        ) from None
    except OSError as error:
        raise RecipeError(
            Problem(file=str(path), reason=f"cannot be read: {error.strerror}.")
        ) from None
    return parse_recipe(text, file=str(path), overrides=overrides)


def parse_recipe(text: str, *, file: str = "", overrides: Sequence[str] = ()) -> Recipe:
    """The recipe that a TOML text holds; `file` is named in problems."""
    document = load_document(text, file)
    overridden = apply_overrides(document, overrides)
    lines = key_lines(text)
    recipe, problems = check_document(document)
    if problems or recipe is None:
        raise RecipeError(*(_located(problem, file, lines, overridden) for problem in problems))
    return recipe


def load_document(text: str, file: str = "") -> dict[str, Any]:
    """The plain values of a recipe, not yet checked.

    Raises RecipeError where it is no TOML, or of a newer schema.
    """
    document = _load(text, file)
    _refuse_other_schema(document, file)
    return document


def check_document(document: dict[str, Any]) -> tuple[Recipe | None, list[Problem]]:
    """The recipe that plain TOML values make, and everything that is wrong with it."""
    recipe = None
    problems = list(_unusable_values(document))
    if not problems:
        try:
            recipe = Recipe.model_validate(document)
        except ValidationError as error:
            problems += describe(error.errors())
        problems += _problems_between_tables(document)
    return recipe, problems


def _load(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problem = _syntax_problem(error, text, file)
    except ValueError:
        # Python's limit on the digits that it turns into a number.
        problem = Problem(file=file, reason="holds a number with thousands of digits.")
    except RecursionError:
        problem = Problem(file=file, reason="lists or tables are nested too deeply.")
    raise RecipeError(problem)


def _unusable_values(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[Problem]:
    """What Python would take and no other reader of TOML would."""
    if len(path) > _MAX_DEPTH:
        yield Problem(key=join_key(path[:1]), reason="is nested too deeply.")
    elif isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _unusable_values(inner, (*path, name))
    elif isinstance(value, int) and not -MAX_INTEGER <= value <= MAX_INTEGER:
        yield Problem(key=join_key(path), reason="the number does not fit into 64 bits.")


def _located(
    problem: Problem, file: str, lines: dict[str, int], overridden: Sequence[str]
) -> Problem:
    if any(f"{problem.key}.".startswith(f"{key}.") for key in overridden):
        return in_file(problem, "--set")
    if any(key.startswith(f"{problem.key}.") for key in overridden):
        whole = f"--set '{problem.key}={{ … }}' replaces the whole table"
        problem = replace(problem, example=whole)
    return in_file(problem, file, line_of(problem.key, lines))


def _syntax_problem(error: tomllib.TOMLDecodeError, text: str, file: str) -> Problem:
    """The place stands only in the message: "… (at line 3, column 7)" or "(at end …)"."""
    reason = str(error).partition(" (at ")[0]
    place = re.search(r"at line (\d+)", str(error))
    return Problem(
        file=file,
        line=int(place[1]) if place else text.rstrip("\n").count("\n") + 1,
        reason=f"not valid TOML: {reason}.",
        example=r"path = 'C:\data\x.jsonl' in single quotes"
        if "\\" in reason
        else 'name = "my-run"',
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
        is_pretrained = "config" not in model and model.get("init", "pretrained") == "pretrained"
        if is_pretrained and "tokenizer" in data:
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
