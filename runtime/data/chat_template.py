"""Chat templates, compiled once: a dialogue in, the text that the tokenizer sees out."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import lru_cache
from typing import Any

from fsft.runtime.data.sample import Message
from fsft.runtime.data.text_tokenizer import TextTokenizer

PINNED_DATE = date(2024, 7, 26)
"""Today, for templates that write it: tokens must not depend on the day on which they are made.

It is the date that Llama 3.1's template writes where it cannot ask.
"""

_TOKEN = re.compile(
    r"<\|[^<>|\s]+\|>|<｜[^<>｜\s]+｜>|</s>|<(?:start|end)_of_turn>|<reserved_\d+>|\[gMASK\]"
)
_TRACKED = re.compile(r"\{%-?\s*generation\s*-?%\}")
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_SILENT: list[Message] = [{"role": "user", "content": "q"}, {"role": "assistant", "content": ""}]
_CALL = {
    "id": "123456789",
    "type": "function",
    "function": {"name": "name", "arguments": {"a": 1}},
}
_CALLING: list[Message] = [_SILENT[0], {**_SILENT[1], "tool_calls": [_CALL]}]
"""A dialogue that calls a tool, to see what a template makes of it."""


class ChatTemplate:
    """A template and the special tokens of the tokenizer that it writes for."""

    def __init__(self, text: str, special: Mapping[str, str], ends: frozenset[str]) -> None:
        """Raise ValueError where the text is no template."""
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import _compile_jinja_template

        try:
            self._compiled = _compile_jinja_template(text)
        except TemplateError as error:
            raise ValueError(f"the chat template cannot be understood: {error}") from None
        self._special = dict(special)
        self.marks_answers = bool(_TRACKED.search(text))
        """Whether the template says itself, by {% generation %}, what the model writes."""
        names = sorted({*ends, *template_tokens(text)}, key=len, reverse=True)
        self.end_token = re.compile("|".join(map(re.escape, names)) or r"(?!)")
        """A special token, as text."""
        self._arguments_are_text = False
        self._arguments_are_text = "tool_calls" in text and self._refuses_objects()
        self.writes_calls = self._writes_calls()
        """Whether the tools that an answer calls are in the text; True where that is not known."""
        self.skeletons: dict[Any, Any] = {}
        """What is known of how the template writes dialogues; see `render`."""

    def write(
        self, messages: Sequence[Message], tools: Sequence[Any] = (), *, asks: bool = False
    ) -> str:
        """The text of a dialogue; `asks` adds what the model is given to answer after.

        Raises ValueError where the template refuses the dialogue.
        """
        with _refusals():
            return str(self._compiled.render(self._values(messages, tools, asks=asks)))

    def write_marked(
        self, messages: Sequence[Message], tools: Sequence[Any]
    ) -> tuple[str, list[tuple[int, int]]]:
        """The text, and the spans of it that the template says the model writes."""
        pieces: list[str] = []
        spans: list[tuple[int, int]] = []
        with _refusals(), self._compiled.environment.activate_tracker(pieces, spans):
            # The tracker looks at the list while it grows.
            for piece in self._compiled.generate(self._values(messages, tools)):
                pieces.append(piece)  # noqa: PERF402
        return "".join(pieces), spans

    def _refuses_objects(self) -> bool:
        """Whether arguments of tools must be JSON in a text, as for DeepSeek's templates."""
        try:
            self.write(_CALLING)
        except ValueError as error:
            return isinstance(error.__context__, TypeError)
        return False

    def _writes_calls(self) -> bool:
        try:
            return self.write(_CALLING) != self.write(_SILENT)
        except ValueError:
            return True

    def _values(
        self, messages: Sequence[Message], tools: Sequence[Any], *, asks: bool = False
    ) -> dict[str, Any]:
        return {
            **self._special,
            "messages": [
                _as_written(message, text_arguments=self._arguments_are_text)
                for message in messages
            ],
            "tools": list(tools) or None,
            "documents": None,
            "add_generation_prompt": asks,
            "strftime_now": PINNED_DATE.strftime,
        }


@contextmanager
def _refusals() -> Iterator[None]:
    """What a template raises, in words: a template is a program that came with the model."""
    from jinja2 import TemplateError

    try:
        yield
    except TemplateError as error:
        raise ValueError(f"the chat template refuses the dialogue: {error}") from None
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"the chat template fails at the dialogue: {error}") from None


def chat_template(tokenizer: TextTokenizer, text: str | None = None) -> ChatTemplate:
    """The compiled template of a tokenizer, or of a text in its place."""
    return _compiled(tokenizer, text or tokenizer.chat_template or "")


def template_tokens(text: str) -> list[str]:
    """The special tokens that a template writes, in order of appearance."""
    return list(dict.fromkeys(_TOKEN.findall(_COMMENT.sub("", text))))


def turn_ends(text: str) -> list[str]:
    """The special tokens, other than that of the end of text, with which a template ends answers.

    Most write one token after every answer; some have only the token of the turn that follows.
    Raises ValueError where the text is no template.
    """
    end_of_text = "<|end-of-text|>"
    special = {"bos_token": "", "eos_token": end_of_text}
    template = ChatTemplate(text, special, frozenset())
    question, answer = ({"role": role, "content": f"the {role}"} for role in ("user", "assistant"))
    ends: dict[str, None] = {}
    for dialogue in ([question, answer], [question, answer, question]):
        try:
            written = template.write(dialogue)
        except ValueError:
            continue
        after = written.rpartition("the assistant")[2].lstrip()
        if match := _TOKEN.match(after):
            ends[match[0]] = None
    return [end for end in ends if end != end_of_text]


def template_warnings(tokenizer: TextTokenizer, text: str) -> list[str]:
    """What may surprise in a template: tokens that are none to the tokenizer, and the date."""
    warnings = []
    if missing := [token for token in template_tokens(text) if not tokenizer.knows(token)]:
        warnings.append(
            f"the chat template writes {', '.join(missing)}, which the tokenizer does not know: "
            "each will be split into pieces. Choose a template made for the model."
        )
    if "strftime_now" in text:
        warnings.append(
            "the chat template writes the day's date: in training it is always "
            f"{PINNED_DATE:%d %b %Y}, so that the same data gives the same tokens on every day."
        )
    return warnings


@lru_cache(maxsize=16)
def _compiled(tokenizer: TextTokenizer, text: str) -> ChatTemplate:
    return ChatTemplate(text, tokenizer.special_tokens, frozenset(tokenizer.all_special_tokens))


def _as_written(message: Message, *, text_arguments: bool) -> Message:
    """A turn as transformers gives it to templates, which is how servers will."""
    if len(message) == 2:
        return message
    kept = {name: value for name, value in message.items() if name != "weight"}
    if "reasoning_content" in kept:
        kept["thinking"] = kept["reasoning_content"]
    if text_arguments and "tool_calls" in kept:
        kept["tool_calls"] = [_with_text(call) for call in kept["tool_calls"]]
    return kept


def _with_text(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = json.dumps(function["arguments"], ensure_ascii=False)
    return {**call, "function": {**function, "arguments": arguments}}
