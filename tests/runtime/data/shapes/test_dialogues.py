"""Rows that hold a list of turns."""

from typing import Any

import pytest

from fsft.runtime.data.sample import Sample
from fsft.runtime.data.shapes import detect_format, to_sample

WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {}}}


def turns(sample: Sample) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in sample.messages]


def read(row: Any, data_format: str) -> Sample:
    """The sample of a row whose shape is detected as `data_format`."""
    found = detect_format(row)
    assert found == data_format
    return to_sample(row, found)


def test_openai_messages_keep_tools_calls_and_reasoning() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"a": 1}'}}
    row = {
        "messages": [
            {"role": "developer", "content": "s"},
            {"role": "user", "content": "q", "name": None},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "sun", "tool_call_id": "1", "name": "weather"},
            {"role": "assistant", "content": "a", "reasoning": "because"},
        ],
        "tools": [{"type": "function", "function": WEATHER}],
    }
    sample = read(row, "messages")
    assert turns(sample)[0] == ("system", "s")
    called = sample.messages[2]["tool_calls"][0]
    assert called["function"] == {"name": "weather", "arguments": {"a": 1}}
    assert sample.messages[2]["content"] == ""
    assert sample.messages[3] == {
        "role": "tool",
        "content": "sun",
        "tool_call_id": "1",
        "name": "weather",
    }
    assert sample.messages[4]["reasoning_content"] == "because"
    assert sample.tools == ({"type": "function", "function": WEATHER},)
    assert "name" not in sample.messages[1]


def test_parts_of_a_turn_are_joined_and_its_weight_is_kept() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "value": "b"}]
    row = {
        "messages": [
            {"role": "user", "content": "q", "loss_weight": 0.0},
            {"role": "assistant", "content": parts, "weight": 1},
        ]
    }
    sample = read(row, "messages")
    assert turns(sample) == [("user", "q"), ("assistant", "ab")]
    assert [turn["weight"] for turn in sample.messages] == [0, 1]


def test_sharegpt_reads_system_tools_calls_and_observations() -> None:
    row = {
        "conversations": [
            {"from": "human", "value": "q"},
            {"from": "function_call", "value": '{"name": "weather", "arguments": {"a": 1}}'},
            {"from": "observation", "value": "sun"},
            {"from": "gpt", "value": "a"},
        ],
        "system": "s",
        "tools": '[{"name": "weather", "parameters": {}}]',
    }
    sample = read(row, "sharegpt")
    assert [role for role, _ in turns(sample)] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    assert sample.messages[2]["tool_calls"][0]["function"]["name"] == "weather"
    assert sample.tools[0] == {
        "type": "function",
        "function": {"name": "weather", "parameters": {}},
    }


@pytest.mark.parametrize(
    "row",
    [
        [{"system": "s"}, {"user": "q"}, {"assistant": "a"}],
        {"conversation": [{"system": "s"}, {"user": "q"}, {"assistant": "a"}], "category": 3},
    ],
)
def test_a_list_of_single_keys_is_a_dialogue(row: Any) -> None:
    sample = read(row, "turns")
    assert turns(sample) == [("system", "s"), ("user", "q"), ("assistant", "a")]
    assert sample.category == (3 if isinstance(row, dict) else None)


def test_images_stand_beside_the_text_in_each_shape() -> None:
    url = {"type": "image_url", "image_url": {"url": "b.png"}}
    rows = [
        {
            "messages": [
                {"role": "user", "content": "<image>Who?"},
                {"role": "assistant", "content": "I."},
            ],
            "images": ["a.jpg"],
        },
        {
            "messages": [
                {"role": "user", "content": [url, {"type": "text", "text": "Who?"}]},
                {"role": "assistant", "content": "I."},
            ]
        },
        [{"user": ["<image>Who?", "a.jpg"]}, {"assistant": "I."}],
    ]
    samples = [to_sample(row, detect_format(row) or "text") for row in rows]
    assert [sample.images for sample in samples] == [("a.jpg",), ("b.png",), ("a.jpg",)]
    assert {sample.messages[0]["content"] for sample in samples} == {"<image>Who?"}


def test_an_image_tag_in_a_row_without_images_is_text() -> None:
    row = {"messages": [{"role": "user", "content": "What does <image src> do?"}]}
    assert to_sample(row, "messages").images == ()


USER = {"role": "user", "content": "q"}


@pytest.mark.parametrize(
    ("row", "data_format", "said"),
    [
        ({"messages": []}, "messages", "at least one turn"),
        ({"messages": "q"}, "messages", "a dialogue must be a list, not text"),
        ({"messages": [USER, {"role": "bot", "content": ""}]}, "messages", "turn 2 .* role 'bot'"),
        ({"messages": [USER, {"role": "assistant"}]}, "messages", "turn 2 needs role and content"),
        ({"messages": [USER, 5]}, "messages", "turn 2 needs role and content"),
        ({"messages": [{**USER, "content": 5}]}, "messages", "content of turn 1 must be text"),
        ({"messages": [{**USER, "weight": 0.5}]}, "messages", "weight of turn 1 .* not 0.5"),
        ({"messages": [{**USER, "tool_calls": [1]}]}, "messages", "call 1 of turn 1"),
        ({"messages": [{**USER, "content": [{"type": "sound"}]}]}, "messages", "type 'sound'"),
        ({"messages": [USER], "tools": "["}, "messages", "tools is not valid JSON"),
        ({"messages": [USER], "tools": [{}]}, "messages", "tool 1 must be"),
        ({"messages": [USER], "images": ["a.jpg"]}, "messages", "0 times by <image>, and 1 are"),
        (
            {"messages": [{**USER, "content": "<image Who?"}], "images": ["a.jpg"]},
            "messages",
            "turn 1 has an image tag that is not closed",
        ),
        ([{"user": ["<image> <image>", "a.jpg"]}], "turns", "2 times by <image>, and 1 are given"),
        ([{"user": "q"}, {"user": "q", "x": 1}], "turns", "turn 2 must be an object with one key"),
        ([{"bot": "q"}], "turns", "turn 1 has the unknown role 'bot'"),
        ({"conversation": [{"user": "q"}], "category": "a"}, "turns", "category must be a whole"),
        (
            {"conversations": [{"from": "function_call", "value": "call it"}]},
            "sharegpt",
            "call of turn 1 is not valid JSON",
        ),
        ({"text": "t"}, "messages", "needs messages; this row has the text shape"),
        (5, "messages", "must be an object with named fields, not a number"),
    ],
)
def test_what_is_wrong_with_a_dialogue_is_said_with_its_turn(
    row: Any, data_format: Any, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        to_sample(row, data_format)
