"""A recipe's data as a folder of token ids: to look at, to copy elsewhere, to train from."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq

from fsft.recipes.data_files import is_elsewhere
from fsft.recipes.inputs import named_templates
from fsft.recipes.problems import RunFailed
from fsft.recipes.schema import Recipe
from fsft.runtime.data.counts import Counts
from fsft.runtime.data.dataset_output import require_apart, require_free, writable_place
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
from fsft.runtime.data.left_out import require_samples
from fsft.runtime.data.text_tokenizer import text_tokenizer
from fsft.runtime.data.tokenize import Progress, SplitTokens, start_engine, tokenize
from fsft.runtime.data.tokenizer import saved_tokenizer
from fsft.runtime.fingerprints import find_inputs, stage_fingerprints
from fsft.runtime.troubles import disk_full_message, says_disk_full
from fsft.runtime.unchanged import resumed_from

INPUTS = ".inputs.json"
"""Hashes of the files that were read, in the folder of tokens."""


def write_token_folder(
    recipe: Recipe, out: Path, *, overwrite: bool, on_progress: Progress
) -> DataInfo:
    """Tokenize the recipe's data into `out`; returns what its data.info says.

    A kill loses at most the parts that were being worked on: the same call goes on. Does nothing
    where that was done before. Raises Refused where `out` holds something else, unless
    `overwrite`, or where data cannot be used, changed while it was read, or none of it is left to
    learn from; RunFailed on a full disk.
    """
    try:
        return _write_token_folder(recipe, writable_place(out), overwrite, on_progress)
    except Exception as error:
        if not says_disk_full(error):
            raise
        raise RunFailed(disk_full_message(out)) from None


def _write_token_folder(
    recipe: Recipe, out: Path, overwrite: bool, on_progress: Progress
) -> DataInfo:
    require_apart(out, list(_local_inputs(recipe)))
    with TemporaryDirectory() as scratch:
        # Hashes of what did not change since the folder was written are taken from it.
        cache = (out if (out / INFO_NAME).exists() else Path(scratch)) / INPUTS
        inputs = find_inputs(recipe, cache)
        fingerprint = stage_fingerprints(recipe, inputs)["prepare"]
        hashes = cache.read_bytes() if cache.exists() else b"{}"
    if (out / INFO_NAME).exists() and (before := read_info(out)).made.get(
        "fingerprint"
    ) == fingerprint:
        return before
    require_free(out, overwrite=overwrite)
    with resumed_from(out, fingerprint, recipe, inputs) as folder:
        (folder / INPUTS).write_bytes(hashes)
        start_engine(recipe.data)
        saved = saved_tokenizer(recipe, folder)
        splits = tokenize(folder, recipe.data, on_progress)
        for tokens in splits.values():
            require_samples(tokens.sources)
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


def _local_inputs(recipe: Recipe) -> Iterator[Path]:
    """Everything on this machine that the recipe reads from."""
    for source in (*recipe.data.train, *recipe.data.eval):
        yield from (Path(p) for p in (source.path, source.images) if p and not is_elsewhere(p))
    for _, template in named_templates(recipe.data):
        if template.endswith(".jinja"):
            yield Path(template)
    if recipe.model.path and Path(recipe.model.path).is_dir():
        yield Path(recipe.model.path)


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
