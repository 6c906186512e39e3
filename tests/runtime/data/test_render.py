"""What is learned of a dialogue, to the character, whatever the chat template does."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsft.recipes.schema import Data, Source
from fsft.recipes.shipped import shipped_templates
from fsft.runtime.data.chat_template import chat_template
from fsft.runtime.data.render import Rendered, render, render_rejected
from fsft.runtime.data.sample import Message, Sample
from fsft.runtime.data.text_tokenizer import TextTokenizer, text_tokenizer_of
from fsft.runtime.data.tokenizer import template_text

CHATML = template_text("chatml")
ASKS = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
# As Qwen 3: reasoning stays where no question follows; the last answer always has some.
DROPS_REASONING = (
    "{% set ns = namespace(last=-1) %}{% for m in messages %}"
    "{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}"
    "{% set text = m.content.split('</think>')[-1].lstrip('\n') %}"
    "{% set thought = m.reasoning_content or "
    "m.content.split('</think>')[0].split('<think>')[-1].strip('\n') "
    "if m.reasoning_content or '</think>' in m.content else '' %}"
    "{% if loop.index0 > ns.last %}<think>\n{{ thought }}\n</think>\n\n{% endif %}{{ text }}"
    "{% for call in m.tool_calls %}<call>{{ call.function | tojson }}</call>{% endfor %}"
    "{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}" + ASKS
)
# As DeepSeek R1: the prompt begins the reasoning, and the dialogue never shows any.
ASKS_TO_THINK = (
    "{% for m in messages %}{% if m.role == 'user' %}<｜User｜>{{ m.content }}"
    "{% else %}<｜Assistant｜>{{ m.content.split('</think>')[-1] }}<｜end▁of▁sentence｜>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<｜Assistant｜><think>\n{% endif %}"
)
# As Llama 3.1: a date, and tools in the first question.
DATED = (
    "<|im_start|>system\nToday: {{ strftime_now('%d %b %Y') }}<|im_end|>\n"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if loop.first and tools %}{{ tools | tojson }}\n{% endif %}{{ m.content | trim }}"
    "<|im_end|>\n{% endfor %}" + ASKS
)
# As Mistral: the system text stands in whatever question is the last.
MOVES_SYSTEM = (
    "{% set users = messages | selectattr('role', 'equalto', 'user') | list %}"
    "{% for m in messages %}{% if m.role == 'user' %}[INST] "
    "{% if m == users[-1] and messages[0].role == 'system' %}{{ messages[0].content }}\n{% endif %}"
    "{{ m.content }} [/INST]"
    "{% elif m.role == 'assistant' %} {{ m.content }}</s>{% endif %}{% endfor %}"
)
SAYS_ITSELF = (
    "{% for m in messages %}{{ m.role }}: {% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}</s>{% endgeneration %}{% else %}{{ m.content }}{% endif %}\n"
    "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)
LOOKS_INTO_QUESTIONS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'user' and m.content.startswith('/short') %}(be short){% endif %}"
    "{{ m.content | replace('/short', '') }}<|im_end|>\n{% endfor %}" + ASKS
)
# As a template that forgets to say who speaks, once a tool was called.
FORGETS = (
    "{% for m in messages %}{% if m.role == 'user' %}<｜User｜>{{ m.content }}"
    "{% else %}{% if loop.index0 < 2 %}<｜Assistant｜>{% endif %}: {{ m.content }}</s>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<｜Assistant｜>: {% endif %}"
)
ENDS_ONCE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% else %}</s>{% endif %}"
)


def dialogue(*turns: str, **more: Any) -> Sample:
    """A dialogue written as "user: q"."""
    return Sample(messages=messages(*turns), **more)


def messages(*turns: str) -> tuple[Message, ...]:
    pairs = [turn.split(": ", 1) for turn in turns]
    return tuple({"role": role, "content": content} for role, content in pairs)


def data(**values: Any) -> Data:
    return Data(train=[Source(path="x.jsonl")], **values)


def learned(rendered: Rendered) -> list[str]:
    return [rendered.text[start:end] for start, end in rendered.learned]


def both(
    tokenizer: TextTokenizer, sample: Sample, template: str = CHATML, **values: Any
) -> list[str]:
    return learned(render(sample, tokenizer, data(**values), template))


TWO = ("user: q", "assistant: one", "user: r", "assistant: two")


@pytest.mark.parametrize(
    ("template", "turns", "expected"),
    [
        (CHATML, TWO, ["one<|im_end|>", "two<|im_end|>"]),
        (CHATML, ("user: same", "assistant: same"), ["same<|im_end|>"]),
        (CHATML, ("user: q", "assistant:  <|im_end|> \n"), [" <|im_end|> \n<|im_end|>"]),
        (DATED, ("user: q", "assistant:  a \n"), ["a<|im_end|>"]),
        (DROPS_REASONING, TWO, ["one<|im_end|>", "<think>\n\n</think>\n\ntwo<|im_end|>"]),
        (
            DROPS_REASONING,
            (
                "user: q",
                "assistant: <think>\nt\n</think>\n\none",
                "user: r",
                "assistant: <think>\nu\n</think>\n\ntwo",
            ),
            ["one<|im_end|>", "<think>\nu\n</think>\n\ntwo<|im_end|>"],
        ),
        (
            ASKS_TO_THINK,
            ("user: q", "assistant: <think>t</think><thing>", "user: r", "assistant: <thinker>"),
            ["<thing><｜end▁of▁sentence｜>", "<thinker><｜end▁of▁sentence｜>"],
        ),
        (
            ASKS_TO_THINK,
            ("user: q", "assistant: <think>\nt\n</think>\n\none"),
            ["\n\none<｜end▁of▁sentence｜>"],
        ),
        (MOVES_SYSTEM, ("system: s", *TWO), [" one</s>", " two</s>"]),
        (SAYS_ITSELF, TWO, ["one</s>", "two</s>"]),
        (LOOKS_INTO_QUESTIONS, ("user: /short q", "assistant: a"), ["a<|im_end|>"]),
        (ENDS_ONCE, TWO, [" one", " two\n</s>"]),
    ],
)
def test_an_answer_is_learned_from_behind_its_prompt_through_its_end(
    template: str, turns: tuple[str, ...], expected: list[str], sentence_tokenizer: TextTokenizer
) -> None:
    assert both(sentence_tokenizer, dialogue(*turns), template) == expected


@pytest.mark.parametrize("template", [CHATML, DROPS_REASONING, DATED, MOVES_SYSTEM, SAYS_ITSELF])
def test_the_text_is_the_one_that_transformers_writes(
    template: str, transformers_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = dialogue("system: s", *TWO)
    monkeypatch.setattr(transformers_tokenizer, "chat_template", template)
    written = transformers_tokenizer.apply_chat_template(list(sample.messages), tokenize=False)
    pinned = re.sub(r"Today: [^<]*", "Today: 26 Jul 2024", written)
    assert render(sample, text_tokenizer_of(transformers_tokenizer), data()).text == pinned


CALL = {"type": "function", "function": {"name": "sky", "arguments": {"at": "Ulm"}}}
CALLED = '<call>{"name": "sky", "arguments": {"at": "Ulm"}}</call><|im_end|>'


@pytest.mark.parametrize(
    ("content", "expected"),
    [("", CALLED), ("I look.", f"I look.{CALLED}")],
)
def test_calls_of_tools_are_learned_and_their_results_are_not(
    content: str, expected: str, sentence_tokenizer: TextTokenizer
) -> None:
    call = {"role": "assistant", "content": content, "tool_calls": [CALL]}
    turns = (*messages("user: q"), call, *messages("tool: sun", "assistant: Sun."))
    for also in ((), messages("user: r", "assistant: two")):
        sample = Sample(messages=(*turns, *also), tools=({"name": "sky"},))
        answers = both(sentence_tokenizer, sample, DROPS_REASONING)
        assert [answer.removeprefix("<think>\n\n</think>\n\n") for answer in answers[:2]] == [
            expected,
            "Sun.<|im_end|>",
        ]


def test_arguments_are_json_in_a_text_for_a_template_that_takes_no_objects(
    sentence_tokenizer: TextTokenizer,
) -> None:
    takes_text = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}"
        "{% for call in m.tool_calls %}{{ '!' + call.function.arguments }}{% endfor %}|{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    call = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    sample = Sample(messages=(*messages("user: q"), call))
    assert both(sentence_tokenizer, sample, takes_text) == ['!{"at": "Ulm"}|']


@pytest.mark.parametrize("loss_on", ["answers", "last", "all"])
def test_a_call_that_the_template_does_not_write_is_refused(
    loss_on: str, sentence_tokenizer: TextTokenizer
) -> None:
    """Else the model would learn to answer with nothing."""
    call = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    sample = Sample(
        messages=(*messages("user: q"), call, *messages("tool: sun", "assistant: Sun."))
    )
    with pytest.raises(ValueError, match="turn 2 calls a tool, which the chat template does not"):
        render(sample, sentence_tokenizer, data(loss_on=loss_on), CHATML)
    render(sample, sentence_tokenizer, data(loss_on=loss_on), template_text("qwen"))


def test_reasoning_is_learned_where_the_template_writes_it(
    sentence_tokenizer: TextTokenizer,
) -> None:
    turns = [dict(turn) for turn in messages(*TWO)]
    turns[1]["reasoning_content"], turns[3]["reasoning_content"] = "why", "so"
    assert both(sentence_tokenizer, Sample(messages=tuple(turns)), DROPS_REASONING) == [
        "one<|im_end|>",
        "<think>\nso\n</think>\n\ntwo<|im_end|>",
    ]


def test_what_the_template_leaves_out_is_counted(sentence_tokenizer: TextTokenizer) -> None:
    turns = [dict(turn) for turn in messages(*TWO)]
    turns[1]["reasoning_content"], turns[3]["reasoning_content"] = "why", "so"
    sample = Sample(messages=tuple(turns))
    for template, number in ((DROPS_REASONING, 1), (CHATML, 2)):
        assert render(sample, sentence_tokenizer, data(), template).num_left_out == number
    assert render(dialogue(*TWO), sentence_tokenizer, data(), DROPS_REASONING).num_left_out == 0


def test_the_last_answer_or_all_can_be_learned(sentence_tokenizer: TextTokenizer) -> None:
    sample = dialogue(*TWO)
    assert both(sentence_tokenizer, sample, loss_on="last") == ["two<|im_end|>"]
    (whole,) = both(sentence_tokenizer, sample, loss_on="all")
    assert whole == render(sample, sentence_tokenizer, data(), CHATML).text


def weighed(*weights: int | None) -> Sample:
    turns = zip(messages(*TWO), weights, strict=True)
    return Sample(messages=tuple(m if w is None else {**m, "weight": w} for m, w in turns))


@pytest.mark.parametrize(
    ("weights", "loss_on", "expected"),
    [
        ((None, 0, None, 1), "answers", ["two<|im_end|>"]),
        ((1, 0, None, None), "answers", ["q<|im_end|>", "two<|im_end|>"]),
        ((None, 1, None, None), "last", ["one<|im_end|>", "two<|im_end|>"]),
        ((None, None, None, 0), "last", []),
        ((0, 0, 0, 0), "answers", []),
    ],
)
def test_the_weight_of_a_turn_overrides_what_the_recipe_learns(
    weights: tuple[int | None, ...],
    loss_on: str,
    expected: list[str],
    sentence_tokenizer: TextTokenizer,
) -> None:
    assert both(sentence_tokenizer, weighed(*weights), loss_on=loss_on) == expected


def test_turns_without_weight_are_left_out_of_all(sentence_tokenizer: TextTokenizer) -> None:
    rendered = render(weighed(None, 0, None, None), sentence_tokenizer, data(loss_on="all"), CHATML)
    start = rendered.text.index("one")
    end = start + len("one<|im_end|>")
    assert rendered.learned == ((0, start), (end, len(rendered.text)))


def test_the_weight_of_a_question_counts_where_the_template_marks_answers_itself(
    sentence_tokenizer: TextTokenizer,
) -> None:
    assert both(sentence_tokenizer, weighed(1, None, None, 0), SAYS_ITSELF) == ["q", "one</s>"]


@pytest.mark.parametrize("loss_on", ["answers", "last", "all"])
def test_of_a_preference_what_follows_the_question_is_learned(
    loss_on: str, sentence_tokenizer: TextTokenizer
) -> None:
    shared = messages(*TWO[:3])
    sample = Sample(
        messages=(*shared, *messages("assistant: good")),
        rejected=(*shared, *messages("assistant: bad")),
    )
    better = render(sample, sentence_tokenizer, data(loss_on=loss_on), CHATML)
    worse = render_rejected(sample, sentence_tokenizer, data(loss_on=loss_on), CHATML)
    assert (learned(better), learned(worse)) == (["good<|im_end|>"], ["bad<|im_end|>"])
    assert worse.text == better.text.replace("good", "bad")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ messages | length }}{{ messages[-1].content }}", "turn 2 cannot be told"),
        (
            "{% for m in messages %}{{ m.content.nothing() }}{% endfor %}",
            "the chat template refuses",
        ),
        ("{% for m in messages %}{{ m.content + 1 }}{% endfor %}", "the chat template fails"),
        ("{% for m in messages %}", "cannot be understood"),
        (
            "{{ messages | length }}{% for m in messages %}{{ m.content | length }}{% endfor %}",
            "the answer in turn 2 cannot be told",
        ),
        (FORGETS, "turn 4 .* what stands before it is no prompt"),
        (SAYS_ITSELF.replace("m.role == 'assistant'", "loop.last"), "marks 1 answers"),
    ],
)
def test_where_an_answer_cannot_be_told_words_say_why(
    template: str, said: str, sentence_tokenizer: TextTokenizer
) -> None:
    with pytest.raises(ValueError, match=said):
        render(dialogue(*TWO), sentence_tokenizer, data(), template)


def test_text_that_looks_like_a_mark_is_no_mark(sentence_tokenizer: Any) -> None:
    turns = ("user: /short Mq7Zx7xZ", "assistant: Mq7Zx0xZ")
    assert both(sentence_tokenizer, dialogue(*turns)) == ["Mq7Zx0xZ<|im_end|>"]
    with pytest.raises(ValueError, match="looks like the marks of fsft"):
        both(sentence_tokenizer, dialogue(*turns), LOOKS_INTO_QUESTIONS)


TEXTS = st.sampled_from(
    ["a", " a\n", "<|im_end|>", "<think>\nb\n</think>\n\na", "助手", "Mq7Zx0xZ"]
)
ROLES = st.sampled_from(["user", "assistant", "tool"])


@given(st.lists(st.tuples(ROLES, TEXTS), min_size=1, max_size=6))
def test_what_is_learned_is_what_the_template_adds_to_the_prompt(
    sentence_tokenizer: TextTokenizer, turns: list[tuple[str, str]]
) -> None:
    """By hand: as long as a template only adds turns, the answer follows the prompt."""
    sample = Sample(messages=tuple({"role": r, "content": c} for r, c in turns))
    rendered = render(sample, sentence_tokenizer, data(), CHATML)
    expected = []
    for index, (role, content) in enumerate(turns):
        if role == "assistant":
            written = [f"<|im_start|>{r}\n{c}<|im_end|>\n" for r, c in turns[:index]]
            start = len("".join(written)) + len("<|im_start|>assistant\n")
            expected.append((start, start + len(content) + len("<|im_end|>")))
    assert rendered.learned == tuple(expected)


@given(
    st.sampled_from([*shipped_templates()]),
    st.booleans(),
    st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4),
)
def test_an_answer_begins_where_the_prompt_ends_in_every_shipped_template(
    sentence_tokenizer: Any, name: str, has_system: bool, exchanges: list[tuple[str, str]]
) -> None:
    turns = [{"role": "system", "content": "s"}] if has_system else []
    for question, answer in exchanges:
        turns.append({"role": "user", "content": question})
        turns.append({"role": "assistant", "content": answer})
    template = template_text(name)
    rendered = render(Sample(messages=tuple(turns)), sentence_tokenizer, data(), template)
    write = chat_template(sentence_tokenizer, template).write
    answers = [index for index, turn in enumerate(turns) if turn["role"] == "assistant"]
    prompts = [write(turns[:index], asks=True) for index in answers]
    assert [start for start, _ in rendered.learned] == [len(prompt) for prompt in prompts]
    assert all(rendered.text.startswith(prompt) for prompt in prompts)
    for index, (start, end) in zip(answers, rendered.learned, strict=True):
        assert turns[index]["content"].strip() in rendered.text[start:end]
