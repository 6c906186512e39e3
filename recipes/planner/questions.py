"""Questions to the planner, from a recipe or from bare facts."""

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_type_hints

from fsft.recipes.hardware.accelerators import find_accelerator, find_link
from fsft.recipes.hardware.cluster import Cluster, make_cluster
from fsft.recipes.models.from_config import load_config, load_shape, read_shape
from fsft.recipes.models.shape import ModelShape
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Checkpointing, HostOffload, Layout, Offload
from fsft.recipes.planner.method import Method, MethodType
from fsft.recipes.planner.split import Split
from fsft.recipes.planner.style import fsft_style
from fsft.recipes.problems import Problem, RecipeError
from fsft.recipes.schema import Hardware, Parallel, Recipe

KINDS = {"auto", "cuda", "cpu"}
"""Values of hardware.accelerator that say what is there, not which."""
_KEYS = {
    "zero": "zero",
    "micro_batch": "micro_batch",
    "gradient_accumulation": "gradient_accumulation",
    "activation_checkpointing": "checkpointing",
    "tensor": "tensor",
    "pipeline": "pipeline",
    "sequence": "sequence",
    "expert": "expert",
    "offload_optimizer": "offload_optimizer",
    "offload_weights": "offload_weights",
}
"""Key of [parallel] to field of Layout."""


def shape_of(recipe: Recipe) -> ModelShape:
    """The shape of the recipe's model: of its config, its folder, or the catalogue.

    Raises RecipeError where neither says what the model is made of.
    """
    if recipe.model.config is None:
        return load_shape(str(recipe.model.path))
    return read_shape(config_of(recipe))


def config_of(recipe: Recipe) -> Mapping[str, Any]:
    """The config.json of the recipe's model; raises RecipeError where there is none."""
    model = recipe.model
    if model.config is None:
        return load_config(str(model.path))
    config: dict[str, Any] = dict(model.config)
    if "vocab_size" not in config and recipe.data.tokenizer:
        config["vocab_size"] = recipe.data.tokenizer.vocab_size
    return config


def job_of(recipe: Recipe, shape: ModelShape, cluster: Cluster) -> Job:
    """What the recipe trains; its budget where that is known without reading the data."""
    attention = _attention_of(recipe, is_cpu=cluster.accelerator.name == "cpu")
    return Job(
        shape=shape,
        sequence_length=recipe.data.sequence_length,
        method=Method(type=recipe.method.type),
        style=fsft_style(recipe.model.dtype, attention),
        num_tokens=recipe.budget.tokens,
        num_steps=recipe.budget.steps,
        global_batch=recipe.parallel.global_batch,
        # How many steps an epoch has is known when the data is prepared.
        checkpoint_every=None if recipe.checkpoint.every == "epoch" else recipe.checkpoint.every,
        has_nvme=recipe.parallel.offload_path is not None,
        split=split_of(recipe.parallel),
        units=recipe.parallel.pipeline_units,
    )


def split_of(parallel: Parallel) -> Split:
    """How layers are spread over the stages of a pipeline."""
    split = parallel.pipeline_split
    return tuple(split) if isinstance(split, list) else split


def _attention_of(recipe: Recipe, *, is_cpu: bool) -> Literal["fused", "masked", "scores"]:
    """How attention is computed; with "auto", flash-attn is taken to be there on accelerators."""
    kernel = recipe.model.attention
    if kernel == "auto":
        flash = recipe.model.dtype == "bfloat16" and not is_cpu
        kernel = "flash_attention_2" if flash else "sdpa"
    if kernel == "eager":
        return "scores"
    # A mask tells where the samples of a row begin, unless the kernel knows of them.
    return "masked" if kernel == "sdpa" and recipe.data.packing else "fused"


def cluster_of(hardware: Hardware, found: Cluster | None) -> Cluster:
    """The recipe's cluster; `found` is this machine, for what the recipe leaves open.

    Raises RecipeError where the recipe names no device and none was found.
    """
    if hardware.accelerator in KINDS:
        if found is None:
            raise RecipeError(
                Problem(
                    key="hardware.accelerator",
                    reason="there is no such device on this machine to plan for.",
                    example='accelerator = "A100-80GB-SXM"',
                )
            )
        accelerator, devices = found.accelerator, found.devices_per_node
    else:
        accelerator, devices = find_accelerator(hardware.accelerator), 1
        if found and found.accelerator.name == accelerator.name:
            devices = found.devices_per_node
    if hardware.devices_per_node != "auto":
        devices = hardware.devices_per_node
    if accelerator.name == "cpu":
        # The processes of a machine share its memory.
        accelerator = accelerator.with_memory(accelerator.memory / devices)
    if hardware.memory is not None:
        accelerator = accelerator.with_memory(float(hardware.memory))
    host_memory = float(hardware.host_memory) if hardware.host_memory else None
    here = found if hardware.accelerator in KINDS else None
    if host_memory is None and here is not None:
        host_memory = here.host_memory
    return make_cluster(
        accelerator,
        nodes=hardware.nodes,
        devices_per_node=devices,
        link=None if hardware.link is None else find_link(hardware.link),
        host_memory=host_memory,
        disk_read=here.disk_read if here else None,
        disk_write=here.disk_write if here else None,
        price=hardware.price,
    )


