"""`data.info`: what a folder of parquet holds, for people and for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from fsft.recipes.fingerprint import file_sha256
from fsft.recipes.problems import Problem, Refused
from fsft.runtime.data.counts import COUNTED, Counts, count_rows, is_integer_list
from fsft.runtime.data.dataset import open_dataset
from fsft.runtime.data.dataset_files import find_files, parquet_under
from fsft.runtime.run_directory import write_json

INFO_NAME = "data.info"
_VERSION = 1


@dataclass(frozen=True)
class PartInfo:
    """One file; tokens are None where no column holds token ids."""

    name: str
    """The path under the folder."""
    rows: int
    samples: int
    tokens: int | None
    learned_tokens: int | None
    bytes: int
    sha256: str


@dataclass(frozen=True)
class DataInfo:
    """A data set: its totals, its columns with their types, its files and how it was made."""

    rows: int
    samples: int
    tokens: int | None
    learned_tokens: int | None
    partitions: int
    columns: dict[str, str]
    files: tuple[PartInfo, ...]
    made: dict[str, Any] = field(default_factory=dict)
    version: int = _VERSION


def read_info(path: Path) -> DataInfo:
    """The data.info of a folder; counted from the files where there is none, or of one file.

    Raises Refused where nothing can be read, or where the files are not those of data.info.
    """
    folder = path / "data" if (path / "recipe.toml").exists() else path
    return _told(folder) or count_info(folder)


def require_told_files(inputs: Sequence[Path]) -> None:
    """Raise Refused where a folder does not hold the files that its data.info tells of."""
    for path in inputs:
        _told(path)


def _told(folder: Path) -> DataInfo | None:
    """What data.info says, where there is one."""
    path = folder / INFO_NAME
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        parts = tuple(PartInfo(**part) for part in values.pop("files"))
        info = DataInfo(**values, files=parts)
    except OSError as error:
        raise Refused(
            Problem(file=str(path), reason=f"cannot be read: {error.strerror}.")
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        reason = "is not as fsft writes it."
        example = "delete it, and the files are counted anew"
        raise Refused(Problem(file=str(path), reason=reason, example=example)) from None
    _require_files(folder, info)
    return info


def count_info(path: Path) -> DataInfo:
    """What a parquet file, or the parquet files under a folder, hold: reads all of them."""
    folder = path if path.is_dir() else path.parent
    files = list(parquet_under(path)) if path.is_dir() else find_files([path])
    if not files:
        raise Refused(Problem(file=str(path), reason="holds no parquet file."))
    parts: list[PartInfo] = []
    columns: dict[str, str] = {}
    for file in files:
        dataset = open_dataset([file])
        counted = [name for name in COUNTED if is_integer_list(dataset.schema, name)]
        counts = Counts()
        for batch in dataset.batches(counted or dataset.schema.names[:1]):
            counts += count_rows(pa.Table.from_batches([batch]))
        columns |= column_types(dataset.schema)
        parts.append(part_info(file, folder, counts))
    return whole_info(parts, columns, {})


def write_info(folder: Path, info: DataInfo) -> None:
    """Write data.info beside the parts."""
    write_json(folder / INFO_NAME, asdict(info))


def part_info(file: Path, folder: Path, counts: Counts) -> PartInfo:
    """What is told of a written file under `folder`."""
    return PartInfo(
        name=file.relative_to(folder).as_posix(),
        **asdict(counts),
        bytes=file.stat().st_size,
        sha256=file_sha256(file),
    )


def whole_info(
    parts: Sequence[PartInfo], columns: dict[str, str], made: dict[str, Any]
) -> DataInfo:
    """The parts in one account."""
    total = Counts()
    for part in parts:
        total += Counts(part.rows, part.samples, part.tokens, part.learned_tokens)
    return DataInfo(
        **asdict(total), partitions=len(parts), columns=columns, files=tuple(parts), made=made
    )


def column_types(schema: pa.Schema) -> dict[str, str]:
    """Arrow's names of the types, by column."""
    return {item.name: str(item.type) for item in schema}


def _require_files(folder: Path, info: DataInfo) -> None:
    """Sizes tell at once what hashes would tell after minutes: files were changed by hand."""
    told = {folder / part.name: part.bytes for part in info.files}
    changed = [p for p, size in told.items() if not p.is_file() or p.stat().st_size != size]
    problems = [
        Problem(file=str(path), reason=f"is not the file that {INFO_NAME} tells of.")
        for path in changed
    ]
    problems += [
        Problem(file=str(path), reason=f"is a file that {INFO_NAME} does not tell of.")
        for path in parquet_under(folder)
        if path not in told
    ]
    if problems:
        hint = f"delete {folder / INFO_NAME} to count the files anew"
        raise Refused(*problems[:20], Problem(reason="the files have changed.", example=hint))
