"""A sample that is too long is cut between images, never through one."""

from pathlib import Path
from typing import Any, Literal

import pytest

from fsft.recipes.schema import Data, Source
from fsft.runtime.data.encode import Encoder
from fsft.runtime.data.encode_samples import SampleEncoder
from fsft.runtime.data.files import find_files
from fsft.runtime.data.images.ids import ImageIds
from fsft.runtime.data.parts import Part
from fsft.runtime.data.row import Row
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.sample_batch import SampleBatch
from fsft.runtime.data.sample_writer import SampleWriter
from fsft.runtime.data.samples import BadRows, PlacedSample, SourceCounts
from fsft.runtime.data.text_tokenizer import text_tokenizer_of
from tests.runtime.data.images.models import FAMILIES, image_processor, picture, tokenizer_of
from tests.support import write_jsonl

TURNS = (
    {"role": "user", "content": "<image>Who are they?"},
    {"role": "assistant", "content": "They are Kane."},
    {"role": "user", "content": "And here? <image>"},
    {"role": "assistant", "content": "Nobody."},
)
SEEN = Sample(messages=TURNS, images=("a.png", "b.png"))
TEXT = Sample(messages=({"role": "user", "content": "Hi"}, TURNS[1]))


class Setup:
    """Encodes samples with two pictures for a family."""

    def __init__(self, family: str, folder: Path) -> None:
        tokenizer = tokenizer_of(family)
        self.texts = text_tokenizer_of(tokenizer)
        self.file = str(write_jsonl(folder / "train.jsonl", [{}]))
        self.source = Source(path=self.file)
        picture(folder / "a.png", 60, 40)
        picture(folder / "b.png", 40, 90)
        self.processor = image_processor(family, tokenizer)
        self.ids = ImageIds(self.processor.text, self.texts)
        self.counts = SourceCounts(self.file, "messages")

    def encode(
        self, length: int, too_long: Literal["drop", "truncate", "split"], *samples: Sample
    ) -> SampleBatch:
        self.counts = SourceCounts(self.file, "messages")
        data = Data(train=[self.source], sequence_length=length, too_long=too_long)
        part = Part(tuple(find_files(self.source)))
        writer = SampleWriter(self.texts, data, self.source, self.processor)
        bad = BadRows(part, data, self.counts)
        encoder = SampleEncoder(data, Encoder(self.texts), self.counts, bad, writer)
        placed = [PlacedSample(Row(self.file, n, {}), s) for n, s in enumerate(samples, 1)]
        return encoder.encode(placed)

    def num_images(self, ids: Any) -> int:
        """Whole images in ids, by the tokens that end them."""
        return int((ids == self.ids.end).sum())


@pytest.mark.parametrize("family", FAMILIES)
def test_truncation_keeps_whole_images_and_their_names(family: str, tmp_path: Path) -> None:
    setup = Setup(family, tmp_path)
    whole = next(iter(setup.encode(10_000, "drop", SEEN).chosen))
    is_image = whole.input_ids == setup.ids.token
    kept_images = set()
    for length in range(8, len(whole.input_ids)):
        batch = setup.encode(length, "truncate", SEEN, TEXT)
        one = next(iter(batch.chosen))
        assert [sample.images for sample in batch.samples][1] == ()
        first_left_out = int(whole.input_ids[length])
        if first_left_out in (setup.ids.token, setup.ids.end):
            assert len(one.input_ids) == len(whole.input_ids)
        else:
            assert one.input_ids.tolist() == whole.input_ids[:length].tolist()
            number = setup.num_images(one.input_ids)
            assert batch.samples[0].images == ("a.png", "b.png")[:number]
            assert not (is_image[length - 1] and is_image[length])
            kept_images.add(number)
    assert kept_images >= {1, 2}


@pytest.mark.parametrize("family", FAMILIES)
def test_dialogues_are_split_with_the_images_of_each_part(family: str, tmp_path: Path) -> None:
    setup = Setup(family, tmp_path)
    (whole,) = setup.encode(10_000, "drop", SEEN).chosen
    batch = setup.encode(len(whole.input_ids) - 1, "split", TEXT, SEEN, TEXT)
    assert [sample.images for sample in batch.samples] == [(), ("a.png",), ("b.png",), ()]
    assert [setup.num_images(one.input_ids) for one in batch.chosen] == [0, 1, 1, 0]
    assert setup.counts.num_split == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_both_sides_of_a_preference_show_the_images(family: str, tmp_path: Path) -> None:
    setup = Setup(family, tmp_path)
    worse = (*TURNS[:3], {"role": "assistant", "content": "I do not know."})
    pair = Sample(messages=TURNS, rejected=worse, images=SEEN.images)
    batch = setup.encode(40, "truncate", pair)
    assert batch.rejected is not None
    for side in batch.sides:
        assert setup.num_images(next(iter(side)).input_ids) == 2
