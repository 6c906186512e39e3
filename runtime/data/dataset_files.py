"""Which files a parquet data set consists of, and the columns that they share."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import SPLITS

_MOST_PROBLEMS = 20


def find_files(inputs: Sequence[Path]) -> list[Path]:
    """The files named, and the parquet files under the folders named, in order.

    Raises Refused where there are none, or where a folder keeps training and evaluation apart.
    """
    problems: list[Problem] = []
    files: list[Path] = []
    for path in inputs:
        found = list(parquet_under(path)) if path.is_dir() else [path]
        if not path.exists():
            problems.append(Problem(file=str(path), reason="there is no such file or folder."))
        elif not found:
            problems.append(Problem(file=str(path), reason="holds no parquet file."))
        elif path.is_dir() and len(splits := _splits(path)) > 1:
            problems.append(
                Problem(
                    file=str(path),
                    reason=f"keeps {' and '.join(splits)} apart, which would be mixed.",
                    example=f"the files of one of them, such as {found[-1]}",
                )
            )
        files.extend(found)
    if problems:
        raise Refused(*problems)
    return files


def parquet_under(folder: Path) -> Iterator[Path]:
    """Parquet files in order of their paths; what Spark and editors hide is passed over."""
    for path in sorted(folder.rglob("*.parquet")):
        inner = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith((".", "_")) for part in inner):
            yield path


def one_schema(schemas: Sequence[tuple[Path, pa.Schema]]) -> pa.Schema:
    """The columns of all files, in the order of the first, of types that hold every value.

    Raises Refused naming the files that have other columns, or the same of another kind.
    """
    first_path, first = schemas[0]
    first = _decoded(first)
    if len(set(first.names)) < len(first.names):
        raise Refused(Problem(file=str(first_path), reason="has two columns of one name."))
    problems: list[Problem] = []
    unified = first
    for path, other in schemas[1:]:
        try:
            if reason := _difference(first, other):
                raise pa.ArrowInvalid(f"{reason} than {first_path}")
            unified = pa.unify_schemas([unified, _decoded(other)], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            problems.append(Problem(file=str(path), reason=f"has other columns: {error}."))
    if problems:
        raise Refused(*problems[:_MOST_PROBLEMS])
    metadata: Any = first.metadata
    same = all(schema.metadata == metadata for _, schema in schemas)
    return unified.with_metadata(metadata) if same and metadata else unified.remove_metadata()


def _splits(folder: Path) -> list[str]:
    """The splits that fsft keeps in a folder beside their tokenizer; none elsewhere."""
    if not (folder / "tokenizer").is_dir():
        return []
    return [name for name in SPLITS if (folder / name).is_dir()]


def _difference(first: pa.Schema, other: pa.Schema) -> str:
    """What `other` lacks and has too much; empty where the names are the same."""
    missing = [name for name in first.names if name not in other.names]
    more = [name for name in other.names if name not in first.names]
    parts = [f"it lacks {', '.join(missing)}"] if missing else []
    parts += [f"it also has {', '.join(more)}"] if more else []
    return " and ".join(parts) + ", other" if parts else ""


def _decoded(schema: pa.Schema) -> pa.Schema:
    """Dictionaries differ from batch to batch, which makes them no type to work with."""
    fields = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in schema
    ]
    metadata: Any = schema.metadata
    return pa.schema(fields, metadata=metadata)
