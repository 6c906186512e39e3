"""What F1 says."""

from textual.content import Content

HELP = Content.from_markup(
    """\
The wizard writes a recipe: one TOML file that says everything about a
fine-tuning run. Nothing is spent before you run it.

Every answer is filled in. [b]Enter[/b] accepts a step and goes on, so pressing it
eight times gives a recipe that runs. What you change, you see at once in
the plan: whether it fits, how long it takes, what it costs.

[b]Keys[/b]
  Enter          accept, next step         Esc        previous step
  Tab, ↑ ↓       other questions           ← →        other value of a choice
  Alt+1 … Alt+8  any step                  Ctrl+S     write the recipe
  Ctrl+Z, Ctrl+Y undo, redo                Ctrl+R     back to the default
  F2             the arithmetic            F6         write and run
  F7, F8         copy recipe, command      Ctrl+P     everything else
  Ctrl+Q         quit; the draft is kept

[b]Signs[/b]
  ✓ answered, or fits            · by default
  ✗ has a problem, or is too big ? may fit, or does not go with the rest
  you, recipe, detected, computed, preset, default: where an answer comes from

[b]Numbers[/b]
  1_000, 200M, 1.5B for counts; 80GB (10⁹ bytes) or 80GiB (2³⁰) for memory.
  A range is what 8 of 10 published runs stayed within."""
)
