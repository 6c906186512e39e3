"""Everything that follows from a draft: the recipe, its problems, its plan, its text."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fsft.recipes.files import check_document
from fsft.recipes.planner.questions import parallel_of
from fsft.recipes.planner.remedies import Remedy
from fsft.recipes.problems import Problem
from fsft.recipes.schema import Recipe
from fsft.wizard.answers import Answer, resolve
from fsft.wizard.budget import Length, length_of, tokens_for
from fsft.wizard.defaults import beside, schema_default
from fsft.wizard.document import Changes, changed, value_at, written
from fsft.wizard.draft import Draft
from fsft.wizard.facts import Facts
from fsft.wizard.planning import Planning, planning_of
from fsft.wizard.questions import (
    BY_KEY,
    FROM_CONFIG,
    LAYOUT_KEYS,
    LENGTHS,
    LIMITS,
    QUICKSTART,
    STEPS,
    Step,
    question_for,
)

_DIVIDE_BATCH = (
    "parallel.micro_batch",
    "parallel.tensor",
    "parallel.pipeline",
    "parallel.sequence",
)
"""What decides into how many parts a global batch is divided."""
_OURS = {"days", "money", "out"}
"""Answers that are no keys of the recipe."""


@dataclass(frozen=True)
class Outlook:
    """What the answers amount to."""

    draft: Draft
    facts: Facts
    answers: Mapping[str, Answer]
    recipe: Recipe | None
    """None while there are problems that no recipe may have."""
    changes: Changes
    """What is put into the document: of a new recipe all, of an opened one what differs."""
    problems: Mapping[str, tuple[Problem, ...]]
    """By the key of the question that they belong to."""
    planning: Planning
    length: Length
    usable: Recipe | None
    """With defaults where an answer has a problem: what is planned, and what data is looked at."""

    @cached_property
    def text(self) -> str:
        """The recipe as TOML; empty where there is none yet."""
        return written(self.draft, self.recipe, self.changes) if self.recipe else ""

    @cached_property
    def doubts(self) -> Mapping[str, str]:
        """Answers on the layout that do not go with the others, by key; a recipe may have them."""
        planning = self.planning
        if planning.plan is None or planning.best:
            return {}
        if planning.open_plan is None or planning.open_plan.best is None:
            return {}
        best = planning.open_plan.best.layout
        wanted = {f"parallel.{key}": value for key, value in parallel_of(best).items()}
        return {
            key: f"does not fit with the other answers; auto would take {best.name}"
            for key in LAYOUT_KEYS
            if self.answers[key].value not in {"auto", wanted[key]}
        }

    @property
    def remedies(self) -> tuple[Remedy, ...] | None:
        """What would make it fit; None while that is looked for."""
        plan, found = self.facts.helpful or (None, None)
        return found if plan is self.planning.plan else None

    @property
    def all_problems(self) -> list[Problem]:
        """Everything that is wrong, in the order of the questions."""
        return [problem for key in BY_KEY for problem in self.problems.get(key, ())]

    def problems_in(self, step: Step) -> list[Problem]:
        """Everything that is wrong in a step."""
        keys = (key for key, question in BY_KEY.items() if question.step == step)
        return [problem for key in keys for problem in self.problems.get(key, ())]

    def is_touched(self, step: Step) -> bool:
        """Whether anything in a step was answered by hand."""
        return any(BY_KEY[key].step == step for key in self.draft.answers)

    @property
    def first_trouble(self) -> Step | None:
        """The first step with a problem."""
        return next((step for step in STEPS if self.problems_in(step)), None)


def look(draft: Draft, facts: Facts) -> Outlook:
    """Work out everything; never raises for anything that a person may answer."""
    answers = resolve(draft, facts)
    values = {key: answer.value for key, answer in answers.items()}
    problems = [answer.problem for answer in answers.values() if answer.problem]
    changes = _changes(draft, answers)
    base = draft.opened.document if draft.opened else {}
    _, found = check_document(changed(base, changes))
    usable = _usable(base, changes, found)
    planning = planning_of(usable, draft.folder, facts.machine)
    if trouble := _use_limits(values, changes, planning):
        problems.append(trouble)
    document = changed(base, changes)
    recipe, found = check_document(document)
    if any(problem.key in LENGTHS for problem in problems):
        # Of how long to train there is an answer already, only no good one.
        found = [problem for problem in found if problem.key != "budget"]
    problems += found
    if recipe:
        problems += facts.files.problems(recipe, draft.folder)
    problems += planning.problems
    length = length_of(recipe.budget if recipe else None, planning, facts.data)
    return Outlook(
        draft,
        facts,
        answers,
        recipe if not problems else None,
        changes,
        _by_question(problems),
        planning,
        length,
        usable,
    )


def _changes(draft: Draft, answers: Mapping[str, Answer]) -> dict[str, Any]:
    """What the answers put into the document."""
    values = {key: answer.value for key, answer in answers.items()}
    keys = {key: value for key, value in values.items() if key not in _OURS}
    if draft.opened is None:
        return {**keys, **beside(values)}
    base = draft.opened.document
    given = {key: keys[key] for key in draft.answers if key in keys}
    if set(LENGTHS) & draft.answers.keys():
        given |= {key: keys[key] for key in LENGTHS if key in keys}
    given |= _following(given, base)
    if given.get("model.path") == FROM_CONFIG:
        del given["model.path"]
    elif given.get("model.path") == QUICKSTART:
        given |= {"model.init": "random"} | {
            key: value
            for key, value in beside(values).items()
            if key not in {"schema", "parallel.gradient_accumulation"}
        }
    elif "model.path" in given:
        # A model made from its config had no weights and no tokenizer of its own.
        for key in ("model.config", "data.tokenizer"):
            if value_at(base, key) is not None:
                given[key] = None
                given.setdefault("model.init", "pretrained")
    return {key: value for key, value in given.items() if value != _meant(base, key)}


def _following(given: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of an opened recipe that nobody is asked for and that follow from the answers."""
    keys: dict[str, Any] = {}
    batch = "parallel.global_batch"
    has_batch = (given.get(batch) or value_at(base, batch)) is not None
    if has_batch and given.keys() & {batch, *_DIVIDE_BATCH}:
        keys["parallel.gradient_accumulation"] = "auto"
    if given.get("parallel.activation_checkpointing") == "none":
        keys |= {
            "parallel.activation_checkpointing_every": None,
            "parallel.activation_offload": None,
        }
    if given.get("checkpoint.keep_best") is True:
        keys["convert.checkpoint"] = "best"
    elif "checkpoint.keep_best" in given and value_at(base, "convert.checkpoint") == "best":
        keys["convert.checkpoint"] = None
    return keys


