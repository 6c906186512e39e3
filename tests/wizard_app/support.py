"""A wizard without a terminal, and a person who uses it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from textual._xterm_parser import XTermParser
from textual.events import Key
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.widgets import Input

from fsft.recipes.hardware.detect import Device, Machine
from fsft.recipes.schema import Recipe
from fsft.wizard.app import Measure, WizardApp
from fsft.wizard.draft import Draft
from fsft.wizard.facts import DataFacts, Facts
from fsft.wizard.questions import Step
from fsft.wizard.result import Result
from fsft.wizard.widgets.choice import Choice
from fsft.wizard.widgets.field import Field
from fsft.wizard.widgets.sidebar import Sidebar

MACHINE = Machine((Device("NVIDIA H100 80GB HBM3", 85e9),) * 8, 64, 1e12, 1e13)
FOUND = DataFacts((("mine.jsonl", "messages"),), num_rows=1000, num_tokens=200_000)


async def measure(_recipe: Recipe, _folder: Path) -> DataFacts:
    """A look into the data that takes no time."""
    return FOUND


def wizard(
    draft: Draft | None = None,
    *,
    machine: Machine = MACHINE,
    existing: frozenset[str] = frozenset(),
    measure: Measure = measure,
) -> WizardApp:
    """A wizard for a machine that is not here, and for data that nobody reads."""
    return WizardApp(draft or Draft(), Facts(machine, existing=existing), measure=measure)


@dataclass(frozen=True)
class Person:
    """Presses keys, and looks at what they did."""

    app: WizardApp
    pilot: Pilot[Result]

    async def press(self, *keys: str) -> None:
        """One key after the other, each when the one before has had its effect."""
        for key in keys:
            self.strike(key)
            await self.settle(0)
        await self.pilot.pause()

    async def hurry(self, *keys: str) -> None:
        """All keys at once, faster than the wizard can follow."""
        for key in keys:
            self.strike(key)
        await self.settle()

    async def send(self, text: str) -> None:
        """What a terminal sends for some keys, all at once."""
        parser = XTermParser()
        for event in [*parser.feed(text), *parser.feed("")]:
            self.app.post_message(event)
        await self.settle()

    def strike(self, key: str) -> None:
        """One key, without waiting for anything."""
        name = _character_to_key(key) if len(key) == 1 and not key.isalnum() else key
        self.app.post_message(Key(name, key if len(key) == 1 else None))

    async def settle(self, seconds: float = 0.05) -> None:
        """Wait for keys that wait for their turn, and for what comes of itself."""
        await self.pilot.pause()
        while self.app._is_waiting and not self.app._exit:
            await self.pilot.pause()
        await self.pilot.pause(seconds)

    async def answer(self, key: str, text: str) -> None:
        """Go to a field of the present step, and type over what stands there."""
        self.field(key).focus_control()
        await self.pilot.pause()
        await self.hurry(*text)

    def field(self, key: str) -> Field:
        """A question's field."""
        return self.app.screen_stack[0].query_one(f"#field-{key.replace('.', '-')}", Field)

    def shown(self, key: str) -> str:
        """The answer that a field shows."""
        field = self.field(key)
        if field.question.choices:
            return field.query_one(Choice).value
        return field.query_one(Input).value

    def problem(self, key: str) -> str:
        """What a field says is wrong with its answer."""
        field = self.field(key)
        return str(field.query_one(".problem").render()) if field.has_class("-wrong") else ""

    @property
    def focused(self) -> str:
        """The question that has the focus, or the widget's name."""
        widget = self.app.focused
        for node in widget.ancestors_with_self if widget else ():
            if isinstance(node, Field):
                return node.question.key
        return widget.id or "" if widget else ""

    @property
    def step(self) -> Step:
        """The step that is in sight."""
        pane = cast("str", self.app.screen_stack[0].query_one("#steps").current)  # type: ignore[attr-defined]
        assert pane == f"step-{self.app.step}"
        return self.app.step

    def mark(self, number: int) -> str:
        """The sign that the sidebar shows for a step."""
        lines = self.app.screen_stack[0].query_one(Sidebar).lines
        return lines[number - 1].plain[-1]

    def screen(self) -> str:
        """All text in sight."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    @property
    def told(self) -> str:
        """What popped up."""
        return "\n".join(f"{note.title} {note.message}" for note in self.app._notifications)


Deeds = Callable[[Person], Awaitable[None]]


def use(deeds: Deeds, app: WizardApp | None = None, size: tuple[int, int] = (80, 24)) -> WizardApp:
    """Let a person use a wizard; returns it when it has ended."""
    app = app or wizard()

    async def session() -> None:
        async with app.run_test(size=size, notifications=True) as pilot:
            # A person looks before typing; on a busy machine the first paint takes its time.
            await pilot.pause(0.3)
            await deeds(Person(app, pilot))

    asyncio.run(session())
    return app
