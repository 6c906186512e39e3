"""Rows that hold a question and answers, good or bad, under names of their own."""

from typing import Any

import pytest

from fsft.runtime.data.sample import Sample
from fsft.runtime.data.shapes import detect_format, renamed, to_sample


def read(row: Any, data_format: str) -> Sample:
    """The sample of a row whose shape is detected as `data_format`."""
    found = detect_format(row)
    assert found == data_format
    return to_sample(row, found)


def contents(messages: Any) -> list[str]:
    return [turn["content"] for turn in messages]


def test_alpaca_history_and_system_come_before_the_instruction() -> None:
    row = {
        "instruction": "do",
        "input": "this",
        "output": "done",
        "history": [["q", "a"]],
        "system": "s",
    }
    sample = read(row, "alpaca")
    assert contents(sample.messages) == ["s", "q", "a", "do\nthis", "done"]
    assert [turn["role"] for turn in sample.messages[:3]] == ["system", "user", "assistant"]


def test_source_and_target_are_question_and_answer() -> None:
    assert contents(read({"source": "one", "target": "eins"}, "seq2seq").messages) == [
        "one",
        "eins",
    ]


def test_columns_say_what_fields_are_called() -> None:
    row = renamed({"question": "q", "response": "a"}, {"prompt": "question", "answer": "response"})
    assert contents(read(row, "prompt_answer").messages) == ["q", "a"]
    with pytest.raises(ValueError, match="no field 'question'"):
        renamed({"prompt": "q"}, {"prompt": "question"})


QUESTION = {"role": "user", "content": "q"}
GOOD, BAD = ({"role": "assistant", "content": text} for text in ("good", "bad"))


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        {"prompt": [QUESTION], "chosen": [GOOD], "rejected": [BAD]},
        {"chosen": [QUESTION, GOOD], "rejected": [QUESTION, BAD]},
        {"prompt": "q", "chosen": [QUESTION, GOOD], "rejected": [QUESTION, BAD]},
        {"instruction": "q", "input": "", "chosen": "good", "rejected": "bad"},
        {
            "conversations": [{"from": "human", "value": "q"}],
            "chosen": {"from": "gpt", "value": "good"},
            "rejected": {"from": "gpt", "value": "bad"},
        },
    ],
)
def test_a_preference_is_two_dialogues_that_begin_alike(row: Any) -> None:
    sample = read(row, "preference")
    assert contents(sample.messages) == ["q", "good"]
    assert contents(sample.rejected) == ["q", "bad"]
    assert sample.num_shared == 1


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "completion": "good", "label": True},
        {"messages": [QUESTION, GOOD], "label": True},
        {"messages": [QUESTION, GOOD], "kto_tag": True},
        {"instruction": "q", "output": "good", "kto_tag": True},
    ],
)
def test_a_rated_answer_keeps_its_label(row: Any) -> None:
    sample = read(row, "kto")
    assert contents(sample.messages) == ["q", "good"]
    assert sample.is_good is True


def test_a_label_that_is_no_verdict_does_not_make_a_dialogue_a_rated_one() -> None:
    assert detect_format({"messages": [QUESTION, GOOD], "label": "maths"}) == "messages"


M2 = """S This are a sentences
A 1 2|||R:VERB:SVA|||is|||REQUIRED|||-NONE-|||0
A 3 4|||R:NOUN:NUM|||sentence||phrase|||REQUIRED|||-NONE-|||0
A 4 4|||M:PUNCT|||.|||REQUIRED|||-NONE-|||0
A 2 3|||U:DET|||-NONE-|||REQUIRED|||-NONE-|||1"""


def test_an_m2_block_is_a_sentence_and_its_correction() -> None:
    sample = read({"m2": M2}, "m2")
    assert contents(sample.messages) == ["This are a sentences", "This is a sentence ."]


def test_an_m2_sentence_without_edits_stays_as_it_is() -> None:
    noop = "S All is well .\nA -1 -1|||noop|||-NONE-|||REQUIRED|||-NONE-|||0"
    for block in (noop, "S All is well ."):
        assert contents(read({"m2": block}, "m2").messages) == ["All is well ."] * 2


def test_an_m2_edit_may_leave_words_out() -> None:
    block = "S a very very good day\nA 1 2|||U:ADV||||||REQUIRED|||-NONE-|||0"
    assert contents(read({"m2": block}, "m2").messages)[1] == "a very good day"


@pytest.mark.parametrize(
    ("row", "data_format", "said"),
    [
        ({"instruction": 5, "output": "a"}, "alpaca", "instruction must be text, not a number"),
        ({"instruction": "q", "output": None}, "alpaca", "needs instruction and output"),
        (
            {"instruction": "q", "output": "a", "history": [["q"]]},
            "alpaca",
            "exchange 1 of history must be a list of question and answer",
        ),
        ({"chosen": "good", "rejected": "bad"}, "preference", "chosen is an answer to nothing"),
        ({"prompt": "q", "chosen": 1, "rejected": "bad"}, "preference", "chosen must be text or"),
        (
            {"prompt": "q", "chosen": [QUESTION], "rejected": "bad"},
            "preference",
            "chosen must end with a turn of the assistant",
        ),
        ({"prompt": "q", "completion": "a", "label": "good"}, "kto", "label must be true or false"),
        ({"m2": "A 1 2|||x"}, "m2", "must begin with a line S"),
        ({"m2": "S a\nA 1"}, "m2", "line 2 of the m2 block is no edit"),
        ({"m2": "S a\nA 0 5|||R|||b|||x|||y|||0"}, "m2", "outside the sentence"),
        ({"input_ids": [1]}, "text", "this row has the tokens shape"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(row: Any, data_format: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        to_sample(row, data_format)
