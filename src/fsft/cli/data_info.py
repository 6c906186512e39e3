"""`fsft data info`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsft.cli.options import JsonOption

if TYPE_CHECKING:
    from fsft.runtime.data.info import DataInfo


def info(
    path: Annotated[
        Path, typer.Argument(help="A folder of parquet files, one such file, or a run directory.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Show what parquet files hold: samples, tokens, columns, files."""
    from fsft.runtime.data.info import read_info

    show_info(read_info(path), path, as_json=as_json)


def show_info(told: "DataInfo", path: Path, *, as_json: bool) -> None:
    """Print what is known of a data set."""
    if as_json:
        typer.echo(json.dumps(asdict(told), ensure_ascii=False))
        return
    from rich.console import Console

    from fsft.cli.data_info_view import print_info

    print_info(told, path, Console(highlight=False))
