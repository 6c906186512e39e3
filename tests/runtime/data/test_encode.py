"""Token ids and loss masks."""

from typing import Any

import pytest

from fsft.recipes.schema import Data, Source
from fsft.runtime.data.encode import IGNORED, encode
from fsft.runtime.data.render import render
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.tokenizer import template_text, train_tokenizer

TEXTS = ["Who are you? I am Fero.", "你是谁？我是助手。", "system user assistant"] * 4
DIALOGUE = Sample(
    messages=(
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who are you?"},
        {"role": "assistant", "content": "I am 助手."},
        {"role": "user", "content": "And I?"},
        {"role": "assistant", "content": "You are 你."},
    )
)
NO_END = (
    "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
THINKS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}<think></think>{% endif %}{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    template = template_text("chatml")
    made = train_tokenizer(iter(TEXTS), 300, template)
    made.chat_template = template
    return made


def data(**values: Any) -> Data:
    return Data(train=[Source(path="x.jsonl")], **values)


def learned(tokenizer: Any, sample: Sample, settings: Data) -> str:
    (item,) = encode([render(sample, tokenizer, settings)], tokenizer)
    return str(tokenizer.decode(item.labels[item.labels != IGNORED]))


def test_only_the_answers_and_their_end_are_learned(tokenizer: Any) -> None:
    text = learned(tokenizer, DIALOGUE, data())
    assert text == "I am 助手.<|im_end|>You are 你.<|im_end|>"


def test_all_but_the_first_token_is_learned_when_asked(tokenizer: Any) -> None:
    (item,) = encode([render(DIALOGUE, tokenizer, data(loss_on="all"))], tokenizer)
    assert item.num_labels == len(item.input_ids) - 1
    assert item.labels[0] == IGNORED


def test_plain_text_is_learned_to_its_end_token(tokenizer: Any) -> None:
    (item,) = encode([render(Sample(text="Who are you?"), tokenizer, data())], tokenizer)
    assert item.input_ids[-1] == tokenizer.eos_token_id
    assert item.labels[-1] == tokenizer.eos_token_id
    assert item.num_labels == len(item.input_ids) - 1


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (NO_END, " I am 助手.\n You are 你.\n"),
        (THINKS, "<think></think>I am 助手.<|im_end|><think></think>You are 你.<|im_end|>"),
    ],
)
def test_the_mask_is_exact_for_other_templates(
    tokenizer: Any, template: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "chat_template", template)
    assert learned(tokenizer, DIALOGUE, data()) == expected


def test_a_template_that_hides_the_answers_leaves_nothing_to_learn(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hides = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}"
    monkeypatch.setattr(tokenizer, "chat_template", hides)
    assert learned(tokenizer, DIALOGUE, data()) == ""


def test_a_template_that_rewrites_earlier_turns_is_told_apart(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    last_only = "{{ messages | length }}{{ messages[-1].content }}"
    monkeypatch.setattr(tokenizer, "chat_template", last_only)
    with pytest.raises(ValueError, match="turn 3 cannot be told"):
        render(DIALOGUE, tokenizer, data())


def test_a_template_that_refuses_a_dialogue_says_why(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "chat_template", "{{ raise_exception('no system turn') }}")
    with pytest.raises(ValueError, match="no system turn"):
        render(DIALOGUE, tokenizer, data())


def test_the_prompt_seen_in_generation_is_the_prompt_seen_in_training(tokenizer: Any) -> None:
    (item,) = encode([render(Sample(messages=DIALOGUE.messages[:3]), tokenizer, data())], tokenizer)
    prompt = tokenizer.apply_chat_template(
        list(DIALOGUE.messages[:2]), add_generation_prompt=True, return_dict=True
    )["input_ids"]
    assert item.input_ids[: len(prompt)].tolist() == list(prompt)
    assert (item.labels[: len(prompt)] == IGNORED).all()
    answer = item.labels[len(prompt) :].tolist()
    assert answer.index(tokenizer.eos_token_id) == answer.index(IGNORED) - 1
