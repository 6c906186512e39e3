"""The chat templates that come with fsft write what their sources publish."""

import re
from pathlib import Path
from typing import get_args

import pytest

from fsft.recipes.schema import Data, DataFormat, Source
from fsft.recipes.shipped import shipped_templates
from fsft.runtime.data.chat_template import (
    ChatTemplate,
    template_tokens,
    template_warnings,
    turn_ends,
)
from fsft.runtime.data.render import render
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.text_tokenizer import TextTokenizer, text_tokenizer_of
from fsft.runtime.data.tokenizer import template_text, train_tokenizer

DIALOGUE = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi there"},
    {"role": "user", "content": "Who are you"},
    {"role": "assistant", "content": "I am an assistant"},
]
ALPACA_SYSTEM = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)
VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
CHATML = (
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n"
    "<|im_start|>assistant\n{}Hi there<|im_end|>{}\n<|im_start|>user\nWho are you<|im_end|>\n"
    "<|im_start|>assistant\n{}I am an assistant<|im_end|>{}\n"
)
# What is learned stands between braces.
PUBLISHED = {
    "chatml": CHATML,
    "qwen": CHATML,
    "internlm2": "<s>" + CHATML,
    "llama2": (
        "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHello [/INST]{} Hi there </s>{}"
        "<s>[INST] Who are you [/INST]{} I am an assistant </s>{}"
    ),
    "llama3": (
        "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n{}Hi there<|eot_id|>{}"
        "<|start_header_id|>user<|end_header_id|>\n\nWho are you<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n{}I am an assistant<|eot_id|>{}"
    ),
    "baichuan2": (
        "Be brief.<reserved_106>Hello<reserved_107>{}Hi there<reserved_106>{}Who are you"
        "<reserved_107>{}I am an assistant</s>{}"
    ),
    "chatglm3": (
        "[gMASK]sop<|system|>\n Be brief.<|user|>\n Hello<|assistant|>{}\n Hi there<|user|>{}"
        "\n Who are you<|assistant|>{}\n I am an assistant</s>{}"
    ),
    "vicuna": (
        "<s>Be brief. USER: Hello ASSISTANT:{} Hi there</s>{}USER: Who are you "
        "ASSISTANT:{} I am an assistant</s>{}"
    ),
    "alpaca": (
        "Be brief.\n\n### Instruction:\nHello\n\n### Response:\n{}Hi there</s>{}\n\n"
        "### Instruction:\nWho are you\n\n### Response:\n{}I am an assistant</s>{}\n\n"
    ),
    "vanilla": (
        "Be brief.\nQ: Hello\nA:{} Hi there</s>{}\nQ: Who are you\nA:{} I am an assistant</s>{}\n"
    ),
    "mistral": (
        "<s> [INST] Be brief.\n\nHello [/INST]{} Hi there</s>{} [INST] Who are you [/INST]"
        "{} I am an assistant</s>{}"
    ),
    "gemma": (
        "<s><start_of_turn>user\nBe brief.\n\nHello<end_of_turn>\n"
        "<start_of_turn>model\n{}Hi there<end_of_turn>{}\n"
        "<start_of_turn>user\nWho are you<end_of_turn>\n"
        "<start_of_turn>model\n{}I am an assistant<end_of_turn>{}\n"
    ),
    "phi3": (
        "<|system|>\nBe brief.<|end|>\n<|user|>\nHello<|end|>\n<|assistant|>\n{}Hi there<|end|>{}\n"
        "<|user|>\nWho are you<|end|>\n<|assistant|>\n{}I am an assistant<|end|>\n</s>{}"
    ),
    "deepseek": (
        "<s>Be brief.<｜User｜>Hello<｜Assistant｜>{}Hi there<｜end▁of▁sentence｜>{}"
        "<｜User｜>Who are you<｜Assistant｜>{}I am an assistant<｜end▁of▁sentence｜>{}"
    ),
    "zephyr": (
        "<|system|>\nBe brief.</s>\n<|user|>\nHello</s>\n<|assistant|>\n{}Hi there</s>{}\n"
        "<|user|>\nWho are you</s>\n<|assistant|>\n{}I am an assistant</s>{}\n"
    ),
}
DATA = Data(train=[Source(path="x.jsonl")])


