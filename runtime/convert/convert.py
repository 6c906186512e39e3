"""The convert stage: the newest or best checkpoint becomes a folder that transformers loads.

One process does it, from the files of the checkpoint: no process ever holds the model and its
optimizer, and at most one shard of weights is in memory besides the mapped checkpoint.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from fsft.recipes.problems import Problem, Refused
from fsft.recipes.units import format_gib
from fsft.runtime.context import StageContext
from fsft.runtime.convert.weights import checkpoint_weights
from fsft.runtime.data.chat_template import turn_ends
from fsft.runtime.data.images.processor import copy_processor_files
from fsft.runtime.run_directory import replacing_folder, write_json
from fsft.runtime.train.marks import (
    CheckpointMark,
    damage_of,
    damaged_checkpoints,
    latest_checkpoint,
    read_mark,
)


def convert(context: StageContext) -> str:
    """Write weights, config, tokenizer and generation config to the run's model folder."""
    mark = _newest(context.run.checkpoints)
    if context.recipe.convert.checkpoint == "best":
        mark = _best(context.run.checkpoints, mark)
    with replacing_folder(context.run.model) as folder:
        config = _write_config_and_tokenizer(context, folder)
        checkpoint = context.run.checkpoints / mark.tag
        weights = checkpoint_weights(checkpoint, mark)
        num_bytes = _write_weights(context, weights, config, folder)
    which = f"step {mark.step}"
    if context.recipe.convert.checkpoint == "best":
        which += f", the lowest eval loss ({mark.evaluated.best_loss:.4f})"
    return f"{which}, {format_gib(num_bytes)} of {context.recipe.convert.dtype} weights"


def _newest(checkpoints: Path) -> CheckpointMark:
    """The newest checkpoint; a damaged one is not passed over in silence."""
    mark = latest_checkpoint(checkpoints)
    if damaged := damaged_checkpoints(checkpoints):
        example = "--from train trains it again"
        if mark:
            example += f"; or delete its folder, and {mark.tag}, which is whole, is converted"
        raise Refused(*(replace(problem, example=example) for problem in damaged))
    if mark is None:
        raise Refused(Problem(file=str(checkpoints), reason="holds no checkpoint."))
    return mark


def _best(checkpoints: Path, newest: CheckpointMark) -> CheckpointMark:
    """The checkpoint with the lowest eval loss."""
    step = newest.evaluated.best_step
    if step is None:
        reason = "no checkpoint of it has an eval loss."
        raise Refused(Problem(file=str(checkpoints), reason=reason, example="--from train"))
    mark = replace(newest, step=step)
    if damage := damage_of(checkpoints / mark.tag):
        example = "--set convert.checkpoint=newest, or --from train to train it again"
        raise Refused(replace(damage, example=example))
    return read_mark(checkpoints / mark.tag)


def _write_weights(
    context: StageContext, weights: dict[str, Any], config: Any, folder: Path
) -> int:
    """Sharded safetensors with an index; returns the bytes written."""
    import torch
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors.torch import save_file

    dtype = getattr(torch, context.recipe.convert.dtype)
    for name in _tied_names(config):
        weights.pop(name, None)
    shapes = {
        name: torch.empty(weight.shape, dtype=_stored(weight, dtype), device="meta")
        for name, weight in weights.items()
    }
    split = split_torch_state_dict_into_shards(
        shapes,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=context.recipe.convert.max_shard_size,
    )
    for number, (file_name, names) in enumerate(split.filename_to_tensors.items(), start=1):
        shard = {
            name: weights.pop(name).contiguous().to(shapes[name].dtype).clone() for name in names
        }
        save_file(shard, folder / file_name, metadata={"format": "pt"})
        (folder / file_name).chmod(0o644)
        context.progress("write shards", number, len(split.filename_to_tensors))
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        write_json(folder / "model.safetensors.index.json", index)
    return sum(shape.numel() * shape.element_size() for shape in shapes.values())


def _stored(weight: Any, dtype: Any) -> Any:
    """Buffers of whole numbers keep their type."""
    return dtype if weight.dtype.is_floating_point else weight.dtype


def _tied_names(config: Any) -> Iterator[str]:
    """The names of weights that are another one's, which transformers restores by itself."""
    import torch

    from fsft.runtime.train.model import auto_class

    with torch.device("meta"):
        model = auto_class(config).from_config(config)
    yield from model.all_tied_weights_keys


def _write_config_and_tokenizer(context: StageContext, folder: Path) -> Any:
    """Everything but the weights; sampling stays possible, for servers read it from here."""
    from fsft.runtime.model_config import model_config
    from fsft.runtime.train.model import load_tokenizer

    tokenizer = load_tokenizer(context.run.tokenizer)
    tokenizer.save_pretrained(folder)
    copy_processor_files(context.run.tokenizer, folder)
    config = model_config(context.recipe, tokenizer)
    config.dtype = context.recipe.convert.dtype
    config.architectures = [_architecture(config)]
    config.save_pretrained(folder)
    generation = _generation_config(context, config)
    generation.eos_token_id = _end_tokens(generation, tokenizer)
    generation.pad_token_id = tokenizer.pad_token_id
    generation.do_sample = True
    generation.save_pretrained(folder)
    return config


def _generation_config(context: StageContext, config: Any) -> Any:
    """The base model's own settings where it has them, else those that follow from its config."""
    from transformers import GenerationConfig

    model = context.recipe.model
    if model.path is not None:
        try:
            return GenerationConfig.from_pretrained(model.path, revision=model.revision or "main")
        except OSError:
            context.warn(f"{model.path} has no generation_config.json; defaults are written.")
    return GenerationConfig.from_model_config(config)


def _architecture(config: Any) -> str:
    from fsft.runtime.train.model import auto_class

    return str(auto_class(config)._model_mapping[type(config)].__name__)


def _end_tokens(generation: Any, tokenizer: Any) -> list[int]:
    """The model's end tokens and those that the chat template teaches."""
    known = generation.eos_token_id
    ends = known if isinstance(known, list) else [known]
    template, vocabulary = tokenizer.chat_template, tokenizer.get_vocab()
    taught = turn_ends(template) if isinstance(template, str) else []
    ends += [vocabulary[token] for token in taught if token in vocabulary]
    return list(dict.fromkeys(e for e in [tokenizer.eos_token_id, *ends] if e is not None))
