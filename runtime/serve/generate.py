"""What `fsft generate` does: prompts in, answers out."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsft.recipes.problems import Problem, Refused
from fsft.runtime.data.images.files import located
from fsft.runtime.data.rows import read_rows
from fsft.runtime.data.sample import Message
from fsft.runtime.data.samples import MAX_PROBLEMS
from fsft.runtime.data.shapes import to_sample
from fsft.runtime.run_directory import RunDirectory, write_text
from fsft.runtime.serve.answers import Answerer


@dataclass(frozen=True)
class Prompt:
    """A prompt as it was given, and the dialogue that the model is asked to go on with."""

    given: dict[str, Any]
    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()
    """As in Sample: what the model may call."""
    images: tuple[str, ...] = ()
    """Where the images are that the turns show."""

    @property
    def text(self) -> str:
        """The last turn, for people."""
        return str(self.messages[-1]["content"])


def text_prompt(text: str, system: str | None = None) -> Prompt:
    """A prompt that is one user turn, after an optional system turn."""
    user = {"role": "user", "content": text}
    turns = [user] if system is None else [{"role": "system", "content": system}, user]
    return Prompt({"prompt": text}, tuple(turns))


def read_prompts(file: Path, system: str | None = None) -> list[Prompt]:
    """The prompts of a file: json rows with "prompt" or "messages", or a prompt a line of text.

    Raises Refused naming every line that is none.
    """
    if not file.is_file():
        raise Refused(Problem(file=str(file), reason="there is no such prompt file."))
    if file.suffix not in (".json", ".jsonl"):
        return [text_prompt(line, system) for line in _text_lines(file) if line.strip()]
    prompts: list[Prompt] = []
    problems: list[Problem] = []
    for row in read_rows(file):
        try:
            prompts.append(_row_prompt(row.value, row.error, system, str(file.parent)))
        except ValueError as error:
            problems.append(row.problem(str(error)))
    if problems:
        raise Refused(*problems[:MAX_PROBLEMS])
    return prompts


def generate(
    run: RunDirectory,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int,
    batch_size: int,
    temperature: float,
) -> list[str]:
    """The answers of the run's model, in the order of the prompts."""
    if not run.model.exists():
        raise Refused(
            Problem(
                file=str(run.path),
                reason="the run has no trained model yet.",
                example=f"fsft run {run.recipe_file}",
            )
        )
    return Answerer.load(run.model).answer(
        [prompt.messages for prompt in prompts],
        tools=[prompt.tools for prompt in prompts],
        images=[prompt.images for prompt in prompts],
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        temperature=temperature,
    )


def write_answers(out: Path, prompts: Sequence[Prompt], answers: Sequence[str]) -> None:
    """Write jsonl: each prompt as it was given, with its answer."""
    write_text(out, "".join(_lines(prompts, answers)))


def _lines(prompts: Sequence[Prompt], answers: Sequence[str]) -> Iterator[str]:
    for prompt, answer in zip(prompts, answers, strict=True):
        yield json.dumps({**prompt.given, "answer": answer}, ensure_ascii=False) + "\n"


def _text_lines(file: Path) -> list[str]:
    """Lines end at a newline alone: a prompt may hold the other breaks of str.splitlines."""
    try:
        return file.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problem = Problem(file=str(file), line=line, reason="is not UTF-8 text.")
        raise Refused(problem) from None


def _row_prompt(value: Any, error: str, system: str | None, folder: str) -> Prompt:
    if error:
        raise ValueError(error)
    if isinstance(value, dict) and isinstance(value.get("prompt"), str):
        return Prompt(value, text_prompt(value["prompt"], system).messages)
    if not isinstance(value, dict) or "messages" not in value:
        raise ValueError('needs a "prompt" text or a list of "messages"')
    sample = to_sample(value, "messages")
    messages = sample.messages
    if system is not None and messages[0]["role"] != "system":
        messages = ({"role": "system", "content": system}, *messages)
    images = tuple(located(name, folder) for name in sample.images)
    return Prompt(value, messages, sample.tools, images)
