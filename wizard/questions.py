"""Every question of the wizard: the key of the recipe that it answers, its step and its flag.

What a key means, its unit and an example come from the recipe's schema; here stands only what a
terminal adds.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from fsft.recipes.keys import split_key
from fsft.recipes.wording import field_at

Step = Literal["model", "data", "hardware", "budget", "method", "strategy", "serve", "review"]
STEPS: tuple[Step, ...] = get_args(Step)
TITLES: dict[Step, str] = {
    "model": "Model",
    "data": "Data",
    "hardware": "Hardware",
    "budget": "Budget",
    "method": "Method",
    "strategy": "Strategy",
    "serve": "Ask & serve",
    "review": "Review",
}
Kind = Literal["text", "number", "choice", "switch", "paths"]

MODEL = "model.path"
QUICKSTART = "quickstart"
"""The answer for a small model that is made from nothing."""
FROM_CONFIG = "made from model.config"
"""What is shown for a model that the opened recipe describes itself."""
LENGTHS = ("budget.epochs", "budget.tokens", "budget.steps", "days", "money")
"""Five ways to say how long to train; whoever gives one gets the others."""
LIMITS: tuple[Literal["days", "money"], ...] = ("days", "money")
"""Those two may both be given: the tighter one counts."""

APART = (
    "parallel.tensor",
    "parallel.pipeline",
    "parallel.sequence",
    "parallel.expert",
    "parallel.offload_optimizer",
    "parallel.offload_weights",
    "parallel.offload_path",
)
"""Questions that stand apart from those of their step, for people who look for them."""
LAYOUT_KEYS = (
    "parallel.zero",
    "parallel.micro_batch",
    "parallel.activation_checkpointing",
    *(key for key in APART if key != "parallel.offload_path"),
)
"""What the planner can be asked for."""


@dataclass(frozen=True)
class Question:
    """One thing to be answered."""

    key: str
    """A dotted key of the recipe, or the wizard's own."""
    step: Step
    label: str
    flag: str
    kind: Kind = "number"
    choices: tuple[str, ...] = ()
    meaning: str = ""
    forms: str = ""
    """Accepted forms, by example."""


def questions_of(step: Step) -> list[Question]:
    """The questions of a step, in order."""
    return [question for question in QUESTIONS if question.step == step]


@lru_cache(maxsize=256)
def question_for(key: str) -> Question | None:
    """The question that a dotted key of the recipe belongs to: its own, or the nearest."""
    own = [question for question in QUESTIONS if f"{key}.".startswith(f"{question.key}.")]
    if own:
        return max(own, key=lambda question: len(question.key))
    table = key.partition(".")[0]
    return next((q for q in QUESTIONS if q.key.partition(".")[0] == table), None)


def _ask(
    key: str,
    step: Step,
    label: str,
    flag: str,
    kind: Kind | None = None,
    *,
    meaning: str = "",
    forms: str = "",
) -> Question:
    field = field_at(list(split_key(key)))
    choices: tuple[str, ...] = ()
    if field is not None:
        meaning = meaning or " ".join((field.description or "").split())
        forms = forms or _examples(field)
        choices = _choices(field.annotation)
        kind = kind or _kind(field.annotation)
    return Question(key, step, label, flag, kind or "number", choices, meaning, forms)


def _examples(field: FieldInfo) -> str:
    return ", ".join(_written(example) for example in field.examples or ())


