"""Looking into the data files, in a process of its own: it needs what the wizard may not load."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from fsft.recipes.inputs import resolve_paths
from fsft.recipes.schema import Recipe
from fsft.recipes.writing import to_toml
from fsft.wizard.facts import DataFacts, Quality, Shown

SAMPLES = 3


def data_key(recipe: Recipe) -> str:
    """What the data would have to be looked at again for."""
    return recipe.model_dump_json(include={"data": True, "model": {"path", "config", "revision"}})


async def measure_data(recipe: Recipe, folder: Path) -> DataFacts:
    """Rows, tokens and samples of the training data; trouble is told in words."""
    text = to_toml(resolve_paths(recipe, folder, keep_library=True))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fsft", "data", "show", "-", "--json"),
        *("--samples", str(SAMPLES), "--quality"),
        # A look fetches nothing: that would take its time, and nobody has asked for it.
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await process.communicate(text.encode())
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        lines = err.decode(errors="replace").strip().splitlines()
        return DataFacts(trouble=lines[0].removeprefix("✗ ") if lines else "could not be read")
    return facts_of(json.loads(out))


def facts_of(document: dict[str, Any]) -> DataFacts:
    """What `fsft data show --json` says."""
    files = document["files"]
    return DataFacts(
        formats=tuple((Path(file["path"]).name, file["format"]) for file in files),
        num_rows=sum(file["num_rows"] for file in files),
        num_tokens=document["num_tokens"] or 0.0,
        error=document["error"],
        num_sampled=sum(file["num_sampled"] for file in files),
        samples=tuple(
            Shown(
                Path(sample["path"]).name,
                sample["num_tokens"],
                tuple((text, learned) for text, learned in sample["segments"]),
            )
            for sample in document["samples"]
        ),
        quality=_quality(document.get("quality")),
        trouble=document["trouble"],
    )


def _quality(found: dict[str, Any] | None) -> Quality | None:
    if not found:
        return None
    return Quality(
        num_samples=found["num_samples"],
        num_alike=found["num_exact"] + found["num_near"],
        num_leaked=found["num_contaminated"],
        languages=tuple(found["languages"].items()),
        hints=tuple(found["hints"].items()),
    )
