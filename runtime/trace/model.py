"""The model that transformers builds from a config.json, on whatever device is in force."""

from collections.abc import Mapping
from typing import Any

import torch

from fsft.recipes.problems import Problem, RecipeError

_SHOWN_LENGTH = 100


def causal_model(config: Mapping[str, Any], dtype: torch.dtype = torch.float32) -> Any:
    """A causal language model with random weights.

    Raises RecipeError where transformers has no such model, or does not take the config.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {key: value for key, value in config.items() if key != "model_type"}
    architecture = str(config.get("model_type"))
    try:
        return AutoModelForCausalLM.from_config(
            AutoConfig.for_model(architecture, **settings), dtype=dtype
        )
    # What transformers raises for a config that it cannot use is of every kind.
    except Exception as error:
        reason = str(error).partition("\n")[0]
        shown = reason if len(reason) <= _SHOWN_LENGTH else reason[: _SHOWN_LENGTH - 1] + "…"
        raise RecipeError(
            Problem(
                key="model_type",
                reason=f"transformers has no causal language model for this config of "
                f"{architecture[:60]!r}: {shown}",
            )
        ) from error
