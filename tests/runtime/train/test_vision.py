"""Models that see learn from packed rows exactly what they learn from each sample alone."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fsft.recipes.problems import RunFailed
from fsft.recipes.schema import Data, Source
from fsft.runtime.data.encode import Encoder
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.sample_writer import SampleWriter
from fsft.runtime.data.text_tokenizer import text_tokenizer_of
from fsft.runtime.data.training_set import TokenRow
from fsft.runtime.train.loss import loss_of
from fsft.runtime.train.model import build_model
from fsft.runtime.train.vision import BatchMaker
from tests.runtime.data.images.models import (
    FAMILIES,
    image_processor,
    picture,
    recipe_of,
    tokenizer_of,
)


class Setup:
    """A tiny model of a family with a picture book."""

    def __init__(self, family: str, folder: Path) -> None:
        self.tokenizer = tokenizer_of(family)
        self.processor = image_processor(family, self.tokenizer)
        self.folder = folder
        self.model = build_model(recipe_of(family), self.tokenizer, "cpu").eval()
        # First weights are small, and attention looks nearly everywhere alike.
        with torch.no_grad():
            for weight in self.model.parameters():
                weight.mul_(8 if weight.ndim > 1 else 1)
        for name, size in {"a": (60, 40), "b": (40, 90), "c": (30, 30)}.items():
            picture(folder / f"{name}.png", *size)
        self.rows = [
            self._row("<image>Who are they?", "They are Kane.", ["a.png"]),
            self._row("And you?", "I am nobody at all.", []),
            self._row("<image> or <image>?", "Both.", ["b.png", "c.png"]),
        ]

    def _row(self, question: str, answer: str, images: list[str]) -> TokenRow:
        source = Source(path=str(self.folder / "train.jsonl"))
        texts = text_tokenizer_of(self.tokenizer)
        writer = SampleWriter(texts, Data(train=[source]), source, self.processor)
        turns = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
        sample = Sample(messages=turns, images=tuple(images))
        (one,) = Encoder(texts).encode([writer.write(sample)])
        bounds = np.asarray([0, len(one.input_ids)], np.int32)
        places = tuple(str(self.folder / name) for name in images)
        return TokenRow(one.input_ids, one.labels, bounds, (places,))

    def maker(self, *, one_row: bool = False, always_sees: bool = False) -> BatchMaker:
        return BatchMaker(
            self.model, self.tokenizer, self.processor, one_row=one_row, always_sees=always_sees
        )

    def loss(self, maker: BatchMaker, rows: Sequence[TokenRow]) -> float:
        with torch.inference_mode():
            batch = maker.filled(maker.collated(rows))
            return float(loss_of(self.model, batch, num_labels=1))


def packed(*rows: TokenRow) -> TokenRow:
    return TokenRow(
        np.concatenate([row.input_ids for row in rows]),
        np.concatenate([row.labels for row in rows]),
        np.cumsum([0, *(len(row.input_ids) for row in rows)]).astype(np.int32),
        tuple(images for row in rows for images in row.images),
    )


@pytest.mark.parametrize("one_row", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rows_have_the_loss_of_their_samples(
    family: str, one_row: bool, tmp_path: Path
) -> None:
    setup = Setup(family, tmp_path)
    first, second, third = setup.rows
    alone = sum(setup.loss(setup.maker(), [row]) for row in setup.rows)
    together = setup.maker(one_row=one_row)
    for rows in (
        [packed(first, second, third)],
        [packed(third, second, first)],
        [packed(second, third), first],
        [first, packed(third, second)],
    ):
        assert setup.loss(together, rows) == pytest.approx(alone, rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_picture_matters(family: str, tmp_path: Path) -> None:
    setup = Setup(family, tmp_path)
    row = setup.rows[0]
    before = setup.loss(setup.maker(), [row])
    other = picture(tmp_path / "other.png", 60, 40, compress_level=0)
    from PIL import Image

    Image.new("RGB", (60, 40), "red").save(other)
    after = setup.loss(setup.maker(), [replace(row, images=((str(other),),))])
    assert after != pytest.approx(before, rel=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_single_samples_have_the_loss_that_transformers_computes(
    family: str, tmp_path: Path
) -> None:
    from PIL import Image

    from tests.runtime.data.images.models import whole_processor

    setup = Setup(family, tmp_path)
    row = setup.rows[2]
    theirs = whole_processor(family, setup.tokenizer, setup.processor)
    question = "<IMG_CONTEXT>\n or <IMG_CONTEXT>\n?"
    if family != "internvl":
        question = question.replace(
            "<IMG_CONTEXT>\n", "<|vision_start|><|image_pad|><|vision_end|>"
        )
    text = setup.tokenizer.apply_chat_template(
        [{"role": "user", "content": question}, {"role": "assistant", "content": "Both."}],
        tokenize=False,
    )
    images = [Image.open(place) for place in row.images[0]]
    made = dict(theirs(text=[text], images=images, return_tensors="pt"))
    labels = torch.from_numpy(row.labels.astype(np.int64))[None]
    with torch.inference_mode():
        expected = setup.model(**made, labels=labels).loss
    number = int((row.labels[1:] >= 0).sum())
    assert setup.loss(setup.maker(), [row]) / number == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_without_images_goes_through_the_vision_tower_all_the_same(
    family: str, tmp_path: Path
) -> None:
    setup = Setup(family, tmp_path)
    maker = setup.maker(always_sees=True)
    row = setup.rows[1]
    plain, sees = setup.maker().collated([row]), maker.collated([row])
    assert (sees.num_tokens, sees.num_labels) == (plain.num_tokens, plain.num_labels)
    assert setup.loss(maker, [row]) == pytest.approx(setup.loss(setup.maker(), [row]), rel=1e-5)
    loss_of(setup.model, maker.filled(sees), num_labels=1).backward()
    tower = {name: p for name, p in setup.model.named_parameters() if "vis" in name}
    assert tower
    assert all(p.grad is not None and not p.grad.any() for p in _used(family, tower))


def _used(family: str, tower: dict[str, Any]) -> list[Any]:
    unused = ("cls_token", "mask_token") if family == "internvl" else ()
    return [p for name, p in tower.items() if not name.endswith(unused)]


def test_an_image_that_changed_after_preparation_is_named(tmp_path: Path) -> None:
    setup = Setup("qwen2_vl", tmp_path)
    picture(tmp_path / "a.png", 600, 400)
    with pytest.raises(RunFailed, match=r"the image a\.png is not the one"):
        setup.loss(setup.maker(), [setup.rows[0]])
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(RunFailed, match=r"a\.png` cannot be read"):
        setup.loss(setup.maker(), [setup.rows[0]])


def test_work_ahead_keeps_the_order_and_passes_errors_on() -> None:
    from fsft.runtime.train.ahead import made_ahead

    assert list(made_ahead(lambda n: n * n, range(5))) == [0, 1, 4, 9, 16]
    assert list(made_ahead(str, [])) == []
    with pytest.raises(ZeroDivisionError):
        list(made_ahead(lambda n: 1 / n, [1, 0]))
