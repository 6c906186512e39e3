"""Which answers of a dialogue the model is asked for."""

from typing import Any

from fsft.runtime.data.sample import Message, Sample
from fsft.runtime.evaluate.questions import questions_of


def turns(*said: str) -> tuple[Message, ...]:
    pairs = [turn.split(": ", 1) for turn in said]
    return tuple({"role": role, "content": content} for role, content in pairs)


def expected(sample: Sample) -> list[str]:
    return [question.expected for question in questions_of(sample)]


def test_an_answer_after_a_tools_result_is_asked_with_the_tools_and_the_call_is_not() -> None:
    call: Message = {"role": "assistant", "content": "I look.", "tool_calls": [{"function": {}}]}
    tools: tuple[dict[str, Any], ...] = ({"name": "sky"},)
    messages = (*turns("user: q"), call, *turns("tool: sun", "assistant: Sun."))
    (question,) = questions_of(Sample(messages=messages, tools=tools))
    assert (question.expected, question.text, question.tools) == ("Sun.", "sun", tools)
    assert question.messages == messages[:3]


def test_answers_that_are_not_learned_are_not_asked_for() -> None:
    first, second, third, fourth = turns("user: q", "assistant: a", "user: r", "assistant: b")
    sample = Sample(messages=(first, {**second, "weight": 0}, third, fourth))
    assert expected(sample) == ["b"]
    assert expected(Sample(messages=(first, second), is_good=False)) == []
    assert expected(Sample(messages=(first, second), is_good=True)) == ["a"]


def test_of_a_preference_the_better_answer_is_asked_for() -> None:
    shared = turns("user: q", "assistant: a", "user: r")
    sample = Sample(
        messages=(*shared, *turns("assistant: good")), rejected=(*shared, *turns("assistant: bad"))
    )
    assert expected(sample) == ["good"]
