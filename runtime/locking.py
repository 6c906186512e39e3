"""Writing the lock of a run."""

import json
from dataclasses import asdict
from typing import Any

from fsft.recipes.fingerprint import file_sha256
from fsft.recipes.lock import lock_text
from fsft.recipes.schema import Recipe
from fsft.runtime.fingerprints import Input
from fsft.runtime.hardware import find_devices
from fsft.runtime.run_directory import RunDirectory, write_text


def write_lock(
    run: RunDirectory, recipe: Recipe, inputs: list[Input], expected: dict[str, Any]
) -> None:
    """Pin what is known now: before prepare that is all but counts, template and tokenizer."""
    data = {}
    if run.data_info.exists():
        info = json.loads(run.data_info.read_text(encoding="utf-8"))
        tokenizer = run.tokenizer / "tokenizer.json"
        data = {**info, "tokenizer": {**info["tokenizer"], "sha256": file_sha256(tokenizer)}}
    text = lock_text(
        recipe,
        inputs=[_pinned(item) for item in inputs],
        devices=asdict(find_devices(recipe.hardware)),
        data=data,
        plan=expected,
    )
    write_text(run.lock_file, text)


def _pinned(item: Input) -> dict[str, Any]:
    """An input without its stamp, which is another one wherever the same file lies."""
    return {name: value for name, value in asdict(item).items() if name != "stamp"}