def _written(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _kind(annotation: Any) -> Kind:
    if annotation is bool:
        return "switch"
    if get_origin(annotation) is Literal:
        return "choice"
    return "text" if annotation is str or str in get_args(annotation) else "number"


def _choices(annotation: Any) -> tuple[str, ...]:
    """The values of a key that has a fixed few."""
    if annotation is bool:
        return ("yes", "no")
    return tuple(map(str, get_args(annotation))) if get_origin(annotation) is Literal else ()


QUESTIONS = (
    _ask(
        "model.path",
        "model",
        "Model",
        "--model",
        meaning="A model of the catalogue, a folder in Hugging Face format, or a hub id.",
        forms=f"Qwen/Qwen2.5-0.5B, models/mine, {QUICKSTART}",
    ),
    _ask("model.init", "model", "Weights", "--init"),
    _ask("model.dtype", "model", "Computed in", "--dtype"),
    _ask("model.attention", "model", "Attention", "--attention"),
    _ask(
        "data.train",
        "data",
        "Train on",
        "--data",
        "paths",
        meaning="Files, folders, URLs or hub:OWNER/NAME, with commas between.",
        forms="data/train.jsonl, more.parquet, library:identity.jsonl",
    ),
    _ask(
        "data.eval",
        "data",
        "Evaluate on",
        "--eval-data",
        "paths",
        meaning="Files that are not learned; empty for none.",
        forms="data/eval.jsonl",
    ),
    _ask("data.template", "data", "Chat template", "--template"),
    _ask("data.sequence_length", "data", "Row, in tokens", "--sequence-length"),
    _ask("data.packing", "data", "Pack rows", "--packing"),
    _ask("data.too_long", "data", "If too long", "--too-long"),
    _ask("data.loss_on", "data", "Learn", "--loss-on"),
    _ask("hardware.accelerator", "hardware", "Device", "--accelerator"),
    _ask("hardware.nodes", "hardware", "Machines", "--nodes"),
    _ask("hardware.devices_per_node", "hardware", "Devices each", "--devices"),
    _ask("hardware.memory", "hardware", "Device memory", "--memory"),
    _ask("hardware.host_memory", "hardware", "Host memory", "--host-memory"),
    _ask("hardware.link", "hardware", "Network", "--link"),
    _ask("hardware.price", "hardware", "Price an hour", "--price"),
    _ask("budget.epochs", "budget", "Epochs", "--epochs"),
    _ask("budget.tokens", "budget", "Tokens", "--tokens"),
    _ask("budget.steps", "budget", "Steps", "--steps"),
    _ask(
        "days",
        "budget",
        "Days",
        "--days",
        meaning="The longest that training may take, beside Money or alone; becomes tokens.",
        forms="2, 0.5",
    ),
    _ask(
        "money",
        "budget",
        "Money",
        "--money",
        meaning="The most that it may cost, in the price's currency, beside Days or alone.",
        forms="500",
    ),
    _ask("method.type", "method", "Train", "--method"),
    _ask("optimizer.learning_rate", "method", "Learning rate", "--learning-rate"),
    _ask("optimizer.schedule", "method", "Schedule", "--schedule"),
    _ask("optimizer.warmup", "method", "Warmup", "--warmup"),
    _ask("optimizer.weight_decay", "method", "Weight decay", "--weight-decay"),
    _ask("parallel.global_batch", "strategy", "Global batch", "--global-batch"),
    _ask("parallel.zero", "strategy", "ZeRO", "--zero"),
    _ask("parallel.micro_batch", "strategy", "Micro batch", "--micro-batch"),
    _ask(
        "parallel.activation_checkpointing",
        "strategy",
        "Checkpointing",
        "--activation-checkpointing",
    ),
    _ask("parallel.tensor", "strategy", "Tensor", "--tensor"),
    _ask("parallel.pipeline", "strategy", "Pipeline", "--pipeline"),
    _ask("parallel.sequence", "strategy", "Sequence", "--sequence"),
    _ask("parallel.expert", "strategy", "Experts", "--expert"),
    _ask("parallel.offload_optimizer", "strategy", "Move optimizer", "--offload-optimizer"),
    _ask("parallel.offload_weights", "strategy", "Move weights", "--offload-weights"),
    _ask("parallel.offload_path", "strategy", "Disk folder", "--offload-path"),
    _ask("evaluate.split", "serve", "Questions from", "--ask-from"),
    _ask("evaluate.max_samples", "serve", "Questions", "--questions"),
    _ask("evaluate.max_new_tokens", "serve", "Longest answer", "--max-new-tokens"),
    _ask("checkpoint.every", "serve", "Save every", "--save-every"),
    _ask(
        "checkpoint.keep_best",
        "serve",
        "Use the best",
        "--use-best",
        meaning="Keep the checkpoint of the lowest eval loss, and convert it, not the last one.",
    ),
    _ask("serve.engine", "serve", "Server", "--engine"),
    _ask("serve.port", "serve", "Port", "--port"),
    _ask("name", "review", "Name", "--name"),
    _ask("description", "review", "Description", "--description"),
    _ask("seed", "review", "Seed", "--seed"),
    _ask(
        "out",
        "review",
        "File",
        "--out",
        "text",
        meaning="The recipe to write; - writes to the output.",
        forms="my-run.toml",
    ),
)
BY_KEY = {question.key: question for question in QUESTIONS}
