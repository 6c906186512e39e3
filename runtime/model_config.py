"""The transformers configuration of a run's model; needs no torch."""

from typing import Any

from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Recipe
from fsft.runtime.data.images.ids import image_token_ids


def model_config(recipe: Recipe, tokenizer: Any) -> Any:
    """The transformers configuration, with the vocabulary and end tokens of the tokenizer."""
    from transformers import AutoConfig

    model = recipe.model
    if model.config is None:
        return AutoConfig.from_pretrained(model.path, revision=model.revision or "main")
    settings = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **image_token_ids(tokenizer, model.config["model_type"]),
        **model.config,
    }
    if isinstance(text := model.config.get("text_config"), dict):
        names = ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")
        settings["text_config"] = {**{name: settings.pop(name) for name in names}, **text}
        settings["vocab_size"] = settings["text_config"]["vocab_size"]
    if settings["vocab_size"] < len(tokenizer):
        raise Refused(
            Problem(
                key="model.config.vocab_size",
                reason=f"the tokenizer has {len(tokenizer)} tokens, the model only "
                f"{settings['vocab_size']}.",
                example=f"vocab_size = {len(tokenizer)}, or leave it out",
            )
        )
    return AutoConfig.for_model(**settings)
