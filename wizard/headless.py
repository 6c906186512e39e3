"""The wizard without a terminal: flags are answers, and what they do not say is a default."""

from dataclasses import replace

from fsft.recipes.problems import Problem, RecipeError
from fsft.wizard.draft import Draft
from fsft.wizard.facts import Facts
from fsft.wizard.outlook import Outlook, look
from fsft.wizard.questions import BY_KEY, LENGTHS, question_for

ESSENTIAL = ("model.path", "data.train", "hardware.accelerator")
"""What nobody should be guessing without being told to."""


def finished(draft: Draft, facts: Facts, *, accepts_defaults: bool) -> Outlook:
    """The outlook of a draft that makes a recipe.

    Raises RecipeError with every missing answer, or everything that is wrong, by its flag.
    """
    outlook = look(draft, facts)
    if not accepts_defaults and (missing := _missing(outlook)):
        raise RecipeError(*missing)
    if outlook.recipe is None:
        raise RecipeError(*map(_by_flag, outlook.all_problems))
    return outlook


def _missing(outlook: Outlook) -> list[Problem]:
    answered = set(outlook.draft.answers)
    if outlook.draft.opened:
        return []
    problems = [
        Problem(
            file=BY_KEY[key].flag,
            reason=f"is not answered; --yes would take {outlook.answers[key].text}.",
            example=BY_KEY[key].forms,
        )
        for key in ESSENTIAL
        if key not in answered
    ]
    if not answered & set(LENGTHS):
        flags = ", ".join(BY_KEY[key].flag for key in LENGTHS)
        epochs = outlook.answers["budget.epochs"].text
        problems.append(
            Problem(file=flags, reason=f"one is needed; --yes would take {epochs} epochs.")
        )
    return problems


def _by_flag(problem: Problem) -> Problem:
    question = question_for(problem.key) if problem.key else None
    return replace(problem, file=question.flag) if question and not problem.file else problem
