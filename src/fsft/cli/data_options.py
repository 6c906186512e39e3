"""Arguments of the commands that read and write folders of parquet."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

InputsArgument = Annotated[
    list[Path], typer.Argument(metavar="IN…", help="Parquet files, and folders of them.")
]
OutOption = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="The folder to write; must not exist.")
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace a data set that fsft wrote there before.")
]


class Codec(StrEnum):
    """How parquet files are compressed."""

    ZSTD = "zstd"
    GZIP = "gzip"
    BROTLI = "brotli"
    SNAPPY = "snappy"
    LZ4 = "lz4"


CompressionOption = Annotated[Codec, typer.Option(help="How the parts are compressed.")]

NOTHING_IS_LEFT = "Nothing is left of what was begun: the same command begins anew."
"""Of commands that write all or nothing, when they are stopped."""
