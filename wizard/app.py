"""The wizard in a terminal: steps at the left, questions beside them, the plan in sight."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult, SystemCommand
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.reactive import reactive
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import ContentSwitcher, Footer, Static

from fsft.recipes.problems import RecipeError
from fsft.recipes.schema import Recipe
from fsft.wizard import autosave
from fsft.wizard.draft import Draft, History
from fsft.wizard.facts import NO_MACHINE, DataFacts, Facts
from fsft.wizard.help import HELP
from fsft.wizard.in_order import InOrderApp
from fsft.wizard.keys import BINDINGS, ON_THE_STEPS
from fsft.wizard.measuring import data_key, measure_data
from fsft.wizard.outlook import Outlook, look
from fsft.wizard.questions import STEPS, TITLES, Question, Step
from fsft.wizard.saving import STDOUT, Standing, difference, run_command, save
from fsft.wizard.screens.arithmetic import arithmetic
from fsft.wizard.screens.confirm import Confirm
from fsft.wizard.screens.done import Done
from fsft.wizard.screens.text import TextScreen
from fsft.wizard.steps import PANES
from fsft.wizard.steps.step import StepPane
from fsft.wizard.theme import DARK, LIGHT, THEMES
from fsft.wizard.widgets.field import Field
from fsft.wizard.widgets.lines import Rows
from fsft.wizard.widgets.lookup import Lookup
from fsft.wizard.widgets.plan_pane import PlanPane
from fsft.wizard.widgets.sidebar import Sidebar
from fsft.wizard.widgets.text import set_text

SMALLEST = (80, 24)
KEEP_SECONDS = 0.2
"""How long typing pauses before the draft is written down."""
MEASURE_SECONDS = 0.4
"""How long typing pauses before the data is looked at."""

Measure = Callable[[Recipe, Path], Awaitable[DataFacts]]


@dataclass(frozen=True)
class Result:
    """What a person left the wizard with."""

    path: Path | None = None
    """The recipe that was written."""
    text: str = ""
    """The recipe, where it goes to the output."""
    run: bool = False
    """It shall be run at once."""


class WizardApp(InOrderApp[Result]):
    """Asks, shows, and writes a recipe. All state is a history of drafts, and facts."""

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

    history: reactive[History] = reactive(History(Draft()), init=False)
    """All answers, and the way back."""
    facts: reactive[Facts] = reactive(Facts(NO_MACHINE), init=False)

    def __init__(
        self,
        draft: Draft,
        facts: Facts,
        *,
        theme: str = "dark",
        notice: str = "",
        measure: Measure = measure_data,
    ) -> None:
        super().__init__()
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = THEMES[theme]
        self.set_reactive(WizardApp.history, History(draft))
        self.set_reactive(WizardApp.facts, facts)
        self.step: Step = "model"
        self._measure = measure
        self._measured_key = ""
        self._notice = notice
        self._seen: frozenset[Step] = frozenset()
        self._question: Question | None = None
        self._keep_timer: Timer | None = None
        self._measure_timer: Timer | None = None
        self._written: Result | None = None
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
                yield PANES["model"]()
        yield Static("", id="help")
        yield PlanPane("", id="plan")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Show the first step, and begin to look at the data."""
        self._show()
        self._pane("model").focus_first()
        # A click that comes before there is anything to click at takes the focus away.
        self.call_after_refresh(self._focus_something)
        # What is loaded by now stays; looking through it again and again would make typing stutter.
        self.call_after_refresh(gc.freeze)
        self._measure_later()
        # Killed from elsewhere, the terminal still has to be put back as it was. Where no signals
        # can be heard (Windows, another thread) there is nothing that could be done instead.
        with suppress(NotImplementedError, RuntimeError):
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
                asyncio.get_running_loop().add_signal_handler(number, self._end)
        if self._notice:
            self.notify(self._notice, timeout=8)

    def _focus_something(self) -> None:
        if self.focused is None:
            self._pane(self.step).focus_first()

    # What a person does

    @on(Field.Answered)
    def _answered(self, event: Field.Answered) -> None:
        self._change(self.draft.answer(event.key, event.text), event.key)

    @on(Lookup.Named)
    def _picked_name(self, event: Lookup.Named) -> None:
        self._change(self.draft.answer(event.key, event.name))
        self.query_one(f"#field-{event.key.replace('.', '-')}", Field).focus_control()

    @on(StepPane.Picked)
    def _picked_row(self, event: StepPane.Picked) -> None:
        draft = self.draft
        for key, text in event.answers.items():
            draft = draft.answer(key, text)
        self._change(draft)

    @on(Field.Accepted)
    async def _accepted(self) -> None:
        await self.action_next()

    @on(Field.Entered)
    def _entered(self, event: Field.Entered) -> None:
        self._question = event.question
        self._show_help()

    @on(Rows.Picked, "#sidebar")
    async def _step_chosen(self, event: Rows.Picked) -> None:
        await self.action_go(STEPS[event.index])

    async def action_next(self) -> None:
        """Accept the step; after the last one, write the recipe."""
        index = STEPS.index(self.step)
        if index + 1 == len(STEPS):
            await self._write(run=False)
        else:
            await self.action_go(STEPS[index + 1])

    async def action_previous(self) -> None:
        """To the step before."""
        index = STEPS.index(self.step)
        if index:
            await self.action_go(STEPS[index - 1])

    async def action_go(self, step: str) -> None:
        """To any step; one that was not shown before is made first."""
        target = next(known for known in STEPS if known == step)
        switcher = self.query_one("#steps", ContentSwitcher)
        if not switcher.query(f"#step-{target}"):
            await switcher.add_content(PANES[target](), id=f"step-{target}", set_current=False)
        self._seen |= {self.step}
        self.step = target
        switcher.current = f"step-{target}"
        self._show()
        self._pane(target).focus_first()
        self.call_after_refresh(gc.freeze)

    def action_undo(self) -> None:
        """One answer back."""
        self._travel(self.history.undo(), "nothing to undo")

    def action_redo(self) -> None:
        """One answer forward again."""
        self._travel(self.history.redo(), "nothing to redo")

    def action_reset(self) -> None:
        """The default of the question that has the focus."""
        if self._question:
            self._change(self.draft.answer(self._question.key, ""))

    def action_start_over(self) -> None:
        """Forget all answers; undo brings them back."""

        def answered(yes: bool | None) -> None:
            if yes:
                self._change(Draft(opened=self.draft.opened))

        self.push_screen(Confirm("Forget all answers?", "Start over"), answered)

    def action_help(self) -> None:
        """Keys and signs."""
        self.push_screen(TextScreen("fsft wizard", HELP))

    def action_arithmetic(self) -> None:
        """The formulas with their numbers, and what was assumed."""
        self.push_screen(TextScreen("How the plan comes about", arithmetic(self.outlook)))

    def action_copy_recipe(self) -> None:
        """Put the recipe onto the clipboard."""
        if self.outlook.recipe:
            self.copy_to_clipboard(self.outlook.text)
            self.notify("The recipe is on the clipboard, if your terminal allows that.")

    def action_copy_command(self) -> None:
        """Put the command that runs the recipe onto the clipboard."""
        command = run_command(self.outlook.answers["out"].text)
        self.copy_to_clipboard(command)
        self.notify(f"On the clipboard: {command}")

    def action_write(self) -> None:
        """Write the recipe, and say what comes next."""
        self.soon(partial(self._write, run=False))

    def action_run(self) -> None:
        """Write the recipe and run it."""
        self.soon(partial(self._write, run=True))

    def action_leave(self) -> None:
        """Leave; what was not written is kept as a draft."""
        self.soon(self._leave)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys do nothing to the wizard while another screen stands before it."""
        if action in ON_THE_STEPS and len(self.screen_stack) > 1:
            return None
        return super().check_action(action, parameters)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What the command palette offers."""
        yield SystemCommand("Start over", "Forget all answers", self.action_start_over)
        yield SystemCommand("Write the recipe", "Ctrl+S", self.action_write)
        yield SystemCommand("Write and run", "F6", self.action_run)
        for number, step in enumerate(STEPS, start=1):
            name = f"Step {number}, {TITLES[step]}"
            yield SystemCommand(name, f"Alt+{number}", partial(self.action_go, step))
        yield from super().get_system_commands(screen)

    # What follows from it

    def _change(self, draft: Draft, key: str = "") -> None:
        self._travel(self.history.change(draft, key))

    def _travel(self, history: History, otherwise: str = "") -> None:
        if history is self.history and otherwise:
            self.clear_notifications()
            self.notify(otherwise, timeout=2)
            return
        self.history = history

    def watch_history(self) -> None:
        """Show what follows from the answers; keep them, and look at the data, a little later."""
        self._show()
        if self._keep_timer:
            self._keep_timer.stop()
        self._keep_timer = self.set_timer(KEEP_SECONDS, self._keep)
        self._measure_later()

    def watch_facts(self) -> None:
        """Show what follows from what became known."""
        self._show()

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

    def on_resize(self) -> None:
        """The plan moves beside or under the steps."""
        if self.is_running:
            self.call_after_refresh(self._show)

    def _pane(self, step: Step) -> StepPane:
        return self.query_one(f"#step-{step}", StepPane)

    def _keep(self) -> None:
        if self.history.is_untouched:
            return
        try:
            autosave.keep(self.draft)
        except OSError as error:
            self.notify(f"The draft cannot be kept: {error.strerror}.", severity="warning")

    def _measure_later(self) -> None:
        """Look at the data again where what it depends on has changed."""
        usable = self.outlook.usable
        key = data_key(usable) if usable else ""
        if key == self._measured_key or usable is None:
            return
        self._measured_key = key
        self.facts = replace(self.facts, data=None, measuring=True)
        if self._measure_timer:
            self._measure_timer.stop()
        self._measure_timer = self.set_timer(MEASURE_SECONDS, lambda: self._measure_now(usable))

    @work(exclusive=True, group="measure")
    async def _measure_now(self, recipe: Recipe) -> None:
        data = await self._measure(recipe, self.draft.folder)
        self.facts = replace(self.facts, data=data, measuring=False)

    def _leave(self) -> None:
        if self._written is None:
            self._keep()
        self.exit(self._written or Result())

    def _end(self) -> None:
        self._keep()
        self.exit()

    async def _write(self, *, run: bool) -> None:
        if len(self.screen_stack) > 1:
            return
        outlook = self.outlook
        if outlook.recipe is None:
            step = outlook.first_trouble or "review"
            self.notify(
                "\n".join(map(str, outlook.all_problems[:3])),
                title="Not yet: some answers have a problem",
                severity="error",
            )
            await self.action_go(step)
            return
        out = outlook.answers["out"].text
        if out == STDOUT:
            self._finish(Result(text=outlook.text, run=run))
            return
        self._save(out, run=run, overwrite=False)

    def _save(self, out: str, *, run: bool, overwrite: bool) -> None:
        text = self.outlook.text
        try:
            path = save(self.draft, out, text, overwrite=overwrite)
        except Standing as standing:
            (problem,) = standing.problems
            lines = difference(self.draft, out, text)

            def answered(yes: bool | None) -> None:
                if yes:
                    self._save(out, run=run, overwrite=True)

            self.push_screen(
                Confirm(f"{problem} Write over it?", "Write over", "\n".join(lines)), answered
            )
        except RecipeError as error:
            self.notify(str(error), title="Not written", severity="error")
        else:
            self._finish(Result(path, run=run))

    def _finish(self, result: Result) -> None:
        """What was written needs no draft any more."""
        self._written = result
        if self._keep_timer:
            self._keep_timer.stop()
        try:
            # Another wizard in the same place may have kept its own meanwhile.
            if autosave.is_kept(self.draft):
                autosave.forget(self.draft.opened)
        except OSError as error:
            self.notify(f"The draft stays: {error.strerror}.", severity="warning")
        if result.run or result.path is None:
            self.exit(result)
            return

        def left(run: bool | None) -> None:
            self.exit(replace(result, run=bool(run)))

        self.push_screen(Done(result.path), left)
