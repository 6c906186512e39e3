"""`fsft data shuffle`."""

from typing import Annotated

import typer

from fsft.cli.data_options import (
    NOTHING_IS_LEFT,
    Codec,
    CompressionOption,
    InputsArgument,
    OutOption,
    OverwriteOption,
)
from fsft.cli.options import JsonOption


def shuffle(
    inputs: InputsArgument,
    out: OutOption,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another order.")] = 0,
    memory: Annotated[
        str, typer.Option(metavar="SIZE", help="The most memory to use, such as 512MiB or 8GB.")
    ] = "512MiB",
    parts: Annotated[
        int | None, typer.Option(min=1, help="Files to write; by default one a GiB of rows.")
    ] = None,
    compression: CompressionOption = Codec.ZSTD,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put all rows of parquet data sets into one random order, within a memory limit."""
    from fsft.cli.data_info import show_info
    from fsft.cli.row_progress import row_progress
    from fsft.cli.run import stop_on_signals
    from fsft.recipes.problems import RecipeError
    from fsft.recipes.units import parse_bytes
    from fsft.runtime.data.shuffle import shuffle as run

    limit = parse_bytes(memory)
    if not isinstance(limit, int):
        raise RecipeError(f"--memory: `{memory}` is not a size. For example: 512MiB")
    with row_progress() as tell, stop_on_signals(NOTHING_IS_LEFT):
        info = run(
            inputs,
            out,
            seed=seed,
            memory_limit=limit,
            num_parts=parts,
            compression=compression.value,
            overwrite=overwrite,
            tell=tell,
        )
    show_info(info, out, as_json=as_json)
