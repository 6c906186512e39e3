"""What all steps have in common: a line on what is asked, questions, and something to look at."""

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from fsft.wizard.outlook import Outlook
from fsft.wizard.questions import APART, Question, Step, questions_of
from fsft.wizard.widgets.field import Field, Tell


class StepPane(VerticalScroll, can_focus=False):
    """One step. `show` brings all of it up to date."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "app.focus_next", "Next field", show=False),
        Binding("up", "app.focus_previous", "Previous field", show=False),
        Binding("enter", "app.next", "Next step"),
    ]

    step: ClassVar[Step]
    intro: ClassVar[str]

    class Picked(Message):
        """A person took something from a list that answers several questions at once."""

        def __init__(self, answers: dict[str, str]) -> None:
            super().__init__()
            self.answers = answers

    def __init__(self, tell: Tell) -> None:
        super().__init__(id=f"step-{self.step}")
        self._tell = tell
        self._fields: list[Field] = []
        self._outlook: Outlook | None = None

    def compose(self) -> ComposeResult:
        """The introduction, each question, and what belongs under them."""
        yield Static(self.intro, classes="intro")
        for question in questions_of(self.step):
            if question.key not in APART:
                yield self.field(question)
                yield from self.under(question.key)
        yield from self.below()

    def field(self, question: Question) -> Field:
        """A field that is kept up to date."""
        field = Field(question, self._tell)
        self._fields.append(field)
        return field

    def under(self, _key: str) -> Iterable[Widget]:
        """What stands directly under a question."""
        return ()

    def below(self) -> Iterable[Widget]:
        """What stands under all questions."""
        return ()

    def show(self, outlook: Outlook) -> None:
        """Bring everything up to date."""
        self._outlook = outlook
        for field in self._fields:
            key = field.question.key
            unset = "" if outlook.answers[key].text else "not set"
            field.show(outlook, self.instead(key, outlook) or unset)
            field.display = self.asks(key, outlook) or key in outlook.problems
        self.show_more(outlook)

    def asks(self, _key: str, _outlook: Outlook) -> bool:
        """Whether a question is worth asking; one that was answered always is."""
        return True

    def instead(self, _key: str, _outlook: Outlook) -> str:
        """What stands in grey where nothing was answered."""
        return ""

    def on_resize(self) -> None:
        """Tables and bars are as wide as there is room."""
        self.call_after_refresh(self._show_more_again)

    def _show_more_again(self) -> None:
        # Not what was known when the size changed: answers may have come since.
        if self._outlook:
            self.show_more(self._outlook)

    def show_more(self, outlook: Outlook) -> None:
        """Bring what is not a question up to date."""

    def focus_first(self) -> None:
        """Put the cursor to the first problem, else to the first question."""
        wrong = [field for field in self._fields if field.has_class("-wrong")]
        for field in (wrong or self._fields)[:1]:
            field.focus_control()
