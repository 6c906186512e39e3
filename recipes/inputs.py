"""What a recipe asks for: where its files are, and what could not be found or used."""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from fsft.recipes.data_files import (
    is_elsewhere,
    is_hub_name,
    is_hub_set,
    known_endings,
    read_name,
)
from fsft.recipes.data_folder import data_below
from fsft.recipes.layouts import described_devices, known_shape, layout_problems
from fsft.recipes.problems import Problem
from fsft.recipes.schema import SPLITS, Data, Recipe, Source
from fsft.recipes.shipped import (
    LIBRARY_PREFIX,
    is_folder,
    library_folder,
    resolve_path,
    shipped_data,
    shipped_templates,
)
from fsft.recipes.untrainable import untrainable

_WEIGHT_PATTERNS = ("*.safetensors", "*.bin")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json")


def missing_inputs(recipe: Recipe, recipe_folder: Path) -> list[Problem]:
    """Everything that the run would not find or could not use, as far as a look can tell."""
    resolved = resolve_paths(recipe, recipe_folder)
    shape = known_shape(resolved)
    return [
        *_data_problems(recipe, recipe_folder),
        *_template_problems(recipe, recipe_folder),
        *_model_problems(recipe, recipe_folder),
        *untrainable(shape),
        *layout_problems(resolved, shape, described_devices(recipe.hardware)),
    ]


def without_eval(recipe: Recipe) -> Iterator[Problem]:
    """What asks for an eval loss that nobody would compute, or for a checkpoint that it chooses."""
    wanted = {
        "checkpoint.keep_best": recipe.checkpoint.keep_best,
        "evaluate.patience": recipe.evaluate.patience is not None,
    }
    for key, is_set in wanted.items():
        if is_set and not recipe.data.eval:
            yield Problem(
                key=key,
                reason="needs an eval loss, and there is no eval data.",
                example='[[data.eval]] with path = "eval.jsonl"',
            )
    if recipe.convert.checkpoint == "best" and not recipe.checkpoint.keep_best:
        yield Problem(
            key="convert.checkpoint",
            reason="the checkpoint of the lowest eval loss is not kept.",
            example="checkpoint.keep_best = true",
        )


def resolve_paths(recipe: Recipe, recipe_folder: Path, *, keep_library: bool = False) -> Recipe:
    """The recipe with absolute paths, to be run from anywhere; URLs and hub ids stay as they are.

    `keep_library` leaves "library:NAME" as it is, which also means the same on other machines.
    """

    def resolved(source: Source) -> Source:
        changes: dict[str, Any] = {}
        stays = keep_library and source.path.startswith(LIBRARY_PREFIX)
        if not stays and not is_elsewhere(source.path):
            changes["path"] = str(resolve_path(source.path, recipe_folder))
        if source.images is not None and not is_elsewhere(source.images):
            changes["images"] = str(resolve_path(source.images, recipe_folder))
        if source.template is not None:
            changes["template"] = found(source.template)
        return source.model_copy(update=changes)

    def found(template: str) -> str:
        is_file = template.endswith(".jinja")
        return str(resolve_path(template, recipe_folder)) if is_file else template

    data, model = recipe.data, recipe.model
    data = data.model_copy(
        update={
            "train": [resolved(source) for source in data.train],
            "eval": [resolved(source) for source in data.eval],
            "template": found(data.template),
        }
    )
    if model.path is not None and is_local(model.path, recipe_folder):
        model = model.model_copy(update={"path": str(resolve_path(model.path, recipe_folder))})
    parallel = recipe.parallel
    if parallel.offload_path is not None:
        path = str(resolve_path(parallel.offload_path, recipe_folder))
        parallel = parallel.model_copy(update={"offload_path": path})
    return recipe.model_copy(update={"data": data, "model": model, "parallel": parallel})


def is_local(model_path: str, recipe_folder: Path) -> bool:
    """Whether a model is a folder on this machine; all else is a hub id."""
    if model_path.startswith((".", "/", "~")):
        return True
    try:
        return resolve_path(model_path, recipe_folder).exists()
    except OSError:
        return False


def _data_problems(recipe: Recipe, recipe_folder: Path) -> Iterator[Problem]:
    for split in ("train", "eval"):
        for index, source in enumerate(getattr(recipe.data, split)):
            key = f"data.{split}.{index}"
            yield from _source_problems(source.path, recipe_folder, f"{key}.path")
            if source.images is not None and not is_elsewhere(source.images):
                yield from _images_problems(resolve_path(source.images, recipe_folder), key)


