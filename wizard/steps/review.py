"""The recipe as it will be written."""

from collections.abc import Iterable
from typing import ClassVar

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static, TabbedContent, TabPane

from fsft.wizard.outlook import Outlook
from fsft.wizard.questions import TITLES, Step, question_for
from fsft.wizard.saving import difference, run_command
from fsft.wizard.steps.step import StepPane
from fsft.wizard.widgets.field import Tell
from fsft.wizard.widgets.lines import Lines
from fsft.wizard.widgets.text import set_text
from fsft.wizard.widgets.toml import diff_lines, toml_lines


class ReviewStep(StepPane):
    """The exact file, what differs from the one on disk, and the command that runs it."""

    step: ClassVar[Step] = "review"
    intro: ClassVar[str] = "All set? Enter writes it; F6 writes and runs it."

    def __init__(self, tell: Tell) -> None:
        super().__init__(tell)
        self._shown: tuple[str, str] | None = None

    def below(self) -> Iterable[Widget]:
        """The command, the file and its difference."""
        yield Static("", id="review-note")
        with TabbedContent(id="review-tabs"):
            with TabPane("Recipe", id="tab-recipe"):
                yield Lines(id="recipe-text")
            with TabPane("Changes", id="tab-changes"):
                yield Lines(id="recipe-diff")

    def show_more(self, outlook: Outlook) -> None:
        """The text, or what keeps it from being written."""
        out = outlook.answers["out"].text
        note = self.query_one("#review-note", Static)
        command = Content.from_markup("then: [b]$command[/b]", command=run_command(out))
        set_text(note, command if outlook.recipe else Content("Not yet:"), resizes=False)
        if (out, outlook.text) != self._shown or outlook.recipe is None:
            self._shown = (out, outlook.text)
            text = toml_lines(outlook.text) if outlook.recipe else _still_wrong(outlook)
            self.query_one("#recipe-text", Lines).show(text)
            lines = difference(outlook.draft, out, outlook.text) if outlook.recipe else []
            self.query_one("#recipe-diff", Lines).show(diff_lines(lines))


def _still_wrong(outlook: Outlook) -> list[Content]:
    lines = []
    for problem in outlook.all_problems:
        question = question_for(problem.key)
        where = f"{TITLES[question.step]}: " if question else ""
        lines.append(Content.from_markup("[$error]✗ $x[/]", x=f"{where}{problem}"))
    return lines
