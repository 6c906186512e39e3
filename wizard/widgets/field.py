"""A question with its answer, where the answer comes from, and what is wrong with it."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Input, Label, Static
from textual.widgets.input import Selection

from fsft.recipes.problems import Problem
from fsft.wizard.outlook import Outlook
from fsft.wizard.questions import Question
from fsft.wizard.widgets.choice import Choice
from fsft.wizard.widgets.text import set_text

Tell = Callable[[str, str], None]
"""Is told the key of a question and what a person typed or chose; "" takes the answer back."""


class AnswerInput(Input):
    """Enter is said at the foot of the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "submit", "Next step")]

    # Textual lays the screen out anew for each letter; this field has one size for all texts.
    value: reactive[str] = reactive("", layout=False, init=False)
    virtual_size: reactive[Size] = reactive(Size(0, 0), layout=False)


class Field(Vertical):
    """One line: label, answer, origin; and one more where there is a problem."""

    class Accepted(Message):
        """Enter: on to the next step."""

    class Entered(Message):
        """The question that has the focus now."""

        def __init__(self, question: Question) -> None:
            super().__init__()
            self.question = question

    def __init__(self, question: Question, tell: Tell) -> None:
        super().__init__(id=f"field-{question.key.replace('.', '-')}")
        self.question = question
        self._tell = tell
        self._typed: str | None = None
        """The answer that was typed here last, if any was since the field got the focus."""
        self._known = ""
        """The text of the control as far as the field knows; any other was typed just now."""
        self._text = ""
        self._input = AnswerInput(compact=True)
        self._choice = Choice(question.choices)
        self._origin = Label("", classes="origin")
        self._problem = Static("", classes="problem")

    def compose(self) -> ComposeResult:
        """Label, control, origin; below them the problem."""
        self._input.disable_messages(Input.Changed)
        self.watch(self._control, "value", self._hear, init=False)
        with Horizontal(classes="line"):
            yield Label(self.question.label, classes="label")
            yield self._control
            yield self._origin
        yield self._problem

    @property
    def _control(self) -> AnswerInput | Choice:
        return self._choice if self.question.choices else self._input

    def show(self, outlook: Outlook, instead: str = "") -> None:
        """The present answer; `instead` stands in grey where nothing was answered."""
        answer = outlook.answers[self.question.key]
        given = outlook.draft.answers.get(self.question.key, "")
        self._show_value(answer.text, given, instead)
        origin = answer.origin if answer.text else ""
        set_text(self._origin, origin, resizes=False)
        self._origin.set_class(answer.origin == "you", "-given")
        problems = outlook.problems.get(self.question.key, ())
        self.set_class(bool(problems), "-wrong")
        lines = [Content.from_markup("[$error]✗ $x[/]", x=_said(each)) for each in problems]
        doubt = outlook.doubts.get(self.question.key)
        self.set_class(bool(doubt), "-doubted")
        if doubt:
            lines.append(Content.from_markup("[$warning]? $x[/]", x=doubt))
        set_text(self._problem, Content("\n").join(lines))

    def _show_value(self, text: str, given: str, instead: str) -> None:
        self._text = text
        self._input.placeholder = instead or (text if not given else "")
        # Nobody likes a field that changes under their hands.
        if not self._control.has_focus or given != self._typed:
            self._typed = None
            self._put(text, given)

    def _put(self, text: str, given: str = "") -> None:
        """Show a text that was not typed here just now."""
        self._known = text
        control = self._control
        if isinstance(control, Choice):
            control.value = text
        elif control.value != text:
            control.value = text
            end = len(text) if control.has_focus else 0
            # What is typed next goes behind an answer, but in the place of a default.
            control.selection = Selection(end if given else 0, end)

    def focus_control(self) -> None:
        """Put the cursor where the answer is typed."""
        # At once: `focus` waits for a turn, and what is typed meanwhile would land elsewhere.
        self.screen.set_focus(self._control)

    def _hear(self, text: str) -> None:
        """Pass on what a person typed or chose.

        At once, and not by a message: on its way through the queues of all widgets around, the
        letter would be painted alone, and its plan one or two frames later.
        """
        if text != self._known:
            self._known, self._typed = text, text.strip()
            self._tell(self.question.key, text)

    @on(Input.Submitted)
    @on(Choice.Submitted)
    def _accepted(self, event: Message) -> None:
        event.stop()
        self.post_message(self.Accepted())

    def on_descendant_focus(self, _event: events.DescendantFocus) -> None:
        """Tell what is asked."""
        self._typed = None
        self.post_message(self.Entered(self.question))

    def on_descendant_blur(self, _event: events.DescendantBlur) -> None:
        """An emptied field shows its default again."""
        if self._typed == "":
            self._put(self._text)
        self._typed = None


def _said(problem: Problem) -> str:
    """The problem without its key, beside which it stands."""
    return str(replace(problem, key=""))
