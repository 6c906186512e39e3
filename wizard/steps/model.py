"""Which model to start from."""

from collections.abc import Iterable
from functools import lru_cache
from typing import ClassVar

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from fsft.recipes.models.catalogue import catalogue
from fsft.recipes.models.from_config import load_shape
from fsft.recipes.models.shape import ModelShape
from fsft.recipes.units import format_count
from fsft.wizard.outlook import Outlook
from fsft.wizard.questions import MODEL, QUICKSTART, Step
from fsft.wizard.steps.step import StepPane
from fsft.wizard.widgets.lookup import Lookup, Names
from fsft.wizard.widgets.text import set_text


class ModelStep(StepPane):
    """The catalogue with search, and the shape of what is chosen."""

    step: ClassVar[Step] = "model"
    intro: ClassVar[str] = "Which model? Type to search, ↓ and Enter to pick one."

    def under(self, _key: str) -> Iterable[Widget]:
        """The catalogue, and the model's shape."""
        if _key == MODEL:
            yield Static("", id="shape")
            yield Lookup(MODEL, _names)

    def show_more(self, outlook: Outlook) -> None:
        """The models that match, and the shape of the one that is answered."""
        typed = outlook.draft.answers.get(MODEL, "")
        is_wrong = bool(outlook.problems.get(MODEL))
        meant = str(outlook.answers[MODEL].value)
        self.query_one(Lookup).narrow("" if typed == QUICKSTART else typed, meant)
        shape = self.query_one("#shape", Static)
        # What is wrong stands beside the field already.
        text = Content.styled("" if is_wrong else outlook.planning.trouble, "$warning")
        if outlook.planning.plan and not is_wrong:
            text = describe(outlook.planning.plan.job.shape)
        set_text(shape, text, resizes=False)


def describe(shape: ModelShape) -> Content:
    """The shape in two lines."""
    layer = shape.stack.layers[0][0]
    heads = f"{layer.attention.num_heads} heads"
    if layer.attention.num_kv_heads != layer.attention.num_heads:
        heads += f", {layer.attention.num_kv_heads} for keys and values"
    active = ""
    if shape.is_mixture:
        active = f" ({format_count(float(shape.num_active_parameters))} active)"
    positions = f", {shape.max_positions:,} positions" if shape.max_positions else ""
    return Content.from_markup(
        "[b]$size parameters[/b]$active · $architecture · $layers layers of $hidden · $heads · "
        "vocabulary $vocabulary$positions",
        size=format_count(float(shape.num_parameters)),
        active=active,
        architecture=shape.architecture,
        layers=str(shape.stack.num_layers),
        hidden=f"{shape.hidden:,}",
        heads=heads,
        vocabulary=f"{shape.vocab_size:,}",
        positions=positions,
    )


@lru_cache(maxsize=1)
def _names() -> Names:
    """Every model with its size; the quickstart's first, since it runs anywhere."""
    rows = [(QUICKSTART, "4.88M")]
    for name in catalogue():
        size = format_count(float(load_shape(name).num_parameters))
        rows.append((name, size))
    return rows
