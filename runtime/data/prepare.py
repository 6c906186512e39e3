"""The prepare stage: raw files become token ids, and rows to train from."""

from dataclasses import asdict, dataclass

from fsft.recipes.preferences import preference_problems
from fsft.recipes.problems import Refused
from fsft.recipes.schema import Source
from fsft.recipes.units import format_count
from fsft.runtime.context import StageContext
from fsft.runtime.data.images.files import image_folder
from fsft.runtime.data.images.hashes import write_image_hashes
from fsft.runtime.data.images.processor import ImageProcessor
from fsft.runtime.data.images.shown import with_named_images
from fsft.runtime.data.left_out import left_out, require_samples
from fsft.runtime.data.preview import sample_shown
from fsft.runtime.data.samples import SourceCounts, source_format
from fsft.runtime.data.store import read_batches
from fsft.runtime.data.text_tokenizer import TextTokenizer, text_tokenizer
from fsft.runtime.data.tokenize import SplitTokens, start_engine, tokenize
from fsft.runtime.data.tokenizer import saved_tokenizer, warnings_of_templates
from fsft.runtime.data.training_set import Portion, TokenRows, write_training_set
from fsft.runtime.run_directory import write_json
from fsft.runtime.unchanged import resumed_from

WITHOUT_TEMPLATE = ("text", "tokens")


@dataclass
class SplitCounts:
    """What became of a split.

    packing_efficiency is epoch_tokens ÷ (rows × sequence_length). No way to pack needs fewer rows
    than fewest_rows.
    """

    sources: list[SourceCounts]
    num_samples: int
    num_rows: int
    num_tokens: int
    num_label_tokens: int
    epoch_tokens: int
    """Tokens of one epoch: a sample counts as often as its set's weight says."""
    packing_efficiency: float
    fewest_rows: int


def prepare(context: StageContext) -> str:
    """Write tokenizer, token ids, rows and counts to the run's data folder; returns a summary.

    What was tokenized before a kill is not tokenized again. Raises Refused when the data cannot be
    used, or changed while it was read.
    """
    data = context.recipe.data
    made_by, inputs = context.fingerprint, context.inputs
    with resumed_from(context.run.data, made_by, context.recipe, inputs) as folder:
        if problems := list(preference_problems(data, source_format)):
            raise Refused(*problems)
        start_engine(data)
        tokenizer = text_tokenizer(saved_tokenizer(context.recipe, folder))
        sources = [*data.train, *data.eval]
        written = [s.template for s in sources if source_format(s) not in WITHOUT_TEMPLATE]
        for warning in warnings_of_templates(tokenizer, written):
            context.warn(warning)
        tokens = tokenize(folder, data, context.progress)
        splits = {split: _arranged(context, split, tokens[split], tokenizer) for split in tokens}
        write_image_hashes(folder, data)
        info = {
            "splits": {name: asdict(counts) for name, counts in splits.items()},
            "tokenizer": {"vocab_size": len(tokenizer), "trained": data.tokenizer is not None},
            "template": tokenizer.chat_template or "",
            "sequence_length": data.sequence_length,
            "packing": data.packing,
        }
        write_json(folder / "info.json", info)
    return _summary(splits["train"])


def _arranged(
    context: StageContext, split: str, tokens: SplitTokens, tokenizer: TextTokenizer
) -> SplitCounts:
    """Lay the samples of a split out for training, and tell what became of its sources."""
    data = context.recipe.data
    for trouble in tokens.troubles:
        context.warn(f"{trouble}; tokenizers was used instead, which is slower.")
    require_samples(tokens.sources)
    if not any(part.ends_learned for part in tokens.parts):
        context.warn(
            f"the end-of-text token {tokenizer.eos_token!r} is never learned in {split}: the model "
            "may not know when to stop. Check that the chat template ends an answer with it."
        )
    for counts in tokens.sources:
        if reasons := left_out(counts):
            context.warn(f"{counts.path}: of {counts.num_read} rows, left out: {reasons}.")
        if counts.num_left_out:
            context.warn(
                f"{counts.path}: the chat template leaves out {counts.num_left_out} texts, such as "
                "reasoning in earlier answers or turns of a role that it does not know."
            )
    sources: list[Source] = getattr(data, split)
    folder = tokens.files[0].parent
    extent = write_training_set(
        folder,
        read_batches(tokens.files),
        [Portion(c.num_used, s.weight) for c, s in zip(tokens.sources, sources, strict=True)],
        sequence_length=data.sequence_length,
        packing=data.packing,
    )
    if split == "train":
        rows = TokenRows(folder, [image_folder(source) for source in sources])
        shown = sample_shown(rows.sample(0), tokenizer)
        if images := ImageProcessor.load(folder.parent / "tokenizer"):
            shown = with_named_images(shown, images.text, rows.images.of(0))
        context.events.write(shown)
    return SplitCounts(
        sources=tokens.sources,
        num_samples=sum(counts.num_used for counts in tokens.sources),
        num_rows=extent.num_rows,
        num_tokens=tokens.num_tokens,
        num_label_tokens=tokens.num_label_tokens,
        epoch_tokens=extent.num_tokens,
        packing_efficiency=extent.num_tokens / (extent.num_rows * data.sequence_length),
        fewest_rows=-(-extent.num_tokens // data.sequence_length),
    )


def _summary(train: SplitCounts) -> str:
    num_left_out = sum(s.num_read + s.num_split - s.num_used for s in train.sources)
    formats = ", ".join(dict.fromkeys(source.format for source in train.sources))
    return (
        f"{train.num_samples} samples ({formats}) in {train.num_rows} rows, "
        f"{format_count(train.num_tokens)} tokens, {format_count(train.num_label_tokens)} learned, "
        f"packing {train.packing_efficiency:.1%} ({train.fewest_rows} rows at best), "
        f"{num_left_out} left out"
    )
