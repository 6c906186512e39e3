"""Raw files as token ids in parquet: split into parts, tokenized, every sample accounted for."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fsft.recipes.problems import Refused
from fsft.recipes.schema import SPLITS, Data, DataFormat, Source
from fsft.runtime.data.files import find_files
from fsft.runtime.data.images.processor import takes_images
from fsft.runtime.data.parts import Part, split_into_parts
from fsft.runtime.data.samples import MAX_PROBLEMS, SourceCounts, source_format
from fsft.runtime.data.store import token_schema
from fsft.runtime.data.tokenize_part import PartCounts, PartTask, finished_counts

PART_BYTES = 32_000_000
"""Input that becomes one file of token ids: what is lost at most when a process is killed."""

Progress = Callable[[str, int, int], None]
"""Told what is being done, and how much of it is done and there is in all."""


@dataclass(frozen=True)
class SplitTokens:
    """The token ids of a split: its files in order, and what became of each source."""

    files: list[Path]
    parts: list[PartCounts]
    """Of each file."""
    sources: list[SourceCounts]

    @property
    def num_tokens(self) -> int:
        """Tokens in all files."""
        return sum(part.num_tokens for part in self.parts)

    @property
    def num_label_tokens(self) -> int:
        """Tokens that are learned."""
        return sum(part.num_label_tokens for part in self.parts)

    @property
    def engines(self) -> list[str]:
        """The libraries that made the ids."""
        return sorted({part.engine for part in self.parts})

    @property
    def troubles(self) -> list[str]:
        """Where a fast library was not exact, and the reference took over."""
        return [part.trouble for part in self.parts if part.trouble]


def start_engine(data: Data) -> None:
    """Let what takes long to start do so while the tokenizer is made. Raises Refused."""
    if data.engine == "spark":
        from fsft.runtime.data.spark_engine import start_spark

        start_spark(data.spark_master)
    else:
        from fsft.runtime.data.local_engine import start_server

        start_server(data, plan_parts(data))


def tokenize(folder: Path, data: Data, on_progress: Progress) -> dict[str, SplitTokens]:
    """Write the token ids of every split below `folder`, which holds the tokenizer.

    Parts that are there already stay. Progress is in bytes of input. Raises Refused where data
    cannot be used.
    """
    tasks = plan_parts(data)
    for split in {task.split for task in tasks}:
        (folder / split).mkdir(parents=True, exist_ok=True)
    found = {task: finished_counts(folder, task) for task in tasks}
    done = {task: counts for task, counts in found.items() if counts}
    if len(done) < len(tasks):
        _tokenize_rest(
            [task for task in tasks if task not in done], folder, data, done, on_progress
        )
    return {split: _gathered(split, folder, data, done) for split in SPLITS if getattr(data, split)}


def plan_parts(data: Data) -> list[PartTask]:
    """The parts of every source, numbered through each split."""
    tasks: list[PartTask] = []
    for split in SPLITS:
        sources: list[Source] = getattr(data, split)
        parts = [
            (index, source_format(source), *sized)
            for index, source in enumerate(sources)
            for sized in _parts_of(source)
        ]
        tasks += [PartTask(split, number, *rest) for number, rest in enumerate(parts)]
    return tasks


def _parts_of(source: Source) -> list[tuple[Part, int]]:
    """The parts of a source, each with about its bytes: pieces of a file have equal shares."""
    limit = source.max_samples
    parts = split_into_parts(find_files(source), target_bytes=PART_BYTES, limit=limit)
    num_pieces = Counter(file for part in parts for file in part.files)
    return [(part, sum(file.size // num_pieces[file] for file in part.files)) for part in parts]


def _tokenize_rest(
    tasks: Sequence[PartTask],
    folder: Path,
    data: Data,
    done: dict[PartTask, PartCounts],
    on_progress: Progress,
) -> None:
    """Add what is missing to `done`; the processes may finish in any order."""
    if data.engine == "spark":
        from fsft.runtime.data.spark_engine import tokenize_with_spark as run
    else:
        from fsft.runtime.data.local_engine import tokenize_locally as run

    formats: dict[str, set[DataFormat]] = {split: set() for split in SPLITS}
    for task in (*tasks, *done):
        formats[task.split].add(task.format)
    with_images = takes_images(folder / "tokenizer")
    schemas = {
        split: token_schema(found, with_images=with_images) for split, found in formats.items()
    }
    total = sum(task.num_bytes for task in (*tasks, *done))
    bad: dict[tuple[int, int], PartCounts] = {}
    for task, counts in run(tasks, folder, data, schemas):
        done[task] = counts
        if counts.problems:
            bad[SPLITS.index(task.split), task.number] = counts
            if data.on_error == "stop":
                break
        on_progress("tokenize", sum(task.num_bytes for task in done), total)
    problems = [problem for _, counts in sorted(bad.items()) for problem in counts.problems]
    if problems:
        raise Refused(*problems[: MAX_PROBLEMS + 1])


def _gathered(
    split: str, folder: Path, data: Data, done: Mapping[PartTask, PartCounts]
) -> SplitTokens:
    parts = sorted((task for task in done if task.split == split), key=lambda task: task.number)
    sources = []
    for index, source in enumerate(getattr(data, split)):
        own = [task for task in parts if task.source_index == index]
        whole = SourceCounts(source.path, own[0].format if own else source.format)
        for task in own:
            whole.add(done[task].rows)
        sources.append(whole)
    return SplitTokens([folder / task.name for task in parts], [done[t] for t in parts], sources)
