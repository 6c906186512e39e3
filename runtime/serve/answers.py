"""Answers of a model to dialogues, in batches."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from fsft.recipes.problems import Problem, Refused
from fsft.runtime.data.chat_template import chat_template
from fsft.runtime.data.images.processor import ImageProcessor
from fsft.runtime.data.sample import Message
from fsft.runtime.data.text_tokenizer import text_tokenizer_of
from fsft.runtime.serve.image_prompts import ImagePrompts

Tools = Sequence[dict[str, Any]]
"""JSON Schemas of the functions that the model may call."""


class Answerer:
    """A model and its tokenizer, ready to answer."""

    def __init__(self, model: Any, tokenizer: Any, images: ImageProcessor | None = None) -> None:
        """Put a transformers model, with the tokenizer of its training, on the best device here.

        `images`: its image processor, where it takes images.
        """
        import torch

        device = torch.accelerator.current_accelerator() or torch.device("cpu")
        self.model = model.to(device).eval()
        self.tokenizer, self.images = tokenizer, images
        self._text = text_tokenizer_of(tokenizer)
        self._seeing = ImagePrompts(images, tokenizer) if images else None

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The model in a Hugging Face folder, in its stored type."""
        from safetensors import SafetensorError
        from transformers import AutoConfig, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        from fsft.runtime.train.model import auto_class

        if not sys.stderr.isatty():
            disable_progress_bar()
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            model = auto_class(config).from_pretrained(folder, dtype="auto", local_files_only=True)
        except (OSError, ValueError, SafetensorError) as error:
            raise Refused(
                Problem(
                    file=str(folder),
                    reason=f"no model can be loaded from here: {error}",
                    example="finish the run first, with fsft run",
                )
            ) from error
        return cls(model, tokenizer, ImageProcessor.load(folder))

    def answer(
        self,
        dialogues: Sequence[Sequence[Message]],
        *,
        tools: Sequence[Tools] | None = None,
        images: Sequence[Sequence[str]] | None = None,
        max_new_tokens: int,
        batch_size: int,
        temperature: float = 0.0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        """One answer for each dialogue, in their order; greedy at temperature 0.

        `tools` are those of each dialogue, and `images` where its images are. Raises Refused where
        the chat template refuses one, or an image cannot be used.
        """
        if dialogues and not self.tokenizer.chat_template:
            raise Refused("the model's tokenizer has no chat template, so it cannot be asked.")
        seen = images or [()] * len(dialogues)
        asked = zip(dialogues, tools or [()] * len(dialogues), seen, strict=True)
        prompts = [self._prompt_ids(*one) for one in asked]
        answers = [""] * len(prompts)
        done = 0
        for indexes in _batches([len(prompt) for prompt in prompts], batch_size):
            batch = [prompts[index] for index in indexes]
            shown = [place for index in indexes for place in seen[index]]
            generated = self._generate(batch, shown, max_new_tokens, temperature)
            for index, answer in zip(indexes, generated, strict=True):
                answers[index] = answer
            done += len(indexes)
            if on_progress:
                on_progress(done, len(prompts))
        return answers

    def _prompt_ids(
        self, dialogue: Sequence[Message], tools: Tools, images: Sequence[str]
    ) -> list[int]:
        """Written as in training, where a template that writes the date has one date too."""
        try:
            template = chat_template(self._text)
            turns = self._seeing.written(dialogue) if self._seeing and images else dialogue
            text = template.write(turns, tools, asks=True)
            if images:
                text = self._with_images(text, images)
        except ValueError as error:
            raise Refused(f"a prompt cannot be asked: {error}") from None
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _with_images(self, text: str, images: Sequence[str]) -> str:
        if self._seeing is None:
            raise ValueError("it has images, and the model takes none")
        return self._seeing.expanded(text, images)

    def _generate(
        self,
        prompts: Sequence[list[int]],
        images: Sequence[str],
        max_new_tokens: int,
        temperature: float,
    ) -> list[str]:
        """Padding stands on the left, so that every answer begins right behind its prompt."""
        import torch

        width = max(map(len, prompts))
        pad = self.tokenizer.pad_token_id or 0
        ids = [[pad] * (width - len(prompt)) + prompt for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None}
        if temperature > 0:
            sampling = {"do_sample": True, "temperature": temperature}
        input_ids = torch.tensor(ids, device=self.model.device)
        with torch.inference_mode():
            output = self.model.generate(
                input_ids=input_ids,
                attention_mask=torch.tensor(mask, device=self.model.device),
                max_new_tokens=max_new_tokens,
                eos_token_id=self._end_tokens(),
                pad_token_id=pad,
                top_k=None,
                **sampling,
                **(self._seeing.inputs(input_ids, images) if self._seeing else {}),
            )
        texts = self.tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)
        return [text.strip() for text in texts]

    def _end_tokens(self) -> list[int]:
        """The model's end tokens; an untrained model has only its tokenizer's."""
        known = self.model.generation_config.eos_token_id
        ends = known if isinstance(known, list) else [known]
        return sorted({e for e in [*ends, self.tokenizer.eos_token_id] if e is not None})


def _batches(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Indexes in batches of like length, the longest first."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