def _source_problems(text: str, recipe_folder: Path, key: str) -> Iterator[Problem]:
    """What is wrong with local data; what lies elsewhere is known only when it is read."""
    if is_hub_set(text) and not is_hub_name(text):
        yield Problem(
            key=key,
            reason=f"`{text}` names no data set of the hub.",
            example="hub:OWNER/NAME",
        )
    if is_elsewhere(text):
        return
    path = resolve_path(text, recipe_folder)
    if is_folder(path):
        if trouble := _folder_trouble(path):
            example = "" if "cannot be read" in trouble else known_endings()
            yield Problem(key=key, file=str(path), reason=trouble, example=example)
    elif trouble := _file_trouble(path):
        is_shipped = path.parent == (library_folder() / "data").resolve()
        example = ", ".join(shipped_data()) if is_shipped else ""
        yield Problem(key=key, file=str(path), reason=trouble, example=example)
    elif read_name(path.name) is None:
        yield Problem(
            key=key,
            file=str(path),
            reason=f"`{path.suffix}` is not a known kind of data file.",
            example=known_endings(),
        )


def _images_problems(folder: Path, key: str) -> Iterator[Problem]:
    if not is_folder(folder):
        reason = "there is no such folder."
        yield Problem(key=f"{key}.images", file=str(folder), reason=reason)


def _folder_trouble(folder: Path) -> str:
    """Why a folder cannot be used as data; nothing as soon as one file in it can."""
    try:
        return "" if any(data_below(folder)) else "the folder holds no data file."
    except OSError as error:
        return f"{error.filename} cannot be read: {error.strerror}."


def _file_trouble(path: Path) -> str:
    """Why a file cannot be used; nothing when it can."""
    try:
        if path.is_dir():
            return "is a folder."
        if not path.is_file():
            return "there is no such file."
        with path.open("rb") as file:
            return "" if file.read(1) else "the file is empty."
    except OSError as error:
        return f"cannot be read: {error.strerror}."


def named_templates(data: Data) -> Iterator[tuple[str, str]]:
    """The chat templates that a recipe names, each with its key; "auto" names none."""
    if data.template != "auto":
        yield "data.template", data.template
    for split in SPLITS:
        for index, source in enumerate(getattr(data, split)):
            if source.template not in (None, "auto"):
                yield f"data.{split}.{index}.template", source.template


def _template_problems(recipe: Recipe, recipe_folder: Path) -> Iterator[Problem]:
    for key, template in named_templates(recipe.data):
        if template.endswith(".jinja"):
            path = resolve_path(template, recipe_folder)
            if trouble := _file_trouble(path):
                yield Problem(key=key, file=str(path), reason=trouble)
        elif template not in shipped_templates():
            yield Problem(
                key=key,
                reason=f"`{template}` is no known chat template.",
                nearest=next(iter(get_close_matches(template, shipped_templates(), 1)), ""),
                example=f"auto, {', '.join(shipped_templates())}, or a file that ends in .jinja",
            )


def _model_problems(recipe: Recipe, recipe_folder: Path) -> Iterator[Problem]:
    model = recipe.model
    if model.path is None or not is_local(model.path, recipe_folder):
        return
    folder = resolve_path(model.path, recipe_folder)
    try:
        is_folder = folder.is_dir()
        list(folder.iterdir() if is_folder else [])
    except OSError as error:
        reason = f"cannot be read: {error.strerror}."
        yield Problem(key="model.path", file=str(folder), reason=reason)
        return
    if not is_folder:
        yield Problem(
            key="model.path",
            file=str(folder),
            reason="is a file, not a folder." if folder.exists() else "there is no such folder.",
        )
        return
    if not (folder / "config.json").is_file():
        yield Problem(key="model.path", file=str(folder), reason="holds no config.json.")
    if model.init == "pretrained" and not any(
        any(folder.glob(pattern)) for pattern in _WEIGHT_PATTERNS
    ):
        yield Problem(
            key="model.path",
            file=str(folder),
            reason="holds no weights (*.safetensors or *.bin).",
            example='init = "random" to train from nothing',
        )
    if recipe.data.tokenizer is None and not any(
        (folder / name).is_file() for name in _TOKENIZER_FILES
    ):
        yield Problem(
            key="model.path",
            file=str(folder),
            reason="holds no tokenizer.",
            example="copy tokenizer.json and tokenizer_config.json there",
        )
