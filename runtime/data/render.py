"""Samples as the text that the tokenizer sees, and the parts of it that are learned.

The mask is exact for any chat template: see `skeleton`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fsft.recipes.schema import Data
from fsft.runtime.data.chat_template import ChatTemplate, chat_template
from fsft.runtime.data.marks import Marked, marked
from fsft.runtime.data.sample import Message, Sample
from fsft.runtime.data.skeleton import Skeleton, Span, Spans, skeleton_of
from fsft.runtime.data.text_tokenizer import TextTokenizer

MOST_SKELETONS = 1000
"""Skeletons of dialogues kept for a template; dialogues of a file are alike."""


@dataclass(frozen=True)
class Rendered:
    """The text that the tokenizer sees, and the parts of it that are learned, in order."""

    text: str
    learned: tuple[Span, ...]
    num_left_out: int = 0
    """Texts of the dialogue that the chat template leaves out, where that is known."""


def render(
    sample: Sample, tokenizer: TextTokenizer, data: Data, template: str | None = None
) -> Rendered:
    """The text of a sample and its learned spans; raises ValueError where the template cannot.

    `template` is the text of a chat template in place of the tokenizer's. An answer is learned
    from behind the prompt that the model is given through the token that ends its turn. Of a
    preference this is the better dialogue, and what is learned is what follows the question.
    """
    if sample.text:
        return _plain(sample.text, tokenizer)
    return _dialogue(sample, sample.messages, tokenizer, data, template)


def render_rejected(
    sample: Sample, tokenizer: TextTokenizer, data: Data, template: str | None = None
) -> Rendered:
    """The worse dialogue of a preference, in the same way."""
    return _dialogue(sample, sample.rejected, tokenizer, data, template)


def _plain(text: str, tokenizer: TextTokenizer) -> Rendered:
    text = f"{tokenizer.text_begin}{text}{tokenizer.eos_token or ''}"
    return Rendered(text, ((0, len(text)),))


def _dialogue(
    sample: Sample,
    messages: Sequence[Message],
    tokenizer: TextTokenizer,
    data: Data,
    template: str | None,
) -> Rendered:
    compiled = chat_template(tokenizer, template)
    _require_calls(compiled, messages)
    first = sample.num_shared if sample.rejected else 0
    learns_all = data.loss_on == "all" and not sample.rejected
    if learns_all and not any(message.get("weight") == 0 for message in messages):
        text = compiled.write(messages, sample.tools)
        return Rendered(text, ((0, len(text)),))
    text, spans = _places(compiled, messages, sample.tools)
    if learns_all:
        masked = [spans.turns.get(i) for i, m in enumerate(messages) if m.get("weight") == 0]
        return Rendered(text, _outside(masked, len(text)), spans.num_left_out)
    answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    wanted = set(answers[-1:] if data.loss_on == "last" else answers)
    learned = [
        (spans.answers if message["role"] == "assistant" else spans.turns).get(i)
        for i, message in enumerate(messages)
        if i >= first and message.get("weight", i in wanted)
    ]
    kept = tuple(span for span in learned if span and span[0] < span[1])
    return Rendered(text, kept, spans.num_left_out)


def _require_calls(template: ChatTemplate, messages: Sequence[Message]) -> None:
    """Raise ValueError where tools are called that the template does not write.

    An answer that calls one and says nothing would teach the model to say nothing.
    """
    if template.writes_calls:
        return
    for number, message in enumerate(messages, start=1):
        if message.get("tool_calls"):
            raise ValueError(f"turn {number} calls a tool, which the chat template does not write")


def _places(template: ChatTemplate, messages: Sequence[Message], tools: Any) -> tuple[str, Spans]:
    """The text of a dialogue, and where its turns stand in it."""
    if not template.marks_answers:
        text = template.write(messages, tools)
        return text, _spans(template, messages, tools, text)
    text, said = template.write_marked(messages, tools)
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    spans = _joined(said)
    if len(spans) != len(answers):
        raise ValueError(
            f"the chat template marks {len(spans)} answers by generation, and {len(answers)} turns "
            "are the assistant's"
        )
    others = _spans(template, messages, tools, text) if _weighs_others(messages) else None
    return text, Spans(dict(zip(answers, spans, strict=True)), others.turns if others else {})


def _spans(template: ChatTemplate, messages: Sequence[Message], tools: Any, text: str) -> Spans:
    """Where turns stand in the text, by the first skeleton that holds.

    Where a template looks into the texts, as at tags in what the user says, those are not marked.
    """
    problem = None
    for covers in (_anyone, _assistant, _nobody):
        dialogue = marked(messages, covers)
        try:
            skeleton = _skeleton(template, dialogue, tools, keep=covers is _anyone)
        except ValueError as error:
            problem = problem or error
            continue
        if skeleton.fill(dialogue.texts) == text:
            return skeleton.spans(dialogue.texts)
    raise problem or ValueError("the chat template writes the same dialogue in different ways")


def _skeleton(template: ChatTemplate, dialogue: Marked, tools: Any, *, keep: bool) -> Skeleton:
    if not keep:
        return skeleton_of(template, dialogue, tools)
    key = (dialogue.key, repr(tools) if tools else "")
    if key not in template.skeletons:
        if len(template.skeletons) >= MOST_SKELETONS:
            template.skeletons.clear()
        template.skeletons[key] = skeleton_of(template, dialogue, tools)
    return template.skeletons[key]


def _anyone(_: Message) -> bool:
    return True


def _assistant(message: Message) -> bool:
    return bool(message["role"] == "assistant")


def _nobody(_: Message) -> bool:
    return False


def _weighs_others(messages: Sequence[Message]) -> bool:
    return any("weight" in message for message in messages)


def _joined(spans: Iterable[Span]) -> list[Span]:
    """The spans, with those that touch each other joined."""
    joined: list[Span] = []
    for start, end in spans:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _outside(masked: Iterable[Span | None], length: int) -> tuple[Span, ...]:
    """What lies between the masked spans."""
    edges = [0, *(edge for span in masked if span for edge in span), length]
    return tuple((a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b)
