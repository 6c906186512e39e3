"""What a model that sees takes besides text: the values of images, and where their tokens stand.

Made when a batch is computed: images are too many to be kept as numbers.
"""

import base64
import copy
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from fsft.recipes.problems import RunFailed
from fsft.runtime.data.encode import IGNORED
from fsft.runtime.data.images.files import load_image, short_name
from fsft.runtime.data.images.processor import ImageProcessor
from fsft.runtime.data.training_set import TokenRow
from fsft.runtime.train.batches import Batch, collate

READERS = 4
"""Threads of a process that read images; Pillow reads without Python's lock."""


class BatchMaker:
    """Makes micro batches of rows for a model, in two steps: the text, and what costs time."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        images: ImageProcessor | None,
        *,
        one_row: bool,
        always_sees: bool,
    ) -> None:
        """`one_row` as in collate.

        `always_sees`: a batch without images gets one that nothing refers to. Processes that share
        gradients must all go through the same layers, and those of the vision tower are layers too.
        """
        self._tokenizer, self._images = tokenizer, images
        self._pad = tokenizer.pad_token_id or tokenizer.eos_token_id or 0
        self._one_row = one_row
        self._always_sees = always_sees and images is not None
        # The position of an image's tokens is their time, height and width, where a model says so.
        self._rope_index = getattr(getattr(model, "model", None), "get_rope_index", None)
        self._readers = ThreadPoolExecutor(READERS)

    def of_other_rows(self, *, always_sees: bool) -> "BatchMaker":
        """The same for other rows, which have images or not."""
        other = copy.copy(self)
        other._always_sees = always_sees and self._images is not None
        return other

    def collated(self, rows: Sequence[TokenRow]) -> Batch:
        """The text of the rows; their images are still to be filled in."""
        batch = collate(rows, self._pad, one_row=self._one_row)
        if not self._always_sees or any(map(_images_of, rows)):
            return batch
        with_blank = collate(
            [*rows[:-1], _joined(rows[-1], self._blank)], self._pad, one_row=self._one_row
        )
        return replace(
            with_blank, num_tokens=batch.num_tokens, sum_squared_lengths=batch.sum_squared_lengths
        )

    def filled(self, batch: Batch) -> Batch:
        """The batch with all that the model takes. Raises RunFailed, naming an image at fault."""
        inputs = self._values(batch.rows) if self._images else {}
        if self._rope_index is None:
            return replace(batch, inputs=inputs)
        # By them, too, samples of a row are kept apart, whether there are images or not.
        grids = inputs.get("image_grid_thw", torch.zeros((0, 3), dtype=torch.int64))
        return replace(batch, inputs=inputs, position_ids=self._positions(batch, grids))

    def _values(self, rows: Sequence[TokenRow]) -> dict[str, torch.Tensor]:
        wanted = [pair for row in rows for pair in self._wanted(row)]
        made = list(self._readers.map(self._values_of, wanted))
        names = made[0] if made else ()
        return {name: torch.cat([one[name] for one in made]) for name in names}

    def _wanted(self, row: TokenRow) -> Iterator[tuple[str, int]]:
        """The images of a row with the tokens that its text has for each."""
        images = _images_of(row)
        is_image = np.concatenate([[0], row.input_ids == self._image_id, [0]])
        edges = np.flatnonzero(np.diff(is_image)).reshape(-1, 2)
        if len(edges) != len(images):
            raise RunFailed(
                f"a row has the tokens of {len(edges)} images, and {len(images)} are named. Token "
                "ids that were prepared elsewhere need the column images."
            )
        yield from zip(images, np.diff(edges).ravel().tolist(), strict=True)

    def _values_of(self, wanted: tuple[str, int]) -> dict[str, torch.Tensor]:
        place, num_tokens = wanted
        assert self._images is not None
        try:
            values = self._images.values([load_image(place)])
        except ValueError as error:
            raise RunFailed(f"{error}. It could be read when the data was prepared.") from None
        if (found := self._images.tokens_in(values)) != num_tokens:
            raise RunFailed(
                f"the image {short_name(place)} is not the one that the data was prepared with: it "
                f"takes {found} tokens, and the text has {num_tokens}. ({place})"
            )
        return values

    def _positions(self, batch: Batch, grids: torch.Tensor) -> torch.Tensor:
        """(4, rows, longest row): by the first, attention is bounded; the others are the rotary's.

        Text has the same position in all; each sample begins at 0.
        """
        assert self._rope_index is not None
        positions = batch.position_ids.repeat(4, 1, 1)
        used = place = 0
        for index, row in enumerate(batch.rows):
            # A training set without any image has no `images` for its samples either.
            samples = zip(pairwise(row.cu_seqlens.tolist()), row.images, strict=False)
            for (start, end), images in samples:
                if images:
                    ids = torch.from_numpy(row.input_ids[start:end].astype(np.int64))[None]
                    found, _ = self._rope_index(
                        ids,
                        mm_token_type_ids=(ids == self._image_id).int(),
                        image_grid_thw=grids[used : used + len(images)],
                    )
                    line, first = (0, place + start) if self._one_row else (index, start)
                    positions[1:, line, first : first + end - start] = found[:, 0]
                    used += len(images)
            place += len(row.input_ids)
        return positions

    @cached_property
    def _image_id(self) -> int:
        assert self._images is not None
        return int(self._tokenizer.convert_tokens_to_ids(self._images.text.token))

    @cached_property
    def _blank(self) -> TokenRow:
        """A sample that is an image alone, with nothing to learn."""
        assert self._images is not None
        text = self._images.text
        number = self._images.num_tokens((_BLANK, _BLANK))
        tokens = [text.begin, *[text.token] * number, text.end]
        ids = np.asarray(self._tokenizer.convert_tokens_to_ids(tokens), np.int32)
        bounds = np.asarray([0, len(ids)], np.int32)
        return TokenRow(ids, np.full_like(ids, IGNORED), bounds, ((_blank_image(),),))


_BLANK = 28
"""Pixels on a side: small for any model."""


def _blank_image() -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (_BLANK, _BLANK)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _images_of(row: TokenRow) -> list[str]:
    return [image for images in row.images for image in images]


def _joined(one: TokenRow, other: TokenRow) -> TokenRow:
    """Both rows as one."""
    return TokenRow(
        np.concatenate([one.input_ids, other.input_ids]),
        np.concatenate([one.labels, other.labels]),
        np.concatenate([one.cu_seqlens, other.cu_seqlens[1:] + len(one.input_ids)]),
        (*(one.images or ((),) * (len(one.cu_seqlens) - 1)), *other.images),
    )
