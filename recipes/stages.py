"""The stages of a run, and which part of the recipe each one depends on."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

from fsft.recipes.schema import Data, Evaluate, Recipe

Stage = Literal["prepare", "train", "convert", "evaluate", "report"]
STAGES: tuple[Stage, ...] = get_args(Stage)

NO_MATTER = ("engine", "spark_master", "workers")
"""Keys of [data] that say where the work is done, and change nothing in what comes out."""
ONLY_TRAINING = "group_by_length"
DURING_TRAINING = ("every", "patience")
"""Keys of [evaluate] about the eval loss while training."""

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
    "evaluate": tuple(
        f"evaluate.{name}" for name in Evaluate.model_fields if name not in DURING_TRAINING
    ),
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
"""Read by prepare, and of no matter to training that is not led by it."""

LED_BY_EVAL = ("checkpoint.keep_best", "evaluate.patience")
"""Keys by which the eval loss decides what is kept, or when training ends."""
EVAL_TIMES = ("checkpoint.every", "evaluate.every")


def is_led_by_eval(recipe: Recipe) -> bool:
    """Whether other eval data, or another time to look, may make another model."""
    return recipe.checkpoint.keep_best or recipe.evaluate.patience is not None


def leading_part(recipe: Recipe) -> list[Any]:
    """What training depends on besides its keys where it is led by the eval loss; else nothing."""
    if not is_led_by_eval(recipe):
        return []
    times = recipe.evaluate.every or recipe.checkpoint.every
    return [recipe.checkpoint.keep_best, recipe.evaluate.patience, times]


def stages_that_read(key: str, *, led_by_eval: bool = False) -> Iterator[Stage]:
    """The stages to be done again when the value of a dotted recipe key changes, in order.

    `led_by_eval`: as is_led_by_eval says of the recipe.
    """
    if _covers(EVAL_DATA, key) and not led_by_eval:
        yield from ("prepare", "evaluate", "report")
        return
    if key in (*GLOBAL_BATCH_KEYS, *LED_BY_EVAL) or (led_by_eval and key in EVAL_TIMES):
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
