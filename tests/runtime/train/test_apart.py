"""A model that lets the samples of a row see each other is told before it trains."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from fsft.recipes.problems import Refused
from fsft.runtime.train.apart import keeps_samples_apart, mixes_by_itself, require_apart
from tests.runtime.train.training import prepared, train_with

SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {"head_dim": 8, "num_key_value_heads": 2},
    "gemma2": {"head_dim": 8, "num_key_value_heads": 2},
    "gpt2": {},
    "gpt_neox": {},
    "phi": {},
    "starcoder2": {},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "bloom": {},
    "falcon": {},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 64},
    "mamba": {},
    "minimax": {
        "layer_types": ["linear_attention", "full_attention"],
        "head_dim": 8,
        "num_key_value_heads": 2,
    },
    "lfm2": {"layer_types": ["conv", "full_attention"], "num_key_value_heads": 2},
}
MIXERS = {"mamba", "minimax", "lfm2"}
"""Of which something else than attention carries from token to token."""


def model_of(model_type: str) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **SMALL, **MODELS[model_type])
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


def lets_neighbours_see(model: Any) -> bool:
    """Whether the second sample of a row gives something else when the first is another."""
    positions = torch.arange(6).repeat(2)[None]
    ids = torch.arange(5, 17)[None]
    other = ids.clone()
    other[:, :6] += 20

    def second(tokens: torch.Tensor) -> torch.Tensor:
        try:
            logits = model(input_ids=tokens, position_ids=positions, use_cache=False).logits
        except TypeError:
            # It takes no positions at all.
            logits = model(input_ids=tokens, use_cache=False).logits
        return logits[:, 6:]

    with torch.no_grad():
        return not torch.allclose(second(ids), second(other), atol=1e-6)


@pytest.mark.parametrize("model_type", MODELS)
def test_what_a_model_is_asked_is_what_it_does(model_type: str) -> None:
    model = model_of(model_type)
    assert keeps_samples_apart(model) != lets_neighbours_see(model)


def test_what_carries_tokens_besides_attention_is_known() -> None:
    assert {name for name in MODELS if mixes_by_itself(model_of(name))} == MIXERS


def test_rows_that_the_attention_kernel_joins_are_refused_by_its_name() -> None:
    with pytest.raises(Refused, match=r"model\.attention: falcon does not keep the samples"):
        require_apart(model_of("falcon"), packing=False)


def test_packed_rows_are_refused_before_training(tmp_path: Path) -> None:
    falcon = ('model.config.model_type="falcon"', "data.packing=true")
    run = prepared(tmp_path, *falcon, "hardware.devices_per_node=1")
    log = train_with(run, 1, fails=True)
    assert "data.packing: falcon does not keep the samples of a row apart" in log
    assert "packing = false" in log
