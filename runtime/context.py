"""What a stage is given to work with."""

from collections.abc import Sequence
from dataclasses import dataclass

from fsft.recipes.events import StageProgress, Warned
from fsft.recipes.schema import Recipe
from fsft.recipes.stages import Stage
from fsft.runtime.event_log import EventLog
from fsft.runtime.fingerprints import Input
from fsft.runtime.launch.options import LOCAL, Launching
from fsft.runtime.run_directory import RunDirectory


@dataclass(frozen=True)
class StageContext:
    """The recipe, the run directory, and a way to tell how it goes."""

    stage: Stage
    recipe: Recipe
    """Paths in it are absolute."""
    run: RunDirectory
    events: EventLog
    fingerprint: str
    """Of the recipe's part and the inputs that the stage depends on."""
    launching: Launching = LOCAL
    inputs: Sequence[Input] = ()
    """The files of the fingerprint, when they were hashed; empty where nobody asks for that."""

    def progress(self, task: str, done: int, total: int) -> None:
        """Tell how far the stage has come; total 0 when that is not known."""
        self.events.write(StageProgress(stage=self.stage, task=task, done=done, total=total))

    def warn(self, message: str) -> None:
        """Tell a person something that does not stop the run."""
        self.events.write(Warned(message=message))
