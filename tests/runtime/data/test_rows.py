"""The shapes of rows."""

import pytest

from fsft.runtime.data.sample import Sample
from fsft.runtime.data.shapes import detect_format, to_sample


@pytest.mark.parametrize(
    ("row", "data_format", "turns"),
    [
        (
            {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]},
            "messages",
            [("system", "s"), ("user", "q")],
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}]},
            "messages",
            [("user", "q")],
        ),
        (
            {"instruction": "do", "input": "this", "output": "done"},
            "alpaca",
            [("user", "do\nthis"), ("assistant", "done")],
        ),
        (
            {"instruction": "do", "output": "done", "system": "s"},
            "alpaca",
            [("system", "s"), ("user", "do"), ("assistant", "done")],
        ),
        (
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
            "sharegpt",
            [("user", "q"), ("assistant", "a")],
        ),
        ({"prompt": "q", "answer": "a"}, "prompt_answer", [("user", "q"), ("assistant", "a")]),
    ],
)
def test_each_shape_is_detected_and_read_as_a_dialogue(
    row: dict[str, object], data_format: str, turns: list[tuple[str, str]]
) -> None:
    found = detect_format(row)
    assert found == data_format
    sample = to_sample(row, found)
    assert [(turn["role"], turn["content"]) for turn in sample.messages] == turns


@pytest.mark.parametrize("extra", ["chosen", "rejected", "videos"])
def test_half_a_preference_and_films_are_not_taken_for_plain_dialogues(extra: str) -> None:
    assert detect_format({"messages": [], extra: []}) is None


def test_plain_text_is_read_as_text() -> None:
    assert detect_format({"text": "once"}) == "text"
    assert to_sample({"text": "once"}, "text") == Sample(text="once")
