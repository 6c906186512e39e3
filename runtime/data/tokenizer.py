"""The tokenizer of a run: the model's own, or one trained from the data."""

from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Data, Recipe, Source
from fsft.recipes.shipped import shipped_templates
from fsft.runtime.data.chat_template import template_tokens, template_warnings, turn_ends
from fsft.runtime.data.images.of_recipe import image_processor_of, image_tokens
from fsft.runtime.data.samples import SourceCounts, read_samples, source_format
from fsft.runtime.data.text_tokenizer import TextTokenizer
from fsft.runtime.processes import in_child
from fsft.runtime.run_directory import replacing_folder

PAD_TOKEN = "<|endoftext|>"
DEFAULT_TEMPLATE = "chatml"
"""The chat template of a tokenizer trained in the run, where the recipe names none."""


def make_tokenizer(recipe: Recipe, texts: Iterator[str]) -> Any:
    """The transformers tokenizer of the run, chat template included.

    `texts` is read only when the recipe asks for a new tokenizer. Raises Refused when there is
    no usable one.
    """
    template = template_text(recipe.data.template)
    _require_understood(template)
    if recipe.data.tokenizer is None:
        tokenizer = _load(recipe)
    else:
        template = template or template_text(DEFAULT_TEMPLATE)
        special = image_tokens(recipe)
        tokenizer = train_tokenizer(texts, recipe.data.tokenizer.vocab_size, template, special)
    if template:
        tokenizer.chat_template = template
    return tokenizer


def saved_tokenizer(recipe: Recipe, folder: Path) -> Path:
    """Where the tokenizer of the run is in `folder`, made and put there if need be.

    Raises Refused when there is none, or none that has what the data needs.
    """
    target = folder / "tokenizer"
    if not target.exists():
        in_child(_save_tokenizer, recipe, target)
    return target


def _save_tokenizer(recipe: Recipe, target: Path) -> None:
    import_module("fsft.runtime.data.without_torch")
    made = make_tokenizer(recipe, _texts(recipe.data))
    _require_template(made, recipe.data)
    images = image_processor_of(recipe, made)
    with replacing_folder(target) as partial:
        made.save_pretrained(partial)
        if images:
            images.save(partial)


def template_text(name: str) -> str:
    """The text of a shipped chat template, or of a .jinja file; empty for "auto"."""
    if name == "auto":
        return ""
    path = Path(name) if name.endswith(".jinja") else shipped_templates()[name]
    return path.read_text(encoding="utf-8")


def template_of(source: Source) -> str | None:
    """The text of the template for a source alone; None where it has that of all data."""
    return template_text(source.template) if source.template else None


def warnings_of_templates(tokenizer: TextTokenizer, names: Iterable[str | None]) -> list[str]:
    """What may surprise in the templates that data sets name; None is the tokenizer's own."""
    texts = (template_text(name or "auto") or tokenizer.chat_template for name in names)
    known = dict.fromkeys(text for text in texts if isinstance(text, str))
    return [warning for text in known for warning in template_warnings(tokenizer, text)]


def _require_understood(template: str) -> None:
    try:
        turn_ends(template)
    except ValueError as error:
        raise Refused(Problem(key="data.template", reason=f"{error}.")) from None


def _load(recipe: Recipe) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            recipe.model.path, revision=recipe.model.revision or "main"
        )
    except (OSError, ValueError) as error:
        if not Path(str(recipe.model.path)).is_dir():
            raise Refused(
                Problem(
                    key="model.path",
                    reason=f"the tokenizer of `{recipe.model.path}` is not on this machine, and "
                    "could not be fetched.",
                    example="a folder in Hugging Face format, or a machine with a network",
                )
            ) from None
        raise Refused(
            Problem(
                key="model.path",
                reason=f"no tokenizer could be loaded from `{recipe.model.path}`: {error}",
            )
        ) from None
    if not tokenizer.is_fast:
        raise Refused(
            Problem(
                key="model.path",
                reason="the model's tokenizer has no fast version, which exact loss masks need.",
                example="a model folder with tokenizer.json",
            )
        )
    return tokenizer


def train_tokenizer(
    texts: Iterator[str], vocab_size: int, template: str, also_special: Sequence[str] = ()
) -> Any:
    """Byte-level BPE: every byte has a token, so no text is unknown.

    The special tokens are those that the template writes, those given and the padding token.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = list(dict.fromkeys([PAD_TOKEN, *template_tokens(template), *also_special]))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD_TOKEN,
        eos_token=next(iter(turn_ends(template)), PAD_TOKEN),
        extra_special_tokens=special[1:],
        clean_up_tokenization_spaces=False,
    )


def _texts(data: Data) -> Iterator[str]:
    """All text of the training data, for training a tokenizer."""
    for source in data.train:
        uncounted = SourceCounts(source.path, source.format)
        for placed in read_samples(source, data, uncounted):
            sample = placed.sample
            yield from (turn["content"] for turn in (*sample.messages, *sample.rejected))
            if sample.text:
                yield sample.text


def _require_template(tokenizer: Any, data: Data) -> None:
    sources = [source for source in [*data.train, *data.eval] if not source.template]
    formats = {source_format(source) for source in sources}
    if formats - {"text", "tokens"} and not tokenizer.chat_template:
        raise Refused(
            Problem(
                key="data.template",
                reason="the data holds dialogues, and the tokenizer has no chat template.",
                example='template = "chatml"',
            )
        )
