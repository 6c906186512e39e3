"""The prepare stage: raw files become token ids, and every sample is accounted for."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Data, Source
from fsft.recipes.units import format_count
from fsft.runtime.context import StageContext
from fsft.runtime.data.encode import Encoded, encode
from fsft.runtime.data.long import can_split, split_by_tokens
from fsft.runtime.data.packing import pack
from fsft.runtime.data.preview import sample_shown
from fsft.runtime.data.render import Rendered, render
from fsft.runtime.data.samples import PlacedSample, SourceCounts, read_samples, source_format
from fsft.runtime.data.store import token_writer, write_arrow, write_rows
from fsft.runtime.data.tokenizer import make_tokenizer, template_text, warnings_of_templates
from fsft.runtime.run_directory import replacing_folder, write_json

WINDOW = 4096
"""Samples that are encoded and packed together; bounds memory, and is plenty to pack tightly."""


@dataclass
class SplitCounts:
    """What became of a split. packing_efficiency is tokens ÷ (rows × sequence_length)."""

    sources: list[SourceCounts]
    num_samples: int = 0
    num_rows: int = 0
    num_tokens: int = 0
    num_label_tokens: int = 0
    packing_efficiency: float = 0.0


def prepare(context: StageContext) -> str:
    """Write tokenizer, token ids and counts to the run's data folder; returns a summary.

    Raises Refused when the data cannot be used.
    """
    data = context.recipe.data
    with replacing_folder(context.run.data) as folder:
        tokenizer = make_tokenizer(context.recipe, _texts(context))
        tokenizer.save_pretrained(folder / "tokenizer")
        _require_template(tokenizer, data)
        sources = [*data.train, *data.eval]
        written = [s.template for s in sources if source_format(s) not in ("text", "tokens")]
        for warning in warnings_of_templates(tokenizer, written):
            context.warn(warning)
        splits = {"train": _prepare_split(context, "train", data.train, tokenizer, folder)}
        if data.eval:
            splits["eval"] = _prepare_split(context, "eval", data.eval, tokenizer, folder)
        info = {
            "splits": {name: asdict(counts) for name, counts in splits.items()},
            "tokenizer": {"vocab_size": len(tokenizer), "trained": data.tokenizer is not None},
            "template": tokenizer.chat_template or "",
            "sequence_length": data.sequence_length,
            "packing": data.packing,
        }
        write_json(folder / "info.json", info)
    return _summary(splits["train"])


def _prepare_split(
    context: StageContext, split: str, sources: list[Source], tokenizer: Any, folder: Path
) -> SplitCounts:
    data = context.recipe.data
    counts = SplitCounts([SourceCounts(s.path, source_format(s)) for s in sources])
    parquet = folder / f"{split}.parquet"
    ends_seen = False
    with token_writer(parquet) as writer:
        samples = _usable(context, sources, counts, tokenizer)
        while window := list(itertools.islice(samples, WINDOW)):
            lengths = [len(sample.input_ids) for sample in window]
            groups = pack(lengths, data.sequence_length) if data.packing else _alone(lengths)
            counts.num_rows += write_rows(writer, ([window[i] for i in g] for g in groups))
            counts.num_samples += len(window)
            counts.num_tokens += sum(lengths)
            counts.num_label_tokens += sum(sample.num_labels for sample in window)
            ends_seen |= any((s.labels == tokenizer.eos_token_id).any() for s in window)
            read = sum(source.num_read for source in counts.sources)
            context.progress(f"tokenize {split}", read, 0)
    if not counts.num_samples:
        raise Refused(*_why_nothing_is_left(counts))
    if not ends_seen:
        context.warn(
            f"the end-of-text token {tokenizer.eos_token!r} is never learned in {split}: the model "
            "may not know when to stop. Check that the chat template ends an answer with it."
        )
    for source in counts.sources:
        if reasons := _left_out(source):
            context.warn(f"{source.path}: of {source.num_read} rows, left out: {reasons}.")
        if source.num_left_out:
            context.warn(
                f"{source.path}: the chat template leaves out {source.num_left_out} texts, such as "
                "reasoning in earlier answers or turns of a role that it does not know."
            )
    counts.packing_efficiency = counts.num_tokens / (counts.num_rows * data.sequence_length)
    write_arrow(parquet, folder / f"{split}.arrow")
    return counts


def _usable(
    context: StageContext, sources: list[Source], counts: SplitCounts, tokenizer: Any
) -> Iterator[Encoded]:
    """The encoded samples that have something to learn; the others are counted."""
    data = context.recipe.data
    shown = False
    for source, source_counts in zip(sources, counts.sources, strict=True):
        placed = read_samples(source, data, source_counts)
        template = template_text(source.template or "auto") or None
        while window := list(itertools.islice(placed, WINDOW)):
            for sample in _encoded(window, source, source_counts, tokenizer, data, template):
                if (kept := _kept(sample, data, source_counts)) is not None:
                    if not shown:
                        context.events.write(sample_shown(kept, tokenizer))
                        shown = True
                    source_counts.num_used += 1
                    yield kept


def _encoded(
    window: Iterable[PlacedSample],
    source: Source,
    counts: SourceCounts,
    tokenizer: Any,
    data: Data,
    template: str | None,
) -> Iterator[Encoded]:
    """The samples as token ids; those too long as several, where the recipe splits them."""
    rendered = list(_rendered(window, source, counts, tokenizer, data, template))
    encoded = encode([item for _, item in rendered], tokenizer)
    for (placed, _), sample in zip(rendered, encoded, strict=True):
        is_long = len(sample.input_ids) > data.sequence_length
        if not (is_long and data.too_long == "split" and can_split(placed.sample)):
            yield sample
            continue
        parts = split_by_tokens(placed.sample, tokenizer, data, template)
        counts.num_too_long += parts.num_too_long
        counts.num_split += len(parts.samples) + parts.num_too_long - 1
        texts = [render(part, tokenizer, data, template) for part in parts.samples]
        yield from encode(texts, tokenizer)


def _rendered(
    window: Iterable[PlacedSample],
    source: Source,
    counts: SourceCounts,
    tokenizer: Any,
    data: Data,
    template: str | None,
) -> Iterator[tuple[PlacedSample, Rendered]]:
    for placed in window:
        try:
            rendered = render(placed.sample, tokenizer, data, template)
            counts.num_left_out += rendered.num_left_out
            yield placed, rendered
        except ValueError as error:
            counts.num_broken += 1
            if data.on_error == "stop":
                raise Refused(
                    Problem(file=source.path, line=placed.line, reason=f"{error}.")
                ) from None


def _kept(sample: Encoded, data: Data, counts: SourceCounts) -> Encoded | None:
    if len(sample.input_ids) > data.sequence_length:
        if data.too_long != "truncate":
            counts.num_too_long += 1
            return None
        cut = slice(data.sequence_length)
        sample = Encoded(sample.input_ids[cut], sample.labels[cut])
        counts.num_truncated += 1
    if not sample.num_labels:
        counts.num_fully_masked += 1
        return None
    return sample


def _alone(lengths: list[int]) -> list[list[int]]:
    return [[index] for index in range(len(lengths))]


def _texts(context: StageContext) -> Iterator[str]:
    """All text of the training data, for training a tokenizer."""
    data = context.recipe.data
    for source in data.train:
        uncounted = SourceCounts(source.path, source.format)
        for placed in read_samples(source, data, uncounted):
            sample = placed.sample
            yield from (turn["content"] for turn in (*sample.messages, *sample.rejected))
            if sample.text:
                yield sample.text


def _require_template(tokenizer: Any, data: Data) -> None:
    sources = [s for s in [*data.train, *data.eval] if not s.template]
    formats = {source_format(source) for source in sources}
    if formats - {"text"} and not tokenizer.chat_template:
        raise Refused(
            Problem(
                key="data.template",
                reason="the data holds dialogues, and the tokenizer has no chat template.",
                example='template = "chatml"',
            )
        )


def _why_nothing_is_left(counts: SplitCounts) -> Iterator[Problem]:
    for source in counts.sources:
        yield Problem(
            file=source.path,
            reason=f"no sample is left to learn from; rows: {_left_out(source) or 'none'}.",
            example="check data.template, data.sequence_length and the answers in the file",
        )


def _left_out(source: SourceCounts) -> str:
    """How many rows were left out, by reason; empty when none was."""
    reasons = {
        "that could not be read": source.num_broken,
        "empty": source.num_empty,
        "longer than sequence_length": source.num_too_long,
        "in which the chat template leaves no token to learn": source.num_fully_masked,
    }
    return ", ".join(f"{number} {reason}" for reason, number in reasons.items() if number)


def _summary(train: SplitCounts) -> str:
    left_out = sum(s.num_read + s.num_split - s.num_used for s in train.sources)
    formats = ", ".join(dict.fromkeys(source.format for source in train.sources))
    return (
        f"{train.num_samples} samples ({formats}) in {train.num_rows} rows, "
        f"{format_count(train.num_tokens)} tokens, {format_count(train.num_label_tokens)} learned, "
        f"packing {train.packing_efficiency:.1%}, {left_out} left out"
    )
