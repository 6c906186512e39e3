"""Token ids and loss masks."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsft.recipes.schema import Data, Source
from fsft.runtime.data.encode import IGNORED, Encoded, Encoder
from fsft.runtime.data.engines import Reference
from fsft.runtime.data.render import Rendered, render
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.text_tokenizer import text_tokenizer_of
from fsft.runtime.data.tokenizer import template_text, train_tokenizer
from tests.runtime.data.tokenizers import byte_level, normalizing, sentencepiece

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


def encoded(tokenizer: Any, sample: Sample, settings: Data) -> Encoded:
    text = text_tokenizer_of(tokenizer)
    (item,) = Encoder(text).encode([render(sample, text, settings)])
    return item


def learned(tokenizer: Any, sample: Sample, settings: Data) -> str:
    item = encoded(tokenizer, sample, settings)
    return str(tokenizer.decode(item.labels[item.labels != IGNORED]))


def test_only_the_answers_and_their_end_are_learned(tokenizer: Any) -> None:
    text = learned(tokenizer, DIALOGUE, data())
    assert text == "I am 助手.<|im_end|>You are 你.<|im_end|>"


def test_all_but_the_first_token_is_learned_when_asked(tokenizer: Any) -> None:
    item = encoded(tokenizer, DIALOGUE, data(loss_on="all"))
    assert item.num_labels == len(item.input_ids) - 1
    assert item.labels[0] == IGNORED


def test_plain_text_is_learned_to_its_end_token(tokenizer: Any) -> None:
    item = encoded(tokenizer, Sample(text="Who are you?"), data())
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
        render(DIALOGUE, text_tokenizer_of(tokenizer), data())


def test_a_template_that_refuses_a_dialogue_says_why(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "chat_template", "{{ raise_exception('no system turn') }}")
    with pytest.raises(ValueError, match="no system turn"):
        render(DIALOGUE, text_tokenizer_of(tokenizer), data())


def test_the_prompt_seen_in_generation_is_the_prompt_seen_in_training(tokenizer: Any) -> None:
    item = encoded(tokenizer, Sample(messages=DIALOGUE.messages[:3]), data())
    prompt = tokenizer.apply_chat_template(
        list(DIALOGUE.messages[:2]), add_generation_prompt=True, return_dict=True
    )["input_ids"]
    assert item.input_ids[: len(prompt)].tolist() == list(prompt)
    assert (item.labels[: len(prompt)] == IGNORED).all()
    answer = item.labels[len(prompt) :].tolist()
    assert answer.index(tokenizer.eos_token_id) == answer.index(IGNORED) - 1


@given(st.text(alphabet="ab é你😀\n<|im_end|>"), st.data())
def test_a_token_is_learned_just_when_it_touches_a_learned_part(
    text: str, choose: st.DataObject
) -> None:
    """By the bytes of the tokens as by the places that the tokenizers library tells."""
    cuts = choose.draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=4).map(sorted))
    spans = tuple(pairwise(cuts))[::2]
    fast = byte_level()
    slow = replace(fast, byte_lengths=None)
    (by_bytes,) = Encoder(fast, Reference(fast.reference)).encode([Rendered(text, spans)])
    (by_places,) = Encoder(slow, Reference(slow.reference)).encode([Rendered(text, spans)])
    assert by_bytes.labels.tolist() == by_places.labels.tolist()


def test_the_mask_is_exact_where_the_tokenizer_changes_the_text_first() -> None:
    """As long in bytes as before, and yet another text: bytes alone would be misled."""
    tokenizer = normalizing()
    text = "①é ﬁx" + "answer"
    (found,) = Encoder(tokenizer).encode([Rendered(text, ((len(text) - 6, len(text)),))])
    assert tokenizer.decode(found.labels[found.labels != IGNORED].tolist()) == "answer"


def test_the_mask_is_exact_for_tokens_of_characters() -> None:
    tokenizer = sentencepiece()
    text = "you are 你: I am Fero"
    (found,) = Encoder(tokenizer).encode([Rendered(text, ((text.index("I"), len(text)),))])
    assert tokenizer.decode(found.labels[found.labels != IGNORED].tolist()).strip() == "I am Fero"


@given(st.text())
def test_tokens_decode_to_the_text_that_they_were_made_of(text: str) -> None:
    tokenizer = byte_level()
    (found,) = Encoder(tokenizer).encode([render(Sample(text=text or "a"), tokenizer, data())])
    assert tokenizer.decode(found.input_ids.tolist()) == (text or "a") + str(tokenizer.eos_token)
