"""`fsft data repartition`."""

from enum import StrEnum
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


class Balance(StrEnum):
    """What parts have the same number of."""

    ROWS = "rows"
    TOKENS = "tokens"


def repartition(
    inputs: InputsArgument,
    out: OutOption,
    parts: Annotated[int, typer.Option(min=1, help="Files to write, such as one a reader.")],
    by: Annotated[Balance, typer.Option(help="What the parts are to have alike.")] = Balance.ROWS,
    column: Annotated[
        str, typer.Option(help="The column whose lists are counted as tokens.")
    ] = "input_ids",
    compression: CompressionOption = Codec.ZSTD,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write parquet data sets as parts of like size, in the order that they have."""
    from fsft.cli.data_info import show_info
    from fsft.cli.row_progress import row_progress
    from fsft.cli.run import stop_on_signals
    from fsft.runtime.data.repartition import repartition as run

    with row_progress() as tell, stop_on_signals(NOTHING_IS_LEFT):
        info = run(
            inputs,
            out,
            num_parts=parts,
            by=by.value,
            column=column,
            compression=compression.value,
            overwrite=overwrite,
            tell=tell,
        )
    show_info(info, out, as_json=as_json)
