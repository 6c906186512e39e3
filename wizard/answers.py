"""Each question with its present answer: typed, from the opened recipe, or by default."""

import csv
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fsft.recipes.inputs import is_local
from fsft.recipes.models.catalogue import full_name
from fsft.recipes.problems import Problem
from fsft.wizard.defaults import Given, Origin, default_of, schema_default
from fsft.wizard.document import value_at
from fsft.wizard.draft import Draft
from fsft.wizard.facts import Facts
from fsft.wizard.questions import FROM_CONFIG, LENGTHS, MODEL, QUESTIONS, QUICKSTART, Question


@dataclass(frozen=True)
class Answer:
    """What stands at a question; `text` as a person would type it."""

    question: Question
    text: str
    value: Any
    origin: Origin
    reason: str = ""
    problem: Problem | None = None
    """Why the text cannot even be read."""


def resolve(draft: Draft, facts: Facts) -> dict[str, Answer]:
    """Every question's answer, in the order of the questions."""
    document = draft.opened.document if draft.opened else {}
    values: dict[str, Any] = {}
    answers = {}
    # What the machine is decides more than it depends on.
    order = sorted(QUESTIONS, key=lambda question: question.step != "hardware")
    for question in order:
        answer = _answer(question, draft, document, Given(values, facts, draft.folder))
        values[question.key] = answer.value
        answers[question.key] = answer
    return {question.key: answers[question.key] for question in QUESTIONS}


def read(question: Question, text: str) -> Any:
    """The plain value of a typed answer; raises ValueError with the reason where there is none.

    Whether the recipe takes the value, its schema decides.
    """
    _require_writable(text)
    if question.key == "days":
        return _days(text)
    if question.key == "money":
        return _positive(text)
    if question.kind == "switch":
        if text.lower() not in _SWITCH:
            raise ValueError(f"`{text}` is neither yes nor no")
        return _SWITCH[text.lower()]
    if question.kind == "paths":
        return [{"path": path} for path in _split(text)]
    if question.kind == "text":
        return text
    return _number(text)


def shown(question: Question, value: Any) -> str:
    """A value as a person would type it; empty where it is not set."""
    if value is None:
        return ""
    if question.kind == "switch":
        return "yes" if value is True else "no" if value is False else str(value)
    if question.kind == "paths":
        return _joined(_paths(value))
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value)


def _answer(question: Question, draft: Draft, document: Mapping[str, Any], given: Given) -> Answer:
    key = question.key
    if key in draft.answers:
        text = draft.answers[key]
        try:
            value = _kept(read(question, text), document, key)
            return Answer(question, text, _named(value, draft) if key == MODEL else value, "you")
        except ValueError as error:
            problem = Problem(key=key, reason=f"{error}.", example=question.forms)
            return Answer(question, text, None, "you", problem=problem)
    if key in LENGTHS and _has_length(draft, document):
        value = None if set(LENGTHS) & draft.answers.keys() else value_at(document, key)
        return Answer(question, shown(question, value), value, "recipe")
    if draft.opened:
        value = _opened(key, draft, document)
        if value is not None:
            return Answer(question, shown(question, value), value, "recipe", "as it was opened")
    # What an opened recipe does not say, `fsft run` takes from the schema.
    default = schema_default(key) if draft.opened else default_of(key, given)
    return Answer(
        question, shown(question, default.value), default.value, default.origin, default.reason
    )


def _named(model: str, draft: Draft) -> str:
    """A model of the catalogue by its name on the hub; a folder on this machine goes before."""
    if model in {QUICKSTART, FROM_CONFIG} or is_local(model, draft.folder):
        return model
    return full_name(model) or model


def _opened(key: str, draft: Draft, document: Mapping[str, Any]) -> Any:
    if key == "out" and draft.opened:
        return str(draft.opened.path)
    if key == MODEL and value_at(document, "model.config") is not None:
        return FROM_CONFIG
    return value_at(document, key)


def _has_length(draft: Draft, document: Mapping[str, Any]) -> bool:
    return bool(set(LENGTHS) & draft.answers.keys()) or (
        draft.opened is not None and any(value_at(document, key) is not None for key in LENGTHS)
    )


def _kept(value: Any, document: Mapping[str, Any], key: str) -> Any:
    """A file that the opened recipe names already keeps its format and its other keys."""
    if not isinstance(value, list):
        return value
    before = value_at(document, key)
    rows = [row for row in before if isinstance(row, Mapping)] if isinstance(before, list) else []
    known = {path: row for row in rows if isinstance(path := row.get("path"), str)}
    return [known.get(row["path"], row) for row in value]


def _split(text: str) -> list[str]:
    """Paths with commas between; one that has a comma or a space at its end stands in quotes."""
    if '"' not in text:
        return [path for path in map(str.strip, text.split(",")) if path]
    try:
        return [path for row in csv.reader([text], skipinitialspace=True) for path in row if path]
    except csv.Error:
        raise ValueError("cannot be read: quotes and line breaks do not go together") from None


def _joined(paths: Iterable[str]) -> str:
    """The other way round."""
    return ", ".join(
        f'"{path.replace(chr(34), 2 * chr(34))}"' if "," in path or path != path.strip() else path
        for path in paths
    )


def _paths(value: Any) -> Iterator[str]:
    for row in value if isinstance(value, list) else []:
        yield str(row.get("path", "")) if isinstance(row, Mapping) else str(row)


def _require_writable(text: str) -> None:
    """What no path and no file in UTF-8 can hold."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("holds a character that cannot be written to a file")


def _number(text: str) -> Any:
    """As TOML, or else as text: "auto", "0.7B"."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, int | float) and not isinstance(value, bool) else text


def _days(text: str) -> float:
    if text[-1:] in {"h", "d"}:
        return _positive(text[:-1]) / (24 if text.endswith("h") else 1)
    return _positive(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"`{text[:40]}` is not a number") from None
    if not 0 < value < math.inf:
        raise ValueError(f"{text[:40]} must be more than 0")
    return value


_SWITCH = {
    "yes": True,
    "y": True,
    "true": True,
    "on": True,
    "no": False,
    "n": False,
    "false": False,
    "off": False,
}
