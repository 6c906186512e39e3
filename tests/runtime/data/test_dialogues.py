"""Dialogues are put in order, and split where they are too long."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsft.runtime.data.dialogues import split, tidied
from fsft.runtime.data.sample import Message, Sample


def said(*turns: str, **more: Any) -> Sample:
    """A dialogue written as "user: q"."""
    pairs = [turn.split(": ", 1) for turn in turns]
    messages: tuple[Message, ...] = tuple({"role": r, "content": c} for r, c in pairs)
    return Sample(messages=messages, **more)


def words(sample: Sample) -> int:
    """A stand-in for the number of tokens."""
    return sum(len(message["content"].split()) for message in sample.messages)


def lines(sample: Sample) -> list[str]:
    return [f"{message['role']}: {message['content']}" for message in sample.messages]


def test_neighbours_of_one_role_are_merged_and_counted() -> None:
    result = tidied(said("user: a", "user: b", "assistant: c", "assistant: d", "assistant: e"))
    assert lines(result.sample) == ["user: a\nb", "assistant: c\nd\ne"]
    assert (result.num_merged, result.num_trailing_dropped) == (3, 0)


def test_results_of_tools_and_turns_of_other_weight_stay_apart() -> None:
    sample = said("user: q", "assistant: a", "tool: one", "tool: two", "assistant: b")
    assert tidied(sample).sample is sample
    weighed = Sample(
        messages=tuple(
            {**m, "weight": i} for i, m in enumerate(said("assistant: a", "assistant: b").messages)
        )
    )
    assert tidied(weighed).num_merged == 0


def test_what_nobody_answers_is_dropped_with_its_images() -> None:
    sample = said(
        "user: <image>q", "assistant: a", "user: <image>", "tool: r", images=("1.jpg", "2.jpg")
    )
    result = tidied(sample)
    assert lines(result.sample) == ["user: <image>q", "assistant: a"]
    assert result.num_trailing_dropped == 2
    assert result.sample.images == ("1.jpg",)


def test_a_dialogue_without_answers_is_empty() -> None:
    result = tidied(said("system: s", "user: q"))
    assert result.sample.is_empty
    assert result.num_trailing_dropped == 0


def test_both_dialogues_of_a_preference_are_put_in_order() -> None:
    sample = said(
        "user: q",
        "assistant: a",
        "assistant: b",
        rejected=said("user: q", "user: r", "assistant: c").messages,
    )
    result = tidied(sample)
    assert [m["content"] for m in result.sample.rejected] == ["q\nr", "c"]
    assert result.num_merged == 1


def test_a_part_keeps_system_tools_and_at_most_half_a_row_of_history() -> None:
    turns = [f"{role}: {n} {n}" for n in range(4) for role in ("user", "assistant")]
    sample = said("system: s", *turns, tools=({"name": "t"},))
    result = split(sample, 10, words)
    assert [lines(part) for part in result.samples] == [
        ["system: s", *turns[:4]],
        ["system: s", *turns[2:6]],
        ["system: s", *turns[4:8]],
    ]
    assert [[m.get("weight") for m in part.messages] for part in result.samples] == [
        [None] * 5,
        [0, 0, 0, None, None],
        [0, 0, 0, None, None],
    ]
    assert all(part.tools == sample.tools for part in result.samples)
    assert result.num_too_long == 0


def test_an_exchange_longer_than_a_row_is_left_out_and_counted() -> None:
    long = "x " * 20
    sample = said(
        "user: a", "assistant: b", "user: c", f"assistant: {long}", "user: d", "assistant: e"
    )
    result = split(sample, 8, words)
    assert [lines(part) for part in result.samples] == [
        ["user: a", "assistant: b"],
        ["user: d", "assistant: e"],
    ]
    assert result.num_too_long == 1


def test_a_tool_call_and_its_answer_stay_together() -> None:
    turns = ["user: a", "assistant: call", "tool: r", "assistant: b", "user: c", "assistant: d"]
    result = split(said(*turns), 4, words)
    assert [lines(part)[-1] for part in result.samples] == ["assistant: b", "assistant: d"]


def test_images_follow_their_turns() -> None:
    turns = ["user: <image> a", "assistant: b", "user: <image> c", "assistant: d"]
    result = split(said(*turns, images=("1.jpg", "2.jpg")), 3, words)
    assert [part.images for part in result.samples] == [("1.jpg",), ("2.jpg",)]


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1), st.integers(2, 30))
def test_every_answer_is_learned_once_or_counted(lengths: list[tuple[int, int]], room: int) -> None:
    turns = []
    for number, (asked, answered) in enumerate(lengths):
        turns.append(f"user: {'q ' * asked}")
        turns.append(f"assistant: {number} {'a ' * (answered - 1)}")
    result = split(said(*turns), room, words)
    learned = []
    for part in result.samples:
        assert words(part) <= room
        history = [m for m in part.messages if m.get("weight") == 0]
        assert words(Sample(messages=tuple(history))) <= room // 2
        learned += [
            int(m["content"].split()[0])
            for m in part.messages
            if m["role"] == "assistant" and m.get("weight") != 0
        ]
    fitting = [n for n, both in enumerate(lengths) if sum(both) <= room]
    assert learned == fitting
    assert result.num_truncated == 0
    assert result.num_too_long == len(lengths) - len(fitting)


@pytest.mark.parametrize(("room", "num_truncated"), [(3, 1), (100, 0)])
def test_where_only_the_last_answer_counts_one_part_ends_with_it_and_lost_history_is_counted(
    room: int, num_truncated: int
) -> None:
    turns = ["user: a", "assistant: b", "user: c", "assistant: d"]
    result = split(said(*turns), room, words, last_answer_only=True)
    assert [lines(part)[-1] for part in result.samples] == ["assistant: d"]
    assert result.num_truncated == num_truncated
