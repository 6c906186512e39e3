"""What is answered where a person says nothing, where it comes from, and why."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from fsft.recipes.files import read_recipe
from fsft.recipes.hardware.accelerators import Accelerator, find_accelerator
from fsft.recipes.hardware.cluster import Cluster
from fsft.recipes.models.from_config import load_shape
from fsft.recipes.models.shape import ModelShape
from fsft.recipes.planner.plan import SEQUENCES
from fsft.recipes.problems import RecipeError
from fsft.recipes.schema import to_document
from fsft.recipes.shipped import LIBRARY_PREFIX, find_recipe
from fsft.recipes.wording import field_at
from fsft.wizard.document import value_at
from fsft.wizard.facts import Facts, found_cluster
from fsft.wizard.questions import FROM_CONFIG, QUICKSTART

Origin = Literal["you", "recipe", "detected", "computed", "preset", "default"]


class Default(NamedTuple):
    """A value that nobody has given; None means that the key is not set."""

    value: Any
    origin: Origin
    reason: str = ""


class Given(NamedTuple):
    """What a default may depend on: the values so far, and the facts."""

    values: Mapping[str, Any]
    facts: Facts
    folder: Path


def default_of(key: str, given: Given) -> Default:
    """The value of `key` that goes best with what is known already."""
    if given.values.get("model.path") == QUICKSTART and key in _QUICKSTART_KEYS:
        return Default(value_at(quickstart(), key), "preset", "as in the quickstart")
    if rule := _RULES.get(key):
        return rule(given)
    return schema_default(key)


def schema_default(key: str) -> Default:
    """What `fsft run` takes where a recipe does not say."""
    field = field_at(list(key.split(".")))
    is_open = field is None or field.is_required()
    return Default(None if is_open or field is None else field.get_default(), "default")


@lru_cache(maxsize=1)
def quickstart() -> dict[str, Any]:
    """The shipped recipe of a small model made from nothing, as plain values."""
    return to_document(read_recipe(find_recipe(QUICKSTART)))


@lru_cache(maxsize=1)
def shipped_data() -> str:
    """The data that ships with fsft, as it is typed."""
    return ", ".join(source["path"] for source in quickstart()["data"]["train"])


def beside(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keys that nobody is asked for and that follow from the answers."""
    keys: dict[str, Any] = {"schema": 1, "parallel.gradient_accumulation": "auto"}
    model, train = values.get("model.path"), values.get("data.train")
    if model == QUICKSTART:
        keys |= {
            "model.path": None,
            "model.config": quickstart()["model"]["config"],
            "data.tokenizer": quickstart()["data"]["tokenizer"],
            "convert.dtype": quickstart()["convert"]["dtype"],
        }
    rows = train if isinstance(train, list) else []
    if any(str(value_at(row, "path")).startswith(LIBRARY_PREFIX) for row in rows):
        keys["data.variables"] = quickstart()["data"]["variables"]
    if values.get("checkpoint.keep_best") is True:
        keys["convert.checkpoint"] = "best"
    return keys


def shape_of_answer(model: Any, folder: Path) -> ModelShape | None:
    """The shape of the model that is answered; None where nothing is known of it."""
    if model in {None, QUICKSTART, FROM_CONFIG}:
        return None
    place = folder / str(model)
    try:
        return load_shape(place if place.is_dir() else str(model))
    except (RecipeError, OSError, ValueError):
        return None


def _dtype(given: Given) -> Default:
    device = _device(given)
    if device is None:
        return Default("bfloat16", "default")
    if device.name == "cpu":
        return Default("float32", "computed", "a processor is fastest with it")
    if not device.native_bfloat16:
        return Default("float32", "computed", f"{device.name} has no bfloat16 of its own")
    return Default("bfloat16", "default", "half the memory of float32, and as stable")


def _train(_given: Given) -> Default:
    return Default(
        [{"path": path} for path in shipped_data().split(", ")],
        "preset",
        "small, ships with fsft, to try it out",
    )


def _sequence_length(given: Given) -> Default:
    usual: int = schema_default("data.sequence_length").value
    shape = shape_of_answer(given.values.get("model.path"), given.folder)
    if shape and shape.max_positions and shape.max_positions < usual:
        return Default(shape.max_positions, "computed", "the longest that the model was made for")
    return Default(usual, "default", "enough for most dialogues; the longer, the more memory")


def _accelerator(given: Given) -> Default:
    devices = given.facts.machine.devices
    if devices:
        return Default("auto", "detected", f"{len(devices)} × {devices[0].name} here")
    return Default("auto", "detected", "no GPU here; name any to plan for it")


def _devices(given: Given) -> Default:
    accelerator = given.values.get("hardware.accelerator")
    if accelerator in {"auto", "cuda", "cpu"}:
        return Default("auto", "detected", "all that there are; two processes on a processor")
    return Default(8, "preset", "the usual number in one machine")


