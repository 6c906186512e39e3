"""What a person has answered so far, and the way back."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fsft.recipes.files import load_document
from fsft.recipes.problems import Problem, RecipeError
from fsft.wizard.questions import LENGTHS, LIMITS

MOST_STEPS_BACK = 200
MOST_BYTES = 2**24
"""No recipe that a person can read is larger."""
BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True)
class Opened:
    """A recipe file as it was when it was opened."""

    path: Path
    text: str

    @property
    def document(self) -> dict[str, Any]:
        """Its plain values."""
        return load_document(self.text.removeprefix(BYTE_ORDER_MARK))


@dataclass(frozen=True)
class Draft:
    """Answers as they were typed, by the key of their question. Never changed, only replaced."""

    answers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    opened: Opened | None = None

    def answer(self, key: str, text: str) -> "Draft":
        """With one answer more; an empty one takes the answer back.

        There is one answer to how long to train, so the last one given counts; only days and
        money stand beside each other.
        """
        taken_back = {key}
        if key in LENGTHS:
            taken_back |= set(LENGTHS) - set(LIMITS if key in LIMITS else ())
        answers = {k: v for k, v in self.answers.items() if k not in taken_back}
        if text.strip():
            answers[key] = text.strip()
        return replace(self, answers=MappingProxyType(answers))

    @property
    def folder(self) -> Path:
        """The folder that relative paths of the recipe start from."""
        return self.opened.path.parent if self.opened else Path()


@dataclass(frozen=True)
class History:
    """A draft with all that came before it and, after undoing, behind it."""

    present: Draft
    past: tuple[Draft, ...] = ()
    future: tuple[Draft, ...] = ()
    last_key: str = ""
    """What is being typed: letters of one answer are undone together."""

    def change(self, draft: Draft, key: str = "") -> "History":
        """With `draft` as the present."""
        if draft.answers == self.present.answers:
            return self if key == self.last_key else replace(self, last_key="")
        if key and key == self.last_key:
            return replace(self, present=draft, future=())
        past = (*self.past, self.present)[-MOST_STEPS_BACK:]
        return History(draft, past, (), key)

    @property
    def is_untouched(self) -> bool:
        """Nothing was answered since it began."""
        return not self.past and not self.future and not self.last_key

    def undo(self) -> "History":
        """One step back, if there is one."""
        if not self.past:
            return self
        return History(self.past[-1], self.past[:-1], (self.present, *self.future))

    def redo(self) -> "History":
        """One step forward again, if there is one."""
        if not self.future:
            return self
        return History(self.future[0], (*self.past, self.present), self.future[1:])


def open_recipe(path: Path) -> Opened:
    """A recipe to be edited, which may have problems that can be answered.

    Raises RecipeError where there is no TOML to read, or one of a newer schema.
    """
    try:
        if path.exists() and not (path.is_file() and path.stat().st_size <= MOST_BYTES):
            raise RecipeError(Problem(file=str(path), reason="is not a recipe file."))
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise RecipeError(
            Problem(
                file=str(path),
                reason="there is no such recipe file.",
                example=f"fsft wizard --out {path}",
            )
        ) from None
    except UnicodeDecodeError:
        raise RecipeError(Problem(file=str(path), reason="is not text in UTF-8.")) from None
    except OSError as error:
        raise RecipeError(
            Problem(file=str(path), reason=f"cannot be read: {error.strerror}.")
        ) from None
    load_document(text.removeprefix(BYTE_ORDER_MARK), str(path))
    return Opened(path, text)
