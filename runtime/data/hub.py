"""Data sets of the Hugging Face hub, and those that `datasets` saved to disk."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from fsft.recipes.data_files import hub_name
from fsft.recipes.problems import Problem, Refused, missing_package
from fsft.runtime.data.files import DataFile
from fsft.runtime.data.row import Row
from fsft.runtime.data.table_rows import rows_of, rows_together, told_as_content

TIMEOUT = 20
"""Seconds to wait for the hub."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


def find_set(path: str, subset: str | None, split: str) -> DataFile:
    """A data set of the hub at the commit that its path names, else at its newest one.

    Without a network, the newest in the cache. Raises Refused where none is to be had.
    """
    name, revision = hub_name(path)
    version = revision if _COMMIT.fullmatch(revision) else _newest_commit(path, name, revision)
    return DataFile(path, "hub", version=version, subset=subset or "", split=split)


def count_rows(file: DataFile) -> tuple[int, int]:
    """The rows of a set, and the bytes that they take in memory; downloads it where need be."""
    found = _open(file)
    return len(found), int(found.data.nbytes)


def read_set(file: DataFile, start: int, stop: int | None) -> Iterator[Row]:
    """The rows [start, stop) of a set, numbered from its beginning; images stay encoded."""
    found = _open(file)
    stop = len(found) if stop is None else min(stop, len(found))
    most = rows_together(int(found.data.nbytes), len(found))
    tables = found.select(range(start, stop)).with_format("arrow").iter(most)
    batches = (batch for table in tables for batch in table.to_batches())
    with told_as_content("arrow"):
        yield from rows_of(file, batches, start)


def read_first(file: DataFile, limit: int) -> Iterator[Row]:
    """The first rows of a set of the hub, of which no more is downloaded than they take."""
    with _told(file.path):
        tables = _load(file, streaming=True).with_format("arrow").iter(min(limit, 256))
        batches = (batch for table in tables for batch in table.to_batches())
        yield from islice(rows_of(file, batches, 0), limit)


def _open(file: DataFile) -> Any:
    """The set, mapped into memory."""
    with _told(file.path):
        if file.kind == "hub":
            return _load(file)
        import datasets

        found = datasets.load_from_disk(file.path)
    if isinstance(found, datasets.DatasetDict):
        if file.split not in found:
            raise Refused(
                Problem(
                    file=file.path,
                    reason=f"the data set has no split {file.split!r}.",
                    example=" or ".join(f'split = "{name}"' for name in found),
                )
            )
        return found[file.split]
    return found


def _load(file: DataFile, *, streaming: bool = False) -> Any:
    import datasets

    return datasets.load_dataset(
        hub_name(file.path)[0],
        file.subset or None,
        split=file.split,
        revision=file.version,
        streaming=streaming,
    )


def _newest_commit(path: str, name: str, revision: str) -> str:
    """The commit of a tag or branch, the main one where `revision` is empty."""
    with _told(path):
        from huggingface_hub import HfApi, constants, errors

        try:
            return str(HfApi().dataset_info(name, revision=revision or None, timeout=TIMEOUT).sha)
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
            raise
        except Exception:
            # Whatever keeps the hub away, the cache may have the set.
            folder = f"datasets--{name.replace('/', '--')}"
            cached = Path(constants.HF_HUB_CACHE) / folder / "refs" / (revision or "main")
            if cached.is_file():
                return cached.read_text().strip()
            raise


@contextmanager
def _told(path: str) -> Iterator[None]:
    """Turn whatever `datasets` and the hub raise into a Refused that says what to do."""
    try:
        yield
    except Refused:
        raise
    except ModuleNotFoundError as error:
        raise missing_package(error) from None
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise Refused(
            Problem(
                file=path,
                reason=f"the data set cannot be loaded: {reason}.",
                example="check path, subset and split; without a network, save the set where there "
                "is one with datasets.load_dataset(…).save_to_disk(FOLDER) and name the folder",
            )
        ) from error