def _meant(base: Mapping[str, Any], key: str) -> Any:
    """What an opened recipe has at a key; of its layout, what it means where it says nothing."""
    value = value_at(base, key)
    return schema_default(key).value if value is None and key in LAYOUT_KEYS else value


def _usable(base: Mapping[str, Any], changes: Changes, found: list[Problem]) -> Recipe | None:
    """A recipe to plan with: where a key has a problem, its default stands in."""
    wrong = {problem.key for problem in found}
    kept = {key: value for key, value in changes.items() if not _touches(key, wrong)}
    document = changed(base, kept)
    for key in wrong:
        document = changed(document, {key: None} if key.count(".") == 1 else {})
    if not any(value_at(document, f"budget.{unit}") for unit in ("epochs", "tokens", "steps")):
        document = changed(document, {"budget.steps": 1})
    document = changed(document, {"name": "draft", "schema": 1})
    if value_at(document, "optimizer.learning_rate") is None:
        document = changed(document, {"optimizer.learning_rate": 1e-5})
    recipe, _ = check_document(document)
    return recipe


def _touches(key: str, wrong: set[str]) -> bool:
    return any(f"{bad}.".startswith(f"{key}.") or f"{key}.".startswith(f"{bad}.") for bad in wrong)


def _use_limits(
    values: Mapping[str, Any], changes: dict[str, Any], planning: Planning
) -> Problem | None:
    """Days or money become tokens, once it is known how fast the run will be."""
    given = [key for key in LIMITS if values.get(key) is not None]
    if given:
        changes |= {"budget.epochs": None, "budget.steps": None, "budget.tokens": None}
    allowed = []
    for key in given:
        try:
            allowed.append(tokens_for(key, values[key], planning))
        except ValueError as error:
            return Problem(key=key, reason=f"{error}.")
    if allowed:
        changes["budget.tokens"] = min(allowed)
    return None


def _question_key(problem: Problem) -> str:
    """The question that a problem belongs to; one of a whole table to the key that it speaks of."""
    if "." not in problem.key:
        for key in BY_KEY:
            table, _, last = key.rpartition(".")
            spoken = last if problem.key else key
            if table and problem.key in {"", table} and spoken in problem.reason:
                return key
    question = question_for(problem.key) if problem.key else None
    return question.key if question else "name"


def _by_question(problems: list[Problem]) -> dict[str, tuple[Problem, ...]]:
    found: dict[str, list[Problem]] = {}
    for problem in problems:
        key = _question_key(problem)
        if problem not in found.setdefault(key, []):
            found[key].append(problem)
    return {key: tuple(listed) for key, listed in found.items()}