def fixed_by(parallel: Parallel) -> dict[str, Any]:
    """The fields of Layout that the recipe decides."""
    fixed: dict[str, Any] = {}
    for key, field in _KEYS.items():
        value = getattr(parallel, key)
        if value != "auto":
            fixed[field] = value
    if parallel.global_batch and "micro_batch" in fixed:
        # Then the accumulation follows.
        fixed.pop("gradient_accumulation", None)
    return fixed | always_fixed_by(parallel)


def always_fixed_by(parallel: Parallel) -> dict[str, Any]:
    """The fields of Layout that the recipe decides whatever is left to the planner."""
    return {
        "checkpointed_every": parallel.activation_checkpointing_every,
        "offload_activations": "cpu" if parallel.activation_offload else "none",
    }


def parallel_of(layout: Layout) -> dict[str, Any]:
    """What [parallel] has to say for `layout`."""
    return {key: getattr(layout, field) for key, field in _KEYS.items()}


def settle(recipe: Recipe, layout: Layout) -> Recipe:
    """The recipe with every "auto" of [parallel] answered by `layout`."""
    wanted = parallel_of(layout)
    answers: dict[str, Any] = {key: wanted[key] for key in recipe.parallel.open_keys}
    if answers.get("activation_checkpointing") == "none":
        answers |= {"activation_checkpointing_every": 1, "activation_offload": False}
    parallel = recipe.parallel.model_copy(update=answers)
    return recipe.model_copy(update={"parallel": parallel})


def left_open(recipe: Recipe) -> Recipe:
    """The recipe with the whole layout left to the planner."""
    parallel = recipe.parallel.model_copy(update=dict.fromkeys(_KEYS, "auto"))
    return recipe.model_copy(update={"parallel": parallel})


def overrides_to(layout: Layout, parallel: Parallel) -> list[str]:
    """What turns a recipe's [parallel] into `layout`, each as --set takes it."""
    return [
        f"parallel.{key}={value}"
        for key, value in parallel_of(layout).items()
        if value != getattr(parallel, key)
    ]


def method_of(name: str, rank: int) -> Method:
    """The method that a command line names; raises RecipeError for an unknown one."""
    known: tuple[MethodType, ...] = get_args(MethodType)
    for method in known:
        if method == name:
            return Method(method, rank, quantization="nf4-dq" if method == "qlora" else None)
    raise RecipeError(
        Problem(file="--method", reason=f"`{name}` is not one of {', '.join(known)}.")
    )


def fixed_from(pairs: Mapping[str, str]) -> dict[str, Any]:
    """Fields of Layout from text, as in {"tensor": "4"}; raises RecipeError."""
    words = {
        "checkpointing": Checkpointing,
        "offload_optimizer": Offload,
        "offload_weights": Offload,
        "offload_activations": HostOffload,
    }
    numbers = {name for name, kind in get_type_hints(Layout).items() if kind is int}
    fixed: dict[str, Any] = {}
    problems = []
    for key, text in pairs.items():
        if key == "zero" and text not in {"0", "1", "2", "3"}:
            problems.append(Problem(file="--fix", key=key, reason=f"`{text}` is not 0 to 3."))
        elif key in words:
            if text in get_args(words[key]):
                fixed[key] = text
            else:
                known = ", ".join(get_args(words[key]))
                problems.append(Problem(file="--fix", key=key, reason=f"`{text}` is not {known}."))
        elif key in numbers:
            if key == "zero" or (text.isdecimal() and 0 < int(text) <= 10**7):
                fixed[key] = int(text)
            else:
                problems.append(
                    Problem(file="--fix", key=key, reason=f"`{text}` is not a whole number.")
                )
        else:
            names = ", ".join(sorted({*numbers, *words}))
            problems.append(Problem(file="--fix", key=key, reason=f"is not one of {names}."))
    if problems:
        raise RecipeError(*problems)
    return fixed
