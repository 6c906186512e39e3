"""What a person left the wizard with."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """What a person left the wizard with."""

    path: Path | None = None
    """The recipe that was written."""
    text: str = ""
    """The recipe, where it goes to the output."""
    run: bool = False
    """It shall be run at once."""
