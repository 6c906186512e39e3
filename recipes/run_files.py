"""Where a run keeps its things."""

from dataclasses import dataclass
from pathlib import Path

IMAGE_HASHES = "image_hashes.bin"
"""In the data folder, where samples have images."""


@dataclass(frozen=True)
class RunFiles:
    """The paths of one run; a stage writes only its own."""

    path: Path

    @property
    def recipe_file(self) -> Path:
        """The recipe that is run: overrides applied, defaults and absolute paths written out."""
        return self.path / "recipe.toml"

    @property
    def lock_file(self) -> Path:
        """What the recipe leaves open, pinned."""
        return self.path / "recipe.lock.toml"

    @property
    def events_file(self) -> Path:
        """What happened, one JSON object a line (fsft.recipes.events)."""
        return self.path / "events.jsonl"

    @property
    def logs(self) -> Path:
        """One log file for each process."""
        return self.path / "logs"

    @property
    def data(self) -> Path:
        """What prepare made: token ids, tokenizer, info.json."""
        return self.path / "data"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer with its chat template."""
        return self.data / "tokenizer"

    @property
    def data_info(self) -> Path:
        """Counts of what was read, used and left out."""
        return self.data / "info.json"

    @property
    def checkpoints(self) -> Path:
        """What train saves to go on from."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """The trained model in Hugging Face format."""
        return self.path / "model"

    @property
    def evaluation(self) -> Path:
        """The results of the evaluate stage."""
        return self.path / "evaluate" / "results.json"

    @property
    def report(self) -> Path:
        """report.json, report.md, report.html and the loss curve."""
        return self.path / "report"

    @property
    def stop_file(self) -> Path:
        """Training saves and stops at the next step when this file exists."""
        return self.path / "stop"

    @property
    def signs(self) -> Path:
        """While training: a file for each machine and process, by which they know of each other."""
        return self.path / "signs"

    @property
    def lock(self) -> Path:
        """Held by the process that does the run, which writes its number into it."""
        return self.path / ".lock"
