"""The same rows as a file of each kind."""

import bz2
import csv
import gzip
import json
import lzma
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fsft.recipes.data_files import COMPRESSIONS, read_name
from fsft.runtime.data.files import DataFile, local_file
from fsft.runtime.data.parts import Part, read_part

TEXTS = ["one", "二, with a comma", 'three "quoted"\nand a second line', "four"]
ROWS = [{"text": text} for text in TEXTS]

NAMES = [
    *("rows.json", "rows.jsonl", "rows.ndjson", "rows.csv", "rows.tsv", "rows.txt", "rows.m2"),
    *("rows.parquet", "file.arrow", "stream.arrow"),
]
COMPRESSED = [
    f"{name}{ending}"
    for name in NAMES
    if not name.endswith((".parquet", ".arrow"))
    for ending in COMPRESSIONS
]


def write_rows(path: Path, texts: Sequence[str] = TEXTS) -> Path:
    """Write a row for each text, in the kind and compression that the name says."""
    rows = [{"text": text} for text in texts]
    says = read_name(path.name)
    assert says is not None
    if says.kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif says.kind == "arrow":
        table = pa.Table.from_pylist(rows)
        new = pa.ipc.new_stream if "stream" in path.name else pa.ipc.new_file
        with new(str(path), table.schema) as writer:
            writer.write_table(table)
    else:
        data = _as_text(says.kind, rows, path).encode()
        path.write_bytes(_compressed(data, says.compression))
    return path


def values(path: Path) -> list[Any]:
    """The values of all rows; none of them may be broken."""
    rows = list(read_part(Part((local_file(path),))))
    assert [row.error for row in rows if row.error] == []
    return [row.value for row in rows]


def errors(file: DataFile) -> list[tuple[int, str]]:
    """Line and reason of the broken rows."""
    return [(row.line, row.error) for row in read_part(Part((file,))) if row.error]


def _as_text(kind: str, rows: list[dict[str, str]], path: Path) -> str:
    if kind == "json":
        return json.dumps(rows, ensure_ascii=False)
    if kind == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if kind in ("txt", "m2"):
        return "\n\n".join(row["text"] for row in rows) + "\n"
    plain = path.with_name("plain")
    with plain.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if kind == "tsv" else ",")
        writer.writerow(["text"])
        writer.writerows([row["text"]] for row in rows)
    return plain.read_text()


def _compressed(data: bytes, compression: str) -> bytes:
    if compression == "zstd":
        return bytes(pa.compress(data, "zstd", asbytes=True))
    return {"": bytes, "gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[
        compression
    ](data)
