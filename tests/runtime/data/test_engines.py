"""Fast engines give the ids of the reference, or are not used."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsft.runtime.data import engines
from fsft.runtime.data.engines import (
    HARD_TEXTS,
    Checked,
    EngineDiffers,
    Reference,
    TokenIds,
    make_engine,
)
from tests.runtime.data.tokenizers import KINDS, byte_level

ANY_TEXT = st.text() | st.text(alphabet="aé你\n ' 1<|im_end|>") | st.sampled_from(HARD_TEXTS)


class Liar:
    """An engine that is wrong from a certain text on."""

    name = "liar"

    def __init__(self, wrong: str) -> None:
        self._reference, self._wrong = Reference(byte_level().reference), wrong

    def encode(self, texts: Sequence[str]) -> TokenIds:
        return self._reference.encode([text.replace(self._wrong, "") for text in texts])


@pytest.mark.parametrize("kind", KINDS)
@given(texts=st.lists(ANY_TEXT, max_size=5))
def test_the_engine_that_is_chosen_agrees_with_the_reference(kind: str, texts: list[str]) -> None:
    tokenizer = KINDS[kind]()
    found = _engine(kind).encode(texts)
    right = [tokenizer.reference.encode(text, add_special_tokens=False).ids for text in texts]
    assert [found.of(index).tolist() for index in range(len(texts))] == right


@pytest.mark.parametrize(("kind", "library"), [("byte_level", "fastokens")])
def test_a_fast_engine_is_chosen_where_it_is_exact(kind: str, library: str) -> None:
    pytest.importorskip(library)
    assert _engine(kind).name == library


def test_an_engine_that_is_wrong_on_a_hard_text_is_not_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines, "_Fastokens", lambda _: Liar("ﬁ"))
    monkeypatch.setattr(engines, "_Kitoken", lambda _: Liar("\t"))
    assert make_engine(byte_level()).name == "tokenizers"


@pytest.mark.parametrize("trouble", [ImportError, ValueError, RuntimeError, BaseException])
def test_an_engine_that_cannot_be_built_is_passed_over(
    trouble: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> Any:
        raise trouble("no")

    monkeypatch.setattr(engines, "_Fastokens", fail)
    monkeypatch.setattr(engines, "_Kitoken", fail)
    assert make_engine(byte_level()).name == "tokenizers"


def test_a_difference_in_the_first_texts_is_noticed() -> None:
    checked = Checked(Liar("wrong"), Reference(byte_level().reference))
    checked.encode(["a", "b"])
    with pytest.raises(EngineDiffers, match="liar and tokenizers give different ids for 'wrong'"):
        checked.encode(["wrong"])


def test_a_difference_that_goes_on_is_noticed_in_time() -> None:
    checked = Checked(Liar("wrong"), Reference(byte_level().reference))
    checked.encode(["right"] * 1000)
    with pytest.raises(EngineDiffers):
        checked.encode(["this is wrong"] * 1000)


def test_each_part_is_compared_from_its_start() -> None:
    checked = Checked(Liar("wrong"), Reference(byte_level().reference))
    checked.encode(["right"] * 10)
    checked.encode(["wrong"])
    checked.begin()
    with pytest.raises(EngineDiffers):
        checked.encode(["wrong"])


def test_comparing_costs_little() -> None:
    calls: list[int] = []

    class Counting(Reference):
        def encode(self, texts: Sequence[str]) -> TokenIds:
            calls.append(sum(map(len, texts)))
            return super().encode(texts)

    checked = Checked(Liar("wrong"), Counting(byte_level().reference))
    for _ in range(50):
        checked.encode(["some text of middling length"] * 100)
    assert sum(calls) < 0.03 * 50 * 100 * len("some text of middling length")


def test_a_text_that_would_take_the_reference_gigabytes_is_not_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines, "CHECKED_LENGTH", 20)
    checked = Checked(Liar("wrong"), Reference(byte_level().reference))
    checked.encode(["wrong" + " and long" * 3])
    with pytest.raises(EngineDiffers):
        checked.encode(["wrong and short"])


def test_texts_stand_behind_each_other() -> None:
    found = Reference(byte_level().reference).encode(["ab", "", "c"])
    assert found.bounds[0] == 0
    assert found.bounds[-1] == len(found.ids)
    assert np.diff(found.bounds).tolist()[1] == 0


_made: dict[str, Any] = {}


def _engine(kind: str) -> Any:
    if kind not in _made:
        _made[kind] = make_engine(KINDS[kind]())
    return _made[kind]