def compiled(name: str) -> ChatTemplate:
    special = {"bos_token": "<s>", "eos_token": "</s>"}
    return ChatTemplate(template_text(name), special, frozenset(special.values()))


def test_every_template_is_held_against_its_source() -> None:
    assert shipped_templates().keys() == PUBLISHED.keys()
    for file in shipped_templates().values():
        assert file.read_text(encoding="utf-8").startswith("{#- ")


def test_every_template_is_named_in_the_documentation() -> None:
    text = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    names = re.findall(r"^\| `(\w+)` \|", text.partition("## Chat templates")[2], re.MULTILINE)
    assert names == list(shipped_templates())


def test_every_shape_is_named_in_the_documentation() -> None:
    text = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    names = re.findall(r"^\| `(\w+)` \|", text.partition("## Chat templates")[0], re.MULTILINE)
    assert names == list(get_args(DataFormat))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_template_writes_what_is_published(name: str) -> None:
    assert compiled(name).write(DIALOGUE) == PUBLISHED[name].format("", "", "", "")


@pytest.mark.parametrize("name", PUBLISHED)
def test_answers_are_learned_through_the_token_that_ends_them(
    name: str, sentence_tokenizer: TextTokenizer
) -> None:
    rendered = render(
        Sample(messages=tuple(DIALOGUE)), sentence_tokenizer, DATA, template_text(name)
    )
    before, one, between, other, _ = PUBLISHED[name].split("{}")
    first = len(before)
    second = first + len(one) + len(between)
    assert rendered.learned == ((first, first + len(one)), (second, second + len(other)))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_prompt_is_what_stands_before_the_last_answer(name: str) -> None:
    prompt = "".join(PUBLISHED[name].split("{}")[:3])
    assert compiled(name).write(DIALOGUE[:-1], asks=True) == prompt


@pytest.mark.parametrize(
    ("name", "system"),
    [
        ("alpaca", ALPACA_SYSTEM),
        ("vicuna", VICUNA_SYSTEM),
        ("qwen", "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
    ],
)
def test_some_models_have_a_system_text_of_their_own(name: str, system: str) -> None:
    with_own = [{"role": "system", "content": system}, *DIALOGUE[1:]]
    assert compiled(name).write(DIALOGUE[1:]) == compiled(name).write(with_own)


def test_qwen_writes_tools_calls_and_results() -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {}}}
    call = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Ulm"}}}
    dialogue = [
        *DIALOGUE[:2],
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "sun"},
    ]
    text = compiled("qwen").write(dialogue, [tool], asks=True)
    assert (
        '<tools>\n{"type": "function", "function": {"name": "weather", "parameters": {}}}\n' in text
    )
    assert text.endswith(
        '<|im_start|>assistant\n<tool_call>\n{"name": "weather", "arguments": {"city": "Ulm"}}\n'
        "</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\nsun\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("chatml", "<|im_end|>"),
        ("llama3", "<|eot_id|>"),
        ("gemma", "<end_of_turn>"),
        ("deepseek", "<｜end▁of▁sentence｜>"),
        ("vicuna", ""),
    ],
)
def test_a_new_tokenizer_ends_texts_as_its_template_does(name: str, token: str) -> None:
    text = template_text(name)
    assert turn_ends(text) == [token] if token else not turn_ends(text)
    made = train_tokenizer(iter(["a"]), 300, text)
    assert made.eos_token == (token or "<|endoftext|>")
    assert not template_warnings(text_tokenizer_of(made), text)


def test_tokens_that_the_tokenizer_does_not_know_are_named(
    sentence_tokenizer: TextTokenizer,
) -> None:
    (warning,) = template_warnings(sentence_tokenizer, template_text("chatml"))
    assert "<|im_end|>" in warning
    assert template_warnings(sentence_tokenizer, template_text("vicuna")) == []


def test_tokens_in_comments_are_not_written() -> None:
    assert template_tokens("{# <|a|> #}{{ '<|b|>' }}") == ["<|b|>"]


def test_a_template_that_hides_answers_ends_them_with_nothing() -> None:
    assert turn_ends("{{ messages[0]['content'] }}") == []
    assert turn_ends("{{ raise_exception('no') }}") == []


def test_some_templates_end_an_answer_with_the_next_turn() -> None:
    assert turn_ends(template_text("chatglm3")) == ["<|user|>"]
    assert turn_ends(template_text("baichuan2")) == ["<reserved_106>"]
