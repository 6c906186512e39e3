"""What the keys of the wizard do. Each has an id, by which a person can give it another key."""

from typing import cast

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual.binding import Binding, BindingType

from fsft.wizard.questions import STEPS, TITLES

BINDINGS: list[BindingType] = [
    Binding("escape", "previous", "Back", id="back", tooltip="To the step before"),
    Binding("ctrl+s", "write", "Write", id="write", priority=True, tooltip="Write the recipe"),
    Binding("f1", "help", "Help", id="help", tooltip="Keys and signs"),
    Binding("f2", "arithmetic", "Why", id="why", tooltip="The plan's arithmetic"),
    Binding("ctrl+z", "undo", "Undo", id="undo", priority=True),
    Binding("ctrl+y", "redo", "Redo", id="redo", priority=True, show=False),
    Binding("ctrl+r", "reset", "Default", id="reset", priority=True, show=False),
    Binding("f6", "run", "Run", id="run", show=False, tooltip="Write the recipe and run it"),
    Binding("f7", "copy_recipe", "Copy the recipe", id="copy-recipe", show=False),
    Binding("f8", "copy_command", "Copy the command", id="copy-command", show=False),
    Binding("ctrl+q", "leave", "Quit", id="quit", priority=True),
    Binding("ctrl+c", "leave", "Quit", id="interrupt", priority=True, show=False),
    *(
        Binding(
            f"alt+{number}",
            f"go('{step}')",
            TITLES[step],
            id=f"go-{step}",
            show=False,
            priority=True,
        )
        for number, step in enumerate(STEPS, start=1)
    ),
]
ON_THE_STEPS = {"write", "undo", "redo", "reset", "go"}
"""Actions that have no meaning while another screen stands before the steps."""

# Textual takes what most terminals send for Alt and a digit for what Option types on a Mac: "£".
for _digit in range(1, len(STEPS) + 1):
    cast("dict[str, object]", ANSI_SEQUENCES_KEYS).pop(f"\x1b{_digit}", None)
