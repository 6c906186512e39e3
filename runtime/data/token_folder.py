"""A recipe's data as a folder of token ids: to look at, to copy elsewhere, to train from."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Recipe
from fsft.runtime.data.counts import Counts
from fsft.runtime.data.info import (
    INFO_NAME,
    DataInfo,
    PartInfo,
    column_types,
    part_info,
    read_info,
    whole_info,
    write_info,
)
from fsft.runtime.data.text_tokenizer import text_tokenizer
from fsft.runtime.data.tokenize import Progress, SplitTokens, tokenize
from fsft.runtime.data.tokenizer import saved_tokenizer
from fsft.runtime.fingerprints import find_inputs, stage_fingerprints
from fsft.runtime.run_directory import resumed_folder


def write_token_folder(
    recipe: Recipe, out: Path, *, overwrite: bool, on_progress: Progress
) -> DataInfo:
    """Tokenize the recipe's data into `out`; returns what its data.info says.

    A kill loses at most the parts that were being worked on: the same call goes on. Does nothing
    where that was done before. Raises Refused where `out` holds something else, unless
    `overwrite`, or where data cannot be used.
    """
    cache = out.with_name(f".{out.name}.inputs.json")
    fingerprint = stage_fingerprints(recipe, find_inputs(recipe, cache))["prepare"]
    if out.exists():
        before = read_info(out) if (out / INFO_NAME).exists() else None
        if before and before.made.get("fingerprint") == fingerprint:
            return before
        if not overwrite and (before or any(out.iterdir())):
            raise Refused(
                Problem(
                    file=str(out),
                    reason="holds other data." if before else "is not empty.",
                    example="--overwrite, or another --out",
                )
            )
    with resumed_folder(out, fingerprint) as folder:
        saved = saved_tokenizer(recipe, folder)
        splits = tokenize(folder, recipe.data, on_progress)
        tokenizer = text_tokenizer(saved)
        made = {
            "by": "fsft data tokenize",
            "fingerprint": fingerprint,
            "vocab_size": len(tokenizer),
            "template": tokenizer.chat_template or "",
            "splits": {split: _told(tokens) for split, tokens in splits.items()},
        }
        info = whole_info(list(_parts(splits, folder)), _columns(splits), made)
        write_info(folder, info)
    return info


def _told(tokens: SplitTokens) -> dict[str, Any]:
    return {
        "num_tokens": tokens.num_tokens,
        "num_label_tokens": tokens.num_label_tokens,
        "num_files": len(tokens.files),
        "engines": tokens.engines,
        "troubles": tokens.troubles,
        "sources": [asdict(source) for source in tokens.sources],
    }


def _parts(splits: Mapping[str, SplitTokens], folder: Path) -> Iterator[PartInfo]:
    for tokens in splits.values():
        for file, part in zip(tokens.files, tokens.parts, strict=True):
            number = part.rows.num_used
            counts = Counts(number, number, part.num_tokens, part.num_label_tokens)
            yield part_info(file, folder, counts)


def _columns(splits: Mapping[str, SplitTokens]) -> dict[str, str]:
    firsts = (tokens.files[0] for tokens in splits.values() if tokens.files)
    schemas = [pq.read_schema(file) for file in firsts]
    return {name: kind for schema in schemas for name, kind in column_types(schema).items()}
