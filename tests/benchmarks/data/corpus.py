"""The text and the tokenizer that are measured with."""

import json
import random
import sysconfig
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from fsft.recipes.schema import Data, Source
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.samples import SourceCounts, read_samples

CHARACTERS = 4000
"""About how long a document of the standard library's text is."""


def write_corpus(inputs: Sequence[Path], num_bytes: int, target: Path) -> int:
    """Write the texts of `inputs` as jsonl, a document a line; returns the number of documents.

    What is too little is repeated, in another order each time, until there are `num_bytes`. With
    no input it is the source and documentation of Python's standard library.
    """
    texts = list(_texts_of(inputs) if inputs else _standard_library())
    if not texts:
        raise SystemExit("the input holds no text")
    order = random.Random(0)
    size = number = 0
    with target.open("w", encoding="utf-8") as file:
        while size < num_bytes or not number:
            order.shuffle(texts)
            for text in texts:
                line = json.dumps({"text": text}, ensure_ascii=False)
                size += len(line.encode()) + 1
                number += 1
                file.write(line + "\n")
                if size >= num_bytes and number >= len(texts):
                    break
    return number


def write_tokenizer(target: Path) -> None:
    """A byte-level BPE tokenizer of 32,768 ids, trained on the standard library's text."""
    from fsft.runtime.data.tokenizer import template_text, train_tokenizer

    texts = islice(_standard_library(), 2000)
    train_tokenizer(texts, 32_768, template_text("chatml")).save_pretrained(target)


def _texts_of(inputs: Sequence[Path]) -> Iterator[str]:
    for path in inputs:
        source = Source(path=str(path.resolve()))
        data = Data(train=[source], on_error="skip")
        for placed in read_samples(source, data, SourceCounts(source.path, source.format)):
            yield _text(placed.sample)


def _text(sample: Sample) -> str:
    return sample.text or "\n".join(message["content"] for message in sample.messages)


def _standard_library() -> Iterator[str]:
    folder = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(chain(folder.glob("*.py"), folder.glob("[a-r]*/*.py"))):
        text = path.read_text(encoding="utf-8", errors="ignore")
        for start in range(0, len(text), CHARACTERS):
            yield text[start : start + CHARACTERS]