def _learning_rate(given: Given) -> Default:
    if given.values.get("model.init") == "random":
        return Default(3e-4, "preset", "usual for training from nothing")
    return Default(1e-5, "preset", "usual for training all weights")


def _global_batch(given: Given) -> Default:
    devices = _num_devices(given)
    if given.values.get("model.path") == QUICKSTART:
        batch = 2 * devices
        return Default(batch, "computed", f"2 rows for each of {devices}, as in the quickstart")
    if devices >= SEQUENCES:
        return Default(devices, "computed", "one row for each device")
    batch = -(-SEQUENCES // devices) * devices
    return Default(batch, "computed", f"a multiple of the {devices} devices, and enough to learn")


def _planned(given: Given, otherwise: Any) -> Default:
    model = given.values.get("model.path")
    if model in {QUICKSTART, FROM_CONFIG} or shape_of_answer(model, given.folder):
        return Default("auto", "default", "the fastest that fits, chosen when the run starts")
    return Default(otherwise, "preset", "the planner does not know this model")


def _sequence(given: Given) -> Default:
    if given.values.get("model.attention") == "flex_attention":
        return Default(1, "computed", "flex_attention makes its masks for whole rows")
    return _planned(given, 1)


def _split(given: Given) -> Default:
    if given.values.get("data.eval"):
        return Default("eval", "computed", "there is data that is not learned")
    return Default("train", "default")


def _name(given: Given) -> Default:
    model = str(given.values.get("model.path") or "")
    train = given.values.get("data.train") or []
    parts = [Path(model).name or "model"]
    if train and not str(train[0].get("path", "")).startswith(LIBRARY_PREFIX):
        parts.append(Path(str(train[0]["path"])).stem)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts)).strip("-._").lower()[:80]
    return Default(name or "my-run", "computed", "the model and the data")


def _out(given: Given) -> Default:
    """A file that is not there yet."""
    name = str(given.values.get("name") or "my-run")
    taken, number = given.facts.existing, 2
    file = f"{name}.toml"
    while file in taken:
        file, number = f"{name}-{number}.toml", number + 1
    return Default(file, "computed", "a new file")


def _device(given: Given) -> Accelerator | None:
    name = str(given.values.get("hardware.accelerator"))
    cluster = _here(name, given.facts)
    if cluster:
        return cluster.accelerator
    try:
        return find_accelerator(name)
    except RecipeError:
        return None


def _num_devices(given: Given) -> int:
    """All devices of the answers so far; 1 where they say nothing usable."""
    values = given.values
    each, nodes = values.get("hardware.devices_per_node"), values.get("hardware.nodes")
    if each == "auto":
        cluster = _here(str(values.get("hardware.accelerator")), given.facts)
        each = cluster.devices_per_node if cluster else 1
    counts = [number if isinstance(number, int) else 1 for number in (each, nodes)]
    return max(1, min(counts[0] * counts[1], 10**7))


def _here(kind: str, facts: Facts) -> Cluster | None:
    try:
        return found_cluster(kind, facts.machine) if kind in {"auto", "cuda", "cpu"} else None
    except RecipeError:
        # The plan says what is wrong with the calibration.
        return None


_QUICKSTART_KEYS = {
    "model.init",
    "model.dtype",
    "data.template",
    "data.sequence_length",
    "budget.epochs",
    "optimizer.learning_rate",
    "optimizer.warmup",
    "checkpoint.every",
    "evaluate.max_samples",
}
"""What goes with a model that is made from nothing."""

_RULES: dict[str, Callable[[Given], Default]] = {
    "model.path": lambda _: Default(QUICKSTART, "preset", "trains anywhere, in minutes"),
    "model.init": lambda _: Default(
        "pretrained", "default", "fine-tuning starts from trained weights"
    ),
    "model.dtype": _dtype,
    "data.train": _train,
    "data.eval": lambda _: Default([], "default", "none"),
    "data.sequence_length": _sequence_length,
    "hardware.accelerator": _accelerator,
    "hardware.devices_per_node": _devices,
    "budget.epochs": lambda _: Default(3, "preset", "usual for fine-tuning"),
    "optimizer.learning_rate": _learning_rate,
    "parallel.global_batch": _global_batch,
    "parallel.zero": lambda given: _planned(given, 2),
    "parallel.micro_batch": lambda given: _planned(given, 1),
    "parallel.activation_checkpointing": lambda given: _planned(given, "none"),
    "parallel.tensor": lambda given: _planned(given, 1),
    "parallel.pipeline": lambda given: _planned(given, 1),
    "parallel.sequence": _sequence,
    "parallel.expert": lambda given: _planned(given, 1),
    "parallel.offload_optimizer": lambda given: _planned(given, "none"),
    "parallel.offload_weights": lambda given: _planned(given, "none"),
    "evaluate.split": _split,
    "name": _name,
    "out": _out,
}
