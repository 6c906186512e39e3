"""What the keys and the command palette do, and going from step to step."""

from collections.abc import Iterable
from functools import partial

from textual.app import SystemCommand
from textual.screen import Screen

from fsft.wizard.draft import Draft
from fsft.wizard.help import HELP
from fsft.wizard.keys import ON_THE_STEPS
from fsft.wizard.questions import STEPS, TITLES
from fsft.wizard.saving import run_command
from fsft.wizard.screens.arithmetic import arithmetic
from fsft.wizard.screens.confirm import Confirm
from fsft.wizard.screens.text import TextScreen
from fsft.wizard.writing import Writing


class Actions(Writing):
    """Does what a person asks for by a key; the keys themselves are in `keys`."""

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

    def action_undo(self) -> None:
        """One answer back."""
        self.soon(lambda: self._travel(self.history.undo(), "nothing to undo"))

    def action_redo(self) -> None:
        """One answer forward again."""
        self.soon(lambda: self._travel(self.history.redo(), "nothing to redo"))

    def action_reset(self) -> None:
        """The default of the question that has the focus."""
        self.soon(self._reset)

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

    def _reset(self) -> None:
        if self._question:
            self._change(self.draft.answer(self._question.key, ""))
