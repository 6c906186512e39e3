"""The shape of a model from its config.json, or from its name in the catalogue."""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from fsft.recipes.models.catalogue import catalogue, find_entry, nearest_names
from fsft.recipes.models.families import READERS
from fsft.recipes.models.fields import Fields
from fsft.recipes.models.shape import ModelShape
from fsft.recipes.models.splits import with_plans
from fsft.recipes.problems import Problem, RecipeError, in_file

_MAX_BYTES = 2**24
"""No config.json is larger."""
_MAX_NAME = 200
"""No model has a longer name."""


class UnknownArchitecture(RecipeError):
    """A config of an architecture that has no reader."""


def read_shape(config: Mapping[str, Any]) -> ModelShape:
    """The shape that a config.json describes, to the parameter.

    A key that is absent takes the default of transformers' config class; for models of remote code
    it must be there. Raises RecipeError with everything that is wrong.
    """
    architecture = config.get("model_type")
    if not isinstance(architecture, str) or architecture not in READERS:
        raise UnknownArchitecture(_unknown(architecture))
    fields = Fields(config)
    shape = READERS[architecture](fields)
    fields.check()
    return with_plans(shape, config)


def load_shape(path_or_name: str | Path) -> ModelShape:
    """The shape of a model from the catalogue, of a config.json, or of a folder with one.

    Names are taken in any case, with the organization or without. Raises RecipeError.
    """
    file = _file_of(path_or_name)
    if file is None:
        return _from_catalogue(str(path_or_name).strip()[:_MAX_NAME])
    try:
        return read_shape(_load(file))
    except RecipeError as error:
        problems = (in_file(problem, str(file)) for problem in error.problems)
        raise type(error)(*problems) from None


def load_config(path_or_name: str | Path) -> Mapping[str, Any]:
    """The config.json of a model of the catalogue, a file or a folder; raises RecipeError."""
    file = _file_of(path_or_name)
    if file is None:
        return _config_of(str(path_or_name).strip()[:_MAX_NAME])
    return _load(file)


def _file_of(path_or_name: str | Path) -> Path | None:
    """The config.json that is meant; None for a name of the catalogue."""
    path = _expand(path_or_name)
    if isinstance(path_or_name, str) and not (path_or_name.strip() and _exists(path)):
        return None
    return path / "config.json" if path.is_dir() else path


@lru_cache(maxsize=256)
def _from_catalogue(name: str) -> ModelShape:
    return read_shape(_config_of(name))


def _config_of(name: str) -> Mapping[str, Any]:
    entry = find_entry(name)
    if entry is None:
        nearest = nearest_names(name)
        raise RecipeError(
            Problem(
                reason=f"`{name}` is neither a file, nor a folder, nor one of the "
                f"{len(catalogue())} models of the catalogue.",
                nearest=nearest[0] if nearest else "",
                example="a folder that has the model's config.json",
            )
        )
    return entry.config


def _load(file: Path) -> Mapping[str, Any]:
    if file.exists() and not (file.is_file() and file.stat().st_size <= _MAX_BYTES):
        raise RecipeError(
            Problem(reason="is not a config.json.", example="a folder with a config.json")
        )
    try:
        config = json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise RecipeError(
            Problem(reason="there is no such file.", example="a folder with a config.json")
        ) from None
    except OSError as error:
        raise RecipeError(Problem(reason=f"cannot be read: {error.strerror}.")) from None
    except (ValueError, RecursionError) as error:
        # Neither text in UTF-8 nor JSON; the first line says where.
        detail = str(error).partition("\n")[0]
        raise RecipeError(Problem(reason=f"is not valid JSON: {detail}.")) from None
    if not isinstance(config, dict):
        raise RecipeError(Problem(reason="is not a table of keys and values."))
    return config


def _expand(path: str | Path) -> Path:
    """`~` is the home folder, if there is one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _exists(path: Path) -> bool:
    """What cannot be looked at counts as absent."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _unknown(architecture: object) -> Problem:
    known = ", ".join(sorted(READERS))
    if architecture is None:
        return Problem(key="model_type", reason="is missing.", example=f"one of {known}")
    nearest = get_close_matches(str(architecture), READERS, n=1)
    return Problem(
        key="model_type",
        reason=f"the architecture {str(architecture)[:60]!r} is not known.",
        nearest=nearest[0] if nearest else "",
        example=f"one of {known}",
    )
