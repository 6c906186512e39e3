"""The steps, which of them is shown, and how each stands."""

from textual.content import Content

from fsft.wizard.outlook import Outlook
from fsft.wizard.questions import BY_KEY, STEPS, TITLES, Step
from fsft.wizard.widgets.lines import Rows


class Sidebar(Rows):
    """Enter or a click goes to a step; its sign says how it stands (see help.py)."""

    def __init__(self) -> None:
        super().__init__(id="sidebar")

    def show_steps(self, outlook: Outlook, current: Step, seen: frozenset[Step]) -> None:
        """How each step stands."""
        lines = []
        for number, step in enumerate(STEPS, start=1):
            mark = _mark(outlook, step, seen)
            style = {"✗": "$error", "?": "$warning"}.get(mark, "")
            lines.append(Content.styled(f"{number} {TITLES[step]:<12}{mark}", style))
        self.show(lines)
        if not self.has_focus:
            self.cursor = STEPS.index(current)


def _mark(outlook: Outlook, step: Step, seen: frozenset[Step]) -> str:
    if outlook.problems_in(step):
        return "✗"
    if any(BY_KEY[key].step == step for key in outlook.doubts):
        return "?"
    return "✓" if outlook.is_touched(step) or step in seen else "·"
