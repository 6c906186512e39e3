"""What to learn from."""

from collections.abc import Iterable
from typing import ClassVar

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from fsft.recipes.units import format_count
from fsft.wizard.facts import DataFacts, Quality, Shown
from fsft.wizard.outlook import Outlook
from fsft.wizard.questions import Step
from fsft.wizard.steps.step import StepPane
from fsft.wizard.widgets.text import set_text, visible

TRAIN = "data.train"


class DataStep(StepPane):
    """Files, how they become rows, and the first samples as the model will see them."""

    step: ClassVar[Step] = "data"
    intro: ClassVar[str] = "What is it to learn? Your files, one or more."

    def under(self, _key: str) -> Iterable[Widget]:
        """What was found, and samples."""
        if _key == TRAIN:
            yield Static("", id="data-found")
            yield Static("", id="data-samples")

    def show_more(self, outlook: Outlook) -> None:
        """What a look into the files told."""
        found = self.query_one("#data-found", Static)
        samples = self.query_one("#data-samples", Static)
        data = outlook.facts.data
        if outlook.problems.get(TRAIN):
            # What is wrong stands beside the field.
            told = shown = Content("")
        elif data is None:
            told = Content.styled("looking into the files …", "dim")
            shown = Content("")
        else:
            told = counted(data)
            shown = Content("\n").join(sample(each) for each in data.samples)
        set_text(found, told, resizes=False)
        set_text(samples, shown, resizes=False)


def counted(data: DataFacts) -> Content:
    """Formats, rows and tokens, with the error of what was extrapolated."""
    shapes = ", ".join(f"{file}: {shape}" for file, shape in data.formats)
    if data.trouble:
        told = Content.from_markup("[$warning]? $x[/]", x=visible(data.trouble))
        return Content.assemble(told, (f"\n{shapes}", "dim"))
    noticed = f"\n{quality_line(data.quality)}" if data.quality else ""
    about = f" ± {format_count(data.error)}" if data.error else ""
    how = f" (from {data.num_sampled:,} rows)" if data.error else ""
    return Content.from_markup(
        "[b]$tokens$about tokens[/b] in $rows rows$how\n[dim]$shapes$noticed[/]",
        tokens=format_count(float(data.num_tokens)),
        about=about,
        rows=f"{round(data.num_rows):,}",
        how=how,
        shapes=shapes,
        noticed=noticed,
    )


def quality_line(quality: Quality) -> str:
    """Languages, what is there twice or in evaluation too, and what should not be there."""
    parts = [" ".join(f"{name} {share:.0%}" for name, share in quality.languages)]
    for number, what in ((quality.num_alike, "alike"), (quality.num_leaked, "in evaluation too")):
        parts += [f"{number:,} {what}"] if number else []
    parts += [f"{number:,} with {kind}" for kind, number in quality.hints if number]
    seen = f"of {quality.num_samples:,} samples: "
    return seen + (" · ".join(filter(None, parts)) or "nothing to note")


def sample(shown: Shown) -> Content:
    """A sample; what is learned stands between ⟦ ⟧, in colour."""
    parts = []
    if shown.num_tokens is not None:
        parts.append(Content.from_markup("[dim]$x tokens[/] ", x=str(shown.num_tokens)))
    for text, learned in shown.segments:
        flat = visible(text.replace("\n", "⏎"))
        if learned:
            parts.append(Content.from_markup("[$success]⟦$x⟧[/]", x=flat))
        else:
            parts.append(Content.from_markup("[dim]$x[/]", x=flat))
    return Content.assemble(*parts)
