"""What the wizard writes down: the draft while a person answers, and in the end the recipe."""

from dataclasses import replace

from textual.timer import Timer

from fsft.recipes.problems import RecipeError
from fsft.wizard import autosave
from fsft.wizard.draft import Draft
from fsft.wizard.facts import Facts
from fsft.wizard.frame import Frame
from fsft.wizard.result import Result
from fsft.wizard.saving import STDOUT, Standing, difference, save
from fsft.wizard.screens.confirm import Confirm
from fsft.wizard.screens.done import Done

KEEP_SECONDS = 0.2
"""How long typing pauses before the draft is written down."""


class Writing(Frame):
    """Keeps the draft; writes the recipe, and leaves with it."""

    def __init__(self, draft: Draft, facts: Facts, theme: str) -> None:
        super().__init__(draft, facts, theme)
        self._keep_timer: Timer | None = None
        self._written: Result | None = None

    def _keep_later(self) -> None:
        if self._keep_timer:
            self._keep_timer.stop()
        self._keep_timer = self.set_timer(KEEP_SECONDS, self._keep)

    def _keep(self) -> None:
        if self.history.is_untouched:
            return
        try:
            autosave.keep(self.draft)
        except OSError as error:
            self.notify(f"The draft cannot be kept: {error.strerror}.", severity="warning")

    def _leave(self) -> None:
        if self._written is None:
            self._keep()
        self.exit(self._written or Result())

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
