"""The lock: what a recipe leaves open, pinned. Canonical TOML, written by machine alone."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

import tomli_w

from fsft.recipes.schema import Recipe, to_document

LOCK_VERSION = 1
PACKAGES = ("fsft", "torch", "deepspeed", "transformers", "tokenizers", "pyarrow", "numpy")
"""The packages whose version changes results."""


def lock_text(
    recipe: Recipe,
    *,
    inputs: Iterable[Mapping[str, Any]],
    devices: Mapping[str, Any],
    data: Mapping[str, Any],
    plan: Mapping[str, Any],
) -> str:
    """The lock of a run.

    `inputs` are the files it reads, with hashes; `devices` what the hardware table came to;
    `data` the counts and the template text that prepare found, empty before it has run; `plan`
    is what the planner answered and expects.
    """
    lock = {
        "lock": LOCK_VERSION,
        "versions": {"python": python_version(), **installed_versions()},
        "hardware": dict(devices),
        "recipe": to_document(recipe),
        "inputs": [dict(item) for item in inputs],
        "plan": dict(plan),
        "data": dict(data),
    }
    return tomli_w.dumps(lock, multiline_strings=True)


@dataclass(frozen=True)
class Expected:
    """What the planner expected of a run; None where it expected nothing."""

    memory_low: float | None = None
    """Bytes of a device, the ends of the range."""
    memory_high: float | None = None
    seconds_per_step: float | None = None


def expected_of(lock_file: Path) -> Expected:
    """The expectations that a lock keeps; none where it cannot be read."""
    try:
        plan = tomllib.loads(lock_file.read_text(encoding="utf-8")).get("plan", {})
    except (OSError, ValueError):
        return Expected()
    memory = plan.get("device_memory_bytes", {})
    return Expected(memory.get("low"), memory.get("high"), plan.get("seconds_per_step"))


def installed_versions() -> dict[str, str]:
    """The versions of the packages that matter and are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
