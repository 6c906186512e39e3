"""What the wizard knows besides the answers: this machine, and the data that was measured."""

from dataclasses import dataclass, field
from functools import lru_cache

from fsft.recipes.hardware.cluster import Cluster
from fsft.recipes.hardware.detect import Machine, detected_cluster
from fsft.recipes.planner.plan import Plan
from fsft.recipes.planner.remedies import Remedy
from fsft.wizard.looking import Files


@dataclass(frozen=True)
class Shown:
    """A sample as the model will see it: texts, and whether each is learned."""

    file: str
    num_tokens: int | None
    segments: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Quality:
    """What was noticed in the first samples of the data."""

    num_samples: int
    num_alike: int
    """Those that repeat an earlier one, nearly or exactly."""
    num_leaked: int
    """Evaluation samples that are in training too."""
    languages: tuple[tuple[str, float], ...]
    """The most frequent ones, and their shares."""
    hints: tuple[tuple[str, int], ...]
    """Kinds of personal data and secrets, and in how many samples."""


@dataclass(frozen=True)
class DataFacts:
    """What a look into the data files told. Tokens are those of all files together."""

    formats: tuple[tuple[str, str], ...] = ()
    """File and the shape of its rows."""
    num_rows: float = 0.0
    num_tokens: float = 0.0
    error: float = 0.0
    """Half the width, in tokens, of what 19 of 20 estimates would hold; 0 where all was counted."""
    num_sampled: int = 0
    """Rows that were read."""
    samples: tuple[Shown, ...] = ()
    quality: Quality | None = None
    """None where nobody has looked."""
    trouble: str = ""
    """Why tokens are not counted, or nothing is known at all; empty where all went well."""


@dataclass(frozen=True)
class Facts:
    """Everything that is not an answer."""

    machine: Machine
    data: DataFacts | None = None
    """None while nothing was measured for the present answers."""
    measuring: bool = False
    existing: frozenset[str] = field(default_factory=frozenset)
    """Files that stand where a recipe could be written."""
    helpful: tuple[Plan, tuple[Remedy, ...]] | None = field(default=None, hash=False)
    """A plan that nothing fits, and what would; None while nobody has looked."""
    files: Files = field(default_factory=Files, compare=False, repr=False)
    """What the files are like that a recipe names."""


NO_MACHINE = Machine((), 0, 0.0, 0.0)
"""Before anybody has looked."""


@lru_cache(maxsize=64)
def found_cluster(kind: str, machine: Machine) -> Cluster | None:
    """The machine as a cluster, None where it has no such device; raises RecipeError."""
    return detected_cluster(kind, machine)
