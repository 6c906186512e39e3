"""Images take as many tokens as the model's own processor makes, and none of them is learned."""

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fsft.recipes.problems import Refused
from fsft.recipes.schema import Data, Source
from fsft.runtime.data.encode import Encoder
from fsft.runtime.data.images.expand import expand, form_in_template
from fsft.runtime.data.images.family import IMAGE_TEXTS
from fsft.runtime.data.images.files import image_size, load_image
from fsft.runtime.data.images.processor import ImageProcessor
from fsft.runtime.data.render import Rendered
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.sample_writer import SampleWriter
from fsft.runtime.data.text_tokenizer import text_tokenizer_of
from fsft.runtime.data.tokenizer import template_text
from tests.runtime.data.images.models import (
    FAMILIES,
    image_processor,
    picture,
    template_of,
    tokenizer_of,
    whole_processor,
)

SIZES = [(50, 70), (640, 480), (17, 9), (1000, 30), (3, 3)]
TURNS = (
    {"role": "user", "content": "<image>Who are they?<image> 他们是谁？"},
    {"role": "assistant", "content": "They are Kane and Gretzka."},
    {"role": "user", "content": "What is this?\n<image>"},
    {"role": "assistant", "content": "A picture."},
)


def _in_parts(content: str) -> list[dict[str, str]]:
    pieces = re.split("(<image>)", content)
    return [
        {"type": "image"} if piece == "<image>" else {"type": "text", "text": piece}
        for piece in pieces
        if piece
    ]


def _encoded(family: str, tokenizer: Any, images: list[Path], **data: Any) -> Any:
    texts = text_tokenizer_of(tokenizer)
    ours = image_processor(family, tokenizer, **data)
    source = Source(path=str(images[0].parent / "train.jsonl"))
    sample = Sample(messages=TURNS, images=tuple(path.name for path in images))
    writer = SampleWriter(texts, Data(train=[source]), source, ours)
    (one,) = Encoder(texts).encode([writer.write(sample)])
    return one, ours


@pytest.mark.parametrize("is_limited", [False, True], ids=["default", "limited"])
@pytest.mark.parametrize("family", FAMILIES)
def test_ids_are_those_of_the_models_own_processor(
    family: str, is_limited: bool, tmp_path: Path
) -> None:
    tokenizer = tokenizer_of(family)
    limits = {"image_max_tiles": 4} if family == "internvl" else {"image_max_pixels": 9000}
    for first in range(len(SIZES) - 2):
        images = [picture(tmp_path / f"{w}x{h}.png", w, h) for w, h in SIZES[first : first + 3]]
        one, ours = _encoded(family, tokenizer, images, **(limits if is_limited else {}))
        theirs = whole_processor(family, tokenizer, ours)
        text = tokenizer.apply_chat_template(
            [{**turn, "content": _in_parts(turn["content"])} for turn in TURNS], tokenize=False
        )
        made = theirs(text=[text], images=[Image.open(path) for path in images])
        assert one.input_ids.tolist() == list(made["input_ids"][0])
        image_id = tokenizer.convert_tokens_to_ids(IMAGE_TEXTS[family].token)
        assert (one.input_ids == image_id).sum() > 3
        assert not (one.labels == image_id).any()
        assert tokenizer.decode(one.labels[one.labels >= 0]) == (
            "They are Kane and Gretzka.<|im_end|>A picture.<|im_end|>"
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_values_are_as_many_as_the_tokens_that_were_counted(family: str, tmp_path: Path) -> None:
    ours = image_processor(family, tokenizer_of(family))
    for width, height in SIZES:
        place = str(picture(tmp_path / "one.png", width, height))
        values = ours.values([load_image(place)])
        assert ours.tokens_in(values) == ours.num_tokens(image_size(place))


def test_learned_spans_move_with_the_text_and_leave_images_out() -> None:
    text = IMAGE_TEXTS["qwen2_vl"]
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    before = f"ab{image}cd{image}ef"
    whole = f"<|vision_start|>{'<|image_pad|>' * 3}<|vision_end|>"
    for span, learned in {
        (0, len(before)): ["ab", "cd", "ef"],
        (1, 2): ["b"],
        (2 + len(image), 4 + len(image)): ["cd"],
        (len(before) - 1, len(before)): ["f"],
        (0, 10): ["ab"],
        (10, len(image) + 3): ["c"],
    }.items():
        found = expand(Rendered(before, (span,)), [3, 3], text)
        assert found.text == f"ab{whole}cd{whole}ef"
        assert [found.text[a:b] for a, b in found.learned] == learned


def test_text_that_holds_an_image_token_itself_is_refused() -> None:
    rendered = Rendered("look: <|image_pad|>", ())
    with pytest.raises(ValueError, match="1 places for images, and 0 are given"):
        expand(rendered, [], IMAGE_TEXTS["qwen2_vl"])


def test_a_template_without_images_gets_the_form_of_the_family() -> None:
    text = IMAGE_TEXTS["internvl"]
    assert form_in_template(template_text("chatml"), text) == "<IMG_CONTEXT>\n"
    spaced = template_of("internvl").replace("<IMG_CONTEXT>\\n", "[<IMG_CONTEXT>]")
    assert form_in_template(spaced, text) == "[<IMG_CONTEXT>]"


def test_a_template_that_writes_turns_with_images_differently_is_refused() -> None:
    odd = template_of("internvl").replace("{{ content['text'] }}", "{{ content['text'] }}!")
    with pytest.raises(Refused, match="unlike one with text"):
        form_in_template(odd, IMAGE_TEXTS["internvl"])


@pytest.mark.parametrize(
    ("family", "key", "value"),
    [("internvl", "image_max_pixels", 1000), ("qwen2_vl", "image_max_tiles", 4)],
)
def test_a_limit_of_another_family_is_refused(family: str, key: str, value: int) -> None:
    with pytest.raises(Refused, match=key):
        image_processor(family, tokenizer_of(family), **{key: value})


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_processor_counts_the_same(family: str, tmp_path: Path) -> None:
    ours = image_processor(family, tokenizer_of(family))
    assert ImageProcessor.load(tmp_path) is None
    ours.save(tmp_path)
    loaded = ImageProcessor.load(tmp_path)
    assert loaded is not None
    assert loaded.model_type == family
    assert [loaded.num_tokens(s) for s in SIZES] == [ours.num_tokens(s) for s in SIZES]
