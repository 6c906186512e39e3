"""The evaluate stage: the trained model is asked questions from the data, and its loss measured."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from fsft.recipes.schema import Recipe, Source
from fsft.runtime.context import StageContext
from fsft.runtime.data.images.files import image_folder, is_image, places_of
from fsft.runtime.data.images.processor import ImageProcessor
from fsft.runtime.data.samples import SourceCounts, read_samples
from fsft.runtime.data.training_set import TokenRows
from fsft.runtime.evaluate.questions import Question, questions_of
from fsft.runtime.run_directory import write_json
from fsft.runtime.serve.answers import Answerer

MAX_WRONG = 20
"""Wrong answers kept for the report; enough to see what kind they are."""


def evaluate(context: StageContext) -> str:
    """Write exact match, loss and sample answers to the run's evaluate folder."""
    settings = context.recipe.evaluate
    questions = list(islice(_questions(context.recipe), settings.max_samples))
    answers, loss = _examine_trained(context, questions)
    right = [q.expected == answer for q, answer in zip(questions, answers, strict=True)]
    exact_match = sum(right) / len(right) if right else None
    wrong = [
        {"question": q.text, "expected": q.expected, "answer": answer}
        for q, answer, is_right in zip(questions, answers, right, strict=True)
        if not is_right
    ]
    results = {
        "split": settings.split,
        "num_questions": len(questions),
        "exact_match": exact_match,
        "loss": loss,
        "perplexity": None if loss is None else math.exp(min(loss, 700.0)),
        "samples": _samples(context, questions, answers),
        "wrong": wrong[:MAX_WRONG],
    }
    write_json(context.run.evaluation, results)
    return _summary(exact_match, len(questions), loss)


def _examine_trained(
    context: StageContext, questions: Sequence[Question]
) -> tuple[list[str], float | None]:
    """Answers and mean loss; the model is gone on return, which leaves room for the next one."""
    answerer = Answerer.load(context.run.model)
    answers = _ask(context, "answer", answerer, questions)
    return answers, _mean_loss(context, answerer)


def _questions(recipe: Recipe) -> Iterator[Question]:
    sources: list[Source] = getattr(recipe.data, recipe.evaluate.split)
    for source in sources:
        uncounted = SourceCounts(source.path, source.format)
        for placed in read_samples(source, recipe.data, uncounted):
            places = places_of(placed.sample.images, placed.row.file, source)
            # Rows whose images cannot be read were left out, and told of, when data was prepared.
            if all(map(is_image, places)):
                yield from questions_of(replace(placed.sample, images=places))


def _ask(
    context: StageContext, task: str, answerer: Answerer, questions: Sequence[Question]
) -> list[str]:
    settings = context.recipe.evaluate
    return answerer.answer(
        [question.messages for question in questions],
        tools=[question.tools for question in questions],
        images=[question.images for question in questions],
        max_new_tokens=settings.max_new_tokens,
        batch_size=settings.batch_size,
        on_progress=lambda done, total: context.progress(task, done, total),
    )


def _samples(
    context: StageContext, questions: Sequence[Question], answers: Sequence[str]
) -> list[dict[str, str]]:
    """Questions spread over the data, with the answers before and after training."""
    wanted = min(context.recipe.evaluate.samples, len(questions))
    if not wanted:
        return []
    places = [index * len(questions) // wanted for index in range(wanted)]
    before = _ask(context, "answer untrained", _untrained(context), [questions[p] for p in places])
    return [
        {
            "question": questions[place].text,
            "expected": questions[place].expected,
            "before": earlier,
            "after": answers[place],
        }
        for place, earlier in zip(places, before, strict=True)
    ]


def _untrained(context: StageContext) -> Answerer:
    """The model as it was before training: loaded, or drawn again from the seed."""
    import torch

    from fsft.runtime.train.model import build_model, load_tokenizer

    tokenizer = load_tokenizer(context.run.tokenizer)
    dtype = getattr(torch, context.recipe.convert.dtype)
    model = build_model(context.recipe, tokenizer, "cpu", dtype).to(dtype)
    return Answerer(model, tokenizer, ImageProcessor.load(context.run.tokenizer))


def _mean_loss(context: StageContext, answerer: Answerer) -> float | None:
    """Mean cross entropy of the learned tokens of the split's first rows, in nats."""
    import torch

    from fsft.runtime.train.loss import loss_of
    from fsft.runtime.train.vision import BatchMaker

    split = context.recipe.evaluate.split
    sources: list[Source] = getattr(context.recipe.data, split)
    rows = TokenRows(context.run.data / split, [image_folder(source) for source in sources])
    model = answerer.model
    batches = BatchMaker(
        model, answerer.tokenizer, answerer.images, one_row=False, always_sees=False
    )
    total, count = 0.0, 0
    number = min(len(rows), context.recipe.evaluate.max_samples)
    for index in range(number):
        batch = batches.filled(batches.collated([rows[index]]))
        with torch.inference_mode():
            total += float(loss_of(model, batch, num_labels=1))
        count += batch.num_labels
        context.progress("loss", index + 1, number)
    return total / count if count else None


def _summary(exact_match: float | None, num_questions: int, loss: float | None) -> str:
    parts = []
    if exact_match is not None:
        parts.append(f"exact match {exact_match:.1%} of {num_questions} questions")
    if loss is not None:
        parts.append(f"loss {loss:.4f}")
    return ", ".join(parts) or "nothing was asked"
