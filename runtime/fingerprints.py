"""What each stage depends on, in one short name, so that nothing is done twice.

A file counts by its content, not its path: a moved data file changes nothing. What lies elsewhere
counts by what its storage or the hub says of the content.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fsft.recipes.fingerprint import file_sha256, fingerprint
from fsft.recipes.inputs import named_templates
from fsft.recipes.schema import SPLITS, Recipe, to_document
from fsft.recipes.shipped import shipped_templates
from fsft.recipes.stages import EVAL_DATA, Stage, is_led_by_eval, leading_part, recipe_part
from fsft.runtime.data.files import find_files
from fsft.runtime.file_stamps import Stamp, stamp_of
from fsft.runtime.run_directory import write_json

DATA_LAYOUT = 3
"""The version of what prepare writes; a new one makes every run prepare again."""

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")


@dataclass(frozen=True)
class Input:
    """A file that a run reads."""

    key: str
    """The recipe key that names it."""
    path: str
    num_bytes: int
    sha256: str
    """Empty for weights, which are known by size and time: hashing them would take minutes; and for
    what lies elsewhere."""
    modified: int = 0
    """Of weights, nanoseconds since 1970; 0 for all else."""
    version: str = ""
    """What lies elsewhere is known by what is said of it there: an ETag, a time, a commit."""
    stamp: Stamp | tuple[()] = ()
    """Of a file whose content is hashed, just before that was done."""


def find_inputs(recipe: Recipe, cache_file: Path) -> list[Input]:
    """Every file that the recipe names, local ones hashed; those that did not change only once.

    Raises Refused where data is not to be found.
    """
    cache = _remembered(cache_file)
    known = dict(cache)
    try:
        return [_hashed(item, cache) for item in inputs_as_they_are(recipe)]
    finally:
        # Hashing large data takes minutes: what is done stays done when it is interrupted.
        if cache != known:
            write_json(cache_file, cache)


def inputs_as_they_are(recipe: Recipe) -> Iterator[Input]:
    """Every file that the recipe names, without its hash.

    Raises Refused where data is not to be found.
    """
    yield from _data_inputs(recipe)
    yield from _other_inputs(recipe)


def _remembered(cache_file: Path) -> dict[str, Any]:
    """What is known of files; nothing where that was torn or is not there."""
    try:
        known: dict[str, Any] = json.loads(cache_file.read_text())
    except (OSError, ValueError):
        return {}
    return known


def stage_fingerprints(
    recipe: Recipe, inputs: list[Input], global_batch: int | None = None
) -> dict[Stage, str]:
    """The fingerprint of each stage: its part of the recipe, its files, and the stages before.

    `global_batch`: rows of a step, which training and what comes after it depend on.
    """
    document = to_document(recipe)
    _forget_paths(document, inputs)
    learned, to_learn = document, inputs
    if not is_led_by_eval(recipe):
        # Other eval data does not make another model, so training does not depend on all of it.
        learned = {**document, "data": {k: v for k, v in document["data"].items() if k != "eval"}}
        to_learn = [item for item in inputs if not item.key.startswith(EVAL_DATA)]
    content = [item for item in inputs if not item.modified]

    def of(stage: Stage, *before: object) -> str:
        return fingerprint([*before, recipe_part(stage, document)])

    prepare = of("prepare", DATA_LAYOUT, _identities(content))
    read = (_identities(to_learn), recipe_part("prepare", learned))
    train = of("train", DATA_LAYOUT, *read, global_batch, *leading_part(recipe))
    convert = of("convert", train)
    evaluate = of("evaluate", convert, prepare)
    return {
        "prepare": prepare,
        "train": train,
        "convert": convert,
        "evaluate": evaluate,
        "report": of("report", evaluate),
    }


def _identities(inputs: list[Input]) -> list[object]:
    """What makes files the same, wherever they lie."""
    return [
        (i.key, Path(i.path).name, i.num_bytes, i.sha256 or i.version, i.modified) for i in inputs
    ]


def _data_inputs(recipe: Recipe) -> Iterator[Input]:
    for split in SPLITS:
        for index, source in enumerate(getattr(recipe.data, split)):
            key = f"data.{split}.{index}.path"
            for file in find_files(source):
                if file.kind == "hub" or file.is_remote:
                    yield Input(key, file.path, file.size, "", version=file.version)
                elif file.kind == "saved":
                    paths = sorted(path for path in Path(file.path).rglob("*") if path.is_file())
                    yield from (_input(key, path) for path in paths)
                else:
                    yield _input(key, Path(file.path))


def _other_inputs(recipe: Recipe) -> Iterator[Input]:
    for key, template in named_templates(recipe.data):
        yield _input(key, shipped_templates().get(template, Path(template)))
    if recipe.model.path is not None and (folder := Path(recipe.model.path)).is_dir():
        paths = (path for path in sorted(folder.iterdir()) if path.is_file())
        yield from (_input("model.path", path) for path in paths)


def _input(key: str, path: Path) -> Input:
    stamp = stamp_of(path)
    size, modified, *_ = stamp
    if path.suffix in _WEIGHTS:
        return Input(key, str(path), size, "", modified)
    return Input(key, str(path), size, "", stamp=stamp)


def _hashed(item: Input, cache: dict[str, Any]) -> Input:
    if not item.stamp:
        return item
    entry = cache.get(item.path)
    # A list where it was read from the cache.
    if entry is None or tuple(entry["stamp"]) != item.stamp:
        entry = cache[item.path] = {"stamp": item.stamp, "sha256": file_sha256(Path(item.path))}
    return replace(item, sha256=entry["sha256"])


def _forget_paths(document: dict[str, Any], inputs: list[Input]) -> None:
    """The paths of hashed files say nothing; hub ids stay."""
    local = {item.key for item in inputs}
    for split in SPLITS:
        for index, source in enumerate(document["data"][split]):
            source["path"] = ""
            if f"data.{split}.{index}.template" in local:
                source["template"] = ""
    if "data.template" in local:
        document["data"]["template"] = ""
    if "model.path" in local:
        document["model"]["path"] = ""
