"""A recipe's data as a folder of token ids: to look at, to copy elsewhere, to train from."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Recipe
from fsft.runtime.data.tokenize import Progress, SplitTokens, tokenize
from fsft.runtime.data.tokenizer import saved_tokenizer
from fsft.runtime.fingerprints import find_inputs, stage_fingerprints
from fsft.runtime.run_directory import resumed_folder, write_json

INFO = "info.json"


def write_token_folder(
    recipe: Recipe, out: Path, *, overwrite: bool, on_progress: Progress
) -> dict[str, Any]:
    """Tokenize the recipe's data into `out`; returns what its info.json says.

    A kill loses at most the parts that were being worked on: the same call goes on. Does nothing
    where that was done before. Raises Refused where `out` holds something else, unless
    `overwrite`, or where data cannot be used.
    """
    cache = out.with_name(f".{out.name}.inputs.json")
    fingerprint = stage_fingerprints(recipe, find_inputs(recipe, cache))["prepare"]
    if out.exists():
        info = _info(out)
        if info.get("fingerprint") == fingerprint:
            return info
        if not overwrite and (info or any(out.iterdir())):
            raise Refused(
                Problem(
                    file=str(out),
                    reason="holds other data." if info else "is not empty.",
                    example="--overwrite, or another --out",
                )
            )
    with resumed_folder(out, fingerprint) as folder:
        tokenizer = saved_tokenizer(recipe, folder)
        splits = tokenize(folder, recipe.data, on_progress)
        info = {
            "fingerprint": fingerprint,
            "vocab_size": len(tokenizer),
            "template": tokenizer.chat_template or "",
            "splits": {split: _told(tokens, folder) for split, tokens in splits.items()},
        }
        write_json(folder / INFO, info)
    return info


def _told(tokens: SplitTokens, folder: Path) -> dict[str, Any]:
    told = {**asdict(tokens), "engines": sorted(tokens.engines)}
    return {**told, "files": [str(file.relative_to(folder)) for file in tokens.files]}


def _info(folder: Path) -> dict[str, Any]:
    path = folder / INFO
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return told
