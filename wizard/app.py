"""The wizard in a terminal: it listens to a person, to the data and to the system."""

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from textual import on, work
from textual.timer import Timer

from fsft.recipes.planner.plan import Plan
from fsft.recipes.schema import Recipe
from fsft.wizard.actions import Actions
from fsft.wizard.draft import Draft
from fsft.wizard.facts import DataFacts, Facts
from fsft.wizard.measuring import data_key, measure_data
from fsft.wizard.questions import STEPS
from fsft.wizard.steps.step import StepPane
from fsft.wizard.widgets.field import Field
from fsft.wizard.widgets.lines import Rows
from fsft.wizard.widgets.lookup import Lookup

MEASURE_SECONDS = 0.4
"""How long typing pauses before the data is looked at."""

REMEDY_SECONDS = 0.2
"""How long typing pauses before it is looked for what would fit, where nothing does."""
ALONE_SECONDS = 1.0
"""How often it is looked whether the browser's server is still there."""
LAST_SECONDS = 3.0
"""The longest that an end from outside may take."""

Measure = Callable[[Recipe, Path], Awaitable[DataFacts]]


class WizardApp(Actions):
    """Asks, shows, and writes a recipe. All state is a history of drafts, and facts."""

    def __init__(
        self,
        draft: Draft,
        facts: Facts,
        *,
        theme: str = "dark",
        notice: str = "",
        measure: Measure = measure_data,
    ) -> None:
        super().__init__(draft, facts, theme)
        self._measure = measure
        self._measured_key = ""
        self._measure_timer: Timer | None = None
        self._helpless: Plan | None = None
        self._remedy_timer: Timer | None = None
        self._notice = notice
        self._server = os.getppid()

    def on_mount(self) -> None:
        """Show the first step, and begin to look at the data."""
        self._show()
        self._pane("model").focus_first()
        # A click that comes before there is anything to click at takes the focus away.
        self.call_after_refresh(self._focus_something)
        # What is loaded by now stays; looking through it again and again would make typing stutter.
        self.call_after_refresh(gc.freeze)
        self._measure_later()
        self._help_later()
        # Killed from elsewhere, the terminal still has to be put back as it was. Where no signals
        # can be heard (Windows, another thread) there is nothing that could be done instead.
        with suppress(NotImplementedError, RuntimeError):
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
                asyncio.get_running_loop().add_signal_handler(number, self._end)
        if self.is_web:
            self.set_interval(ALONE_SECONDS, self._end_alone)
        if self._notice:
            self.notify(self._notice, timeout=8)

    def _focus_something(self) -> None:
        if self.focused is None:
            self._pane(self.step).focus_first()

    # What a person does

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

    # What becomes known

    def watch_history(self) -> None:
        """Show what follows from the answers; keep them, and look at the data, a little later."""
        self._show()
        self._keep_later()
        self._measure_later()
        self._help_later()

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

    def _help_later(self) -> None:
        """Look for what would fit where nothing does: it takes longer than a key may."""
        plan = self.outlook.planning.plan
        if plan is self._helpless:
            return
        self._helpless = plan
        if self._remedy_timer:
            self._remedy_timer.stop()
        if plan and plan.best is None:
            self._remedy_timer = self.set_timer(REMEDY_SECONDS, lambda: self._help_now(plan))

    @work(exclusive=True, group="remedies")
    async def _help_now(self, plan: Plan) -> None:
        remedies = await asyncio.to_thread(lambda: plan.remedies)
        self.facts = replace(self.facts, helpful=(plan, remedies))

    # How it ends from outside

    def _end(self) -> None:
        self._keep()
        self.exit()
        # Where the terminal itself is gone, Textual waits for it for ever.
        last_resort = threading.Timer(LAST_SECONDS, os._exit, [1])
        last_resort.daemon = True
        last_resort.start()

    def _end_alone(self) -> None:
        """In a browser: where the server of the page was killed, nothing else tells of it."""
        if os.getppid() != self._server:
            self._end()
