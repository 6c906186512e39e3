"""Whether a model keeps the samples of a row apart: asked of the model itself."""

import copy
import warnings
from typing import Any, NoReturn
from unittest.mock import patch

import torch

from fsft.recipes.problems import Problem, Refused


def require_apart(model: Any, *, packing: bool) -> None:
    """Raises Refused where the samples of one row of a transformers model would see each other.

    `packing`: rows were packed; else micro batches are joined into rows for the attention kernel.
    """
    if keeps_samples_apart(model):
        return
    kind = model.config.model_type
    key, example = "data.packing", "packing = false"
    if not packing:
        key, example = "model.attention", 'attention = "sdpa"'
    reason = f"{kind} does not keep the samples of a row apart: they would see each other."
    raise Refused(Problem(key=key, reason=reason, example=example))


def keeps_samples_apart(model: Any) -> bool:
    """Whether position ids that begin anew keep the samples of a row from seeing each other.

    A model that does asks transformers for an attention mask with its position ids, and lets
    nothing but attention go over a row. Asked of another of its class, without weights.
    """
    config = copy.deepcopy(model.config)
    # Else some look for padding among tokens that have no values here.
    config.pad_token_id = None
    with torch.device("meta"):
        model = type(model)._from_config(config, attn_implementation="eager")
        tokens = torch.zeros(1, 2, dtype=torch.long)
    if mixes_by_itself(model):
        return False
    with patch("transformers.masking_utils.find_packed_sequence_indices", _tell), torch.no_grad():
        try:
            model(input_ids=tokens, position_ids=torch.zeros_like(tokens), use_cache=False)
        except _AskedError:
            return True
        # What a model of any kind does with inputs that have no values.
        except Exception as error:  # noqa: BLE001
            warnings.warn(
                f"{type(model).__name__} could not be asked whether it keeps packed samples apart "
                f"({type(error).__name__}: {error}).",
                stacklevel=2,
            )
            return True
    return False


def mixes_by_itself(model: Any) -> bool:
    """Whether something else than attention carries from token to token, in some layers.

    As state spaces, linear attention and convolutions do.
    """
    kinds = getattr(model.config.get_text_config(), "layer_types", None) or ()
    return not _ATTENTION.issuperset(kinds) or any(
        isinstance(part, torch.nn.Conv1d) for part in model.modules()
    )


_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}
"""Of transformers' types of layers those that see by the mask they are given, and by no more."""


def _tell(_position_ids: torch.Tensor) -> NoReturn:
    raise _AskedError


class _AskedError(Exception):
    """A mask is made by position ids."""
