"""The stages of a run, and which part of the recipe each one depends on."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

from fsft.recipes.schema import Data

Stage = Literal["prepare", "train", "convert", "evaluate", "report"]
STAGES: tuple[Stage, ...] = get_args(Stage)

NO_MATTER = ("engine", "spark_master", "workers")
"""Keys of [data] that say where the work is done, and change nothing in what comes out."""
ONLY_TRAINING = "group_by_length"

RECIPE_KEYS: dict[Stage, tuple[str, ...]] = {
    "prepare": (
        *(f"data.{name}" for name in Data.model_fields if name not in (*NO_MATTER, ONLY_TRAINING)),
        "model.path",
        "model.revision",
    ),
    "train": (
        "seed",
        f"data.{ONLY_TRAINING}",
        "model",
        "hardware.accelerator",
        "budget",
        "method",
        "optimizer",
    ),
    "convert": ("convert",),
    "evaluate": ("evaluate",),
    "report": ("name", "description"),
}
"""The keys that a stage reads, besides what the stages before it made."""

GLOBAL_BATCH_KEYS = (
    "hardware.nodes",
    "hardware.devices_per_node",
    "parallel.global_batch",
    "parallel.micro_batch",
    "parallel.gradient_accumulation",
    "parallel.tensor",
    "parallel.pipeline",
    "parallel.sequence",
)
"""Of how the work is spread, training depends on the rows of a step alone, which follow from these.

The rest changes nothing in the model: a run goes on with another ZeRO stage.
"""


def recipe_part(stage: Stage, document: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a recipe document that `stage` depends on, keyed by dotted key."""
    return {key: _lookup(document, key) for key in RECIPE_KEYS[stage]}


EVAL_DATA = "data.eval"
"""Read by prepare, and of no matter to training."""


def stages_that_read(key: str) -> Iterator[Stage]:
    """The stages to be done again when the value of a dotted recipe key changes, in order."""
    if _covers(EVAL_DATA, key):
        yield from ("prepare", "evaluate", "report")
        return
    if key in GLOBAL_BATCH_KEYS:
        yield from STAGES[STAGES.index("train") :]
        return
    reads = [any(_covers(part, key) for part in RECIPE_KEYS[stage]) for stage in STAGES]
    if True in reads:
        yield from STAGES[reads.index(True) :]


def _covers(part: str, key: str) -> bool:
    return key == part or key.startswith(part + ".")


def _lookup(document: Mapping[str, Any], key: str) -> Any:
    value: Any = document
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
