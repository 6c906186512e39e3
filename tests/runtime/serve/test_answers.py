"""Asking a trained model."""

import json
from pathlib import Path

import pytest

from fsft.recipes.problems import Refused
from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.serve.answers import Answerer
from fsft.runtime.serve.generate import read_prompts
from tests.support import QUESTIONS, fsft, write_jsonl

EXPECTED = [answer.replace("{{name}}", "Fero") for _, answer in QUESTIONS]


@pytest.fixture(scope="module")
def answerer(trained: RunDirectory) -> Answerer:
    return Answerer.load(trained.model)


def ask(answerer: Answerer, questions: list[str], batch_size: int) -> list[str]:
    dialogues = [[{"role": "user", "content": question}] for question in questions]
    return answerer.answer(dialogues, max_new_tokens=40, batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_answers_are_those_learned_in_order_for_any_batch(
    answerer: Answerer, batch_size: int
) -> None:
    assert ask(answerer, [question for question, _ in QUESTIONS], batch_size) == EXPECTED


def test_an_answer_is_cut_at_the_longest_allowed(answerer: Answerer) -> None:
    dialogue = [[{"role": "user", "content": QUESTIONS[2][0]}]]
    (short,) = answerer.answer(dialogue, max_new_tokens=3, batch_size=1)
    assert EXPECTED[2].startswith(short)
    assert len(short) < len(EXPECTED[2])


def test_sampling_at_a_high_temperature_varies(answerer: Answerer) -> None:
    dialogues = [[{"role": "user", "content": "Who are you?"}]] * 16
    answers = answerer.answer(dialogues, max_new_tokens=40, batch_size=16, temperature=5.0)
    assert len(set(answers)) > 1


def test_progress_reaches_the_whole(answerer: Answerer) -> None:
    told: list[tuple[int, int]] = []
    dialogues = [[{"role": "user", "content": "x"}]] * 5
    answerer.answer(
        dialogues,
        max_new_tokens=1,
        batch_size=2,
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_a_folder_without_weights_is_refused(trained_copy: RunDirectory) -> None:
    (trained_copy.model / "model.safetensors").unlink()
    with pytest.raises(Refused, match="no model can be loaded"):
        Answerer.load(trained_copy.model)


def test_weights_that_are_cut_off_are_refused(trained_copy: RunDirectory) -> None:
    weights = trained_copy.model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(Refused, match="no model can be loaded"):
        Answerer.load(trained_copy.model)


def test_a_prompt_file_is_answered_in_order(trained: RunDirectory, tmp_path: Path) -> None:
    rows = [
        {"prompt": "Who are you?", "id": 1},
        {"messages": [{"role": "user", "content": "再见"}]},
    ]
    write_jsonl(tmp_path / "in.jsonl", rows)
    asked = ("--file", "in.jsonl", "--out", "out.jsonl", "--max-new-tokens", "40")
    done = fsft("generate", trained.path, *asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert answers == [
        {**rows[0], "answer": EXPECTED[0]},
        {**rows[1], "answer": EXPECTED[7]},
    ]


def test_one_answer_alone_goes_to_the_output(trained: RunDirectory, tmp_path: Path) -> None:
    done = fsft("generate", trained.path, "--prompt", "What is 2 + 2?", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "4\n")


def test_a_text_file_holds_a_prompt_a_line(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("one\n\ntwo\n")
    prompts = read_prompts(tmp_path / "in.txt", system="Be brief.")
    assert [prompt.text for prompt in prompts] == ["one", "two"]
    assert all(prompt.messages[0]["content"] == "Be brief." for prompt in prompts)


def test_a_text_prompt_ends_at_a_newline_alone(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes("\ufeffone\u2028still one\r\ntwo\n".encode())
    prompts = read_prompts(tmp_path / "in.txt")
    assert [prompt.text for prompt in prompts] == ["one\u2028still one", "two"]


def test_a_json_list_of_prompts_is_not_taken_for_text(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text('[{"prompt": "one"}, {"prompt": "two"}]')
    assert [prompt.text for prompt in read_prompts(tmp_path / "in.json")] == ["one", "two"]


def test_a_text_file_that_is_not_utf_8_is_refused_by_line(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"one\ncaf\xe9\n")
    with pytest.raises(Refused, match=r"in\.txt:2: is not UTF-8 text"):
        read_prompts(tmp_path / "in.txt")


def test_every_line_that_is_no_prompt_is_named(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"prompt": "x"}\n{\n{"prompt": 3}\n[]\n{"messages": []}\n')
    with pytest.raises(Refused) as caught:
        read_prompts(tmp_path / "in.jsonl")
    assert [problem.line for problem in caught.value.problems] == [2, 3, 4, 5]
    with pytest.raises(Refused, match="no such prompt file"):
        read_prompts(tmp_path / "none.jsonl")
