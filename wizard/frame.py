"""What the wizard shows: steps at the left, questions beside them, the plan in sight."""

import gc
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import ContentSwitcher, Footer, Static

from fsft.wizard.draft import Draft, History
from fsft.wizard.facts import NO_MACHINE, Facts
from fsft.wizard.in_order import InOrderApp
from fsft.wizard.keys import BINDINGS
from fsft.wizard.outlook import Outlook, look
from fsft.wizard.questions import STEPS, Question, Step
from fsft.wizard.result import Result
from fsft.wizard.steps import PANES
from fsft.wizard.steps.step import StepPane
from fsft.wizard.theme import DARK, LIGHT, THEMES
from fsft.wizard.widgets.plan_pane import PlanPane
from fsft.wizard.widgets.sidebar import Sidebar
from fsft.wizard.widgets.text import set_text

SMALLEST = (80, 24)


class Frame(InOrderApp[Result]):
    """Draws what follows from the state of the wizard: a history of drafts, and facts."""

    CSS_PATH = "wizard.tcss"
    TITLE = "fsft wizard"
    # A step puts the focus itself; Textual would put it on the steps' list now and then.
    AUTO_FOCUS = None
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - as Textual declares it
        (0, "-narrow"),
        (118, "-wide"),
    ]
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012 - as Textual declares it
        (0, "-short"),
        (36, "-high"),
        (54, "-tall"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = BINDINGS

    # `_show` paints what changed; Textual would paint the whole screen for each answer.
    history: reactive[History] = reactive(History(Draft()), init=False, repaint=False)
    """All answers, and the way back."""
    facts: reactive[Facts] = reactive(Facts(NO_MACHINE), init=False, repaint=False)

    def __init__(self, draft: Draft, facts: Facts, theme: str) -> None:
        super().__init__()
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = THEMES[theme]
        self.set_reactive(Frame.history, History(draft))
        self.set_reactive(Frame.facts, facts)
        self.step: Step = "model"
        self._seen: frozenset[Step] = frozenset()
        self._question: Question | None = None
        self.outlook: Outlook = look(draft, facts)

    @property
    def draft(self) -> Draft:
        """The present answers."""
        return self.history.present

    def compose(self) -> ComposeResult:
        """The frame, and the first step; the others come when they are first gone to."""
        yield Static("", id="head")
        with Horizontal(id="body"):
            yield Sidebar()
            with ContentSwitcher(id="steps", initial="step-model"):
                yield PANES["model"](self._tell)
        yield Static("", id="help")
        yield PlanPane("", id="plan")
        yield Footer(compact=True)

    async def action_go(self, step: str) -> None:
        """To any step; one that was not shown before is made first."""
        target = next(known for known in STEPS if known == step)
        switcher = self.query_one("#steps", ContentSwitcher)
        if not switcher.query(f"#step-{target}"):
            await switcher.add_content(
                PANES[target](self._tell), id=f"step-{target}", set_current=False
            )
        self._seen |= {self.step}
        self.step = target
        switcher.current = f"step-{target}"
        self._show()
        self._pane(target).focus_first()
        self.call_after_refresh(gc.freeze)

    def watch_facts(self) -> None:
        """Show what follows from what became known."""
        self._show()

    def on_resize(self) -> None:
        """The plan moves beside or under the steps."""
        if self.is_running:
            self.call_after_refresh(self._show)

    def _tell(self, key: str, text: str) -> None:
        self._change(self.draft.answer(key, text), key)

    def _change(self, draft: Draft, key: str = "") -> None:
        self._travel(self.history.change(draft, key))

    def _travel(self, history: History, otherwise: str = "") -> None:
        if history is self.history and otherwise:
            self.clear_notifications()
            self.notify(otherwise, timeout=2)
            return
        self.history = history

    def _show(self) -> None:
        """Work everything out, and show what is in sight."""
        self.outlook = look(self.draft, self.facts)
        self._pane(self.step).show(self.outlook)
        self.query_one(Sidebar).show_steps(self.outlook, self.step, self._seen)
        self.query_one(PlanPane).show(self.outlook, is_wide=self.screen_stack[0].has_class("-wide"))
        self._show_head()
        self._show_help()

    def _show_head(self) -> None:
        out = self.outlook.answers["out"].text
        note = f"{self.size.width}×{self.size.height}; 80×24 shows more" if self._is_small() else ""
        state = "changed" if self.draft.answers else "as opened" if self.draft.opened else "new"
        set_text(
            self.query_one("#head", Static),
            Content.from_markup(
                "[bold $primary]fsft wizard[/]  [$warning]$note[/][dim]$state[/]  $out",
                out=out,
                state=state,
                note=note and f"{note}  ",
            ),
            resizes=False,
        )

    def _show_help(self) -> None:
        """What the question means, the forms that it takes, and why the default is what it is."""
        question = self._question
        if question is None:
            return
        answer = self.outlook.answers[question.key]
        forms = f"For example {question.forms}. " if question.forms else ""
        reason = f"Now {answer.origin}: {answer.reason}." if answer.reason else ""
        set_text(
            self.query_one("#help", Static),
            Content.from_markup("$x\n[dim]$y[/]", x=question.meaning, y=forms + reason),
            resizes=False,
        )

    def _is_small(self) -> bool:
        return self.size.width < SMALLEST[0] or self.size.height < SMALLEST[1]

    def _pane(self, step: Step) -> StepPane:
        return self.query_one(f"#step-{step}", StepPane)
