"""What is asked of the trained model, and how it answers."""

from collections.abc import Iterable
from typing import ClassVar

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from fsft.wizard.outlook import Outlook
from fsft.wizard.questions import Step
from fsft.wizard.steps.step import StepPane
from fsft.wizard.widgets.text import set_text

BEST = "checkpoint.keep_best"


class ServeStep(StepPane):
    """Evaluation, checkpoints and the server."""

    step: ClassVar[Step] = "serve"
    intro: ClassVar[str] = "What is asked after training, and how is it served?"

    def asks(self, _key: str, _outlook: Outlook) -> bool:
        """Without eval data there is no best checkpoint."""
        answers = _outlook.answers
        return _key != BEST or bool(answers["data.eval"].value or answers[BEST].value)

    def below(self) -> Iterable[Widget]:
        """What the answers will be used for."""
        yield Static("", id="serve-note")

    def show_more(self, outlook: Outlook) -> None:
        """The commands after the run."""
        name = outlook.answers["name"].text or "NAME"
        port = outlook.answers["serve.port"].text
        set_text(
            self.query_one("#serve-note", Static),
            Content.from_markup(
                "After the run:\n"
                '  [b]fsft generate runs/$name-* --prompt "…"[/b]\n'
                "  [b]fsft serve runs/$name-*[/b]   OpenAI's API at port $port",
                name=name,
                port=port,
            ),
        )
