"""A layer is divided into attention and feed-forward where its model's own forward allows it."""

import copy
from typing import Any

import pytest
import torch

from fsft.recipes.problems import Refused
from fsft.runtime.train.halves import Halves, base_around, layers_of

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 64,
    "pad_token_id": 0,
}
LATENT = {
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "moe_intermediate_size": 16,
    "first_k_dense_replace": 1,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}


def model_of(model_type: str, **changes: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **{**SIZES, **changes})
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


@pytest.mark.parametrize(
    ("model_type", "changes"),
    [
        ("llama", {"num_key_value_heads": 2}),
        ("llama", {"mlp_bias": True, "attention_bias": True}),
        ("qwen2", {}),
        ("qwen3", {"head_dim": 8}),
        ("gemma2", {"head_dim": 8, "attn_implementation": "eager"}),
        ("glm4", {"head_dim": 8}),
        ("phi3", {}),
        ("gpt_neox", {"use_parallel_residual": False}),
        ("gpt2", {}),
        ("qwen2_moe", EXPERTS),
        ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
        ("deepseek_v3", LATENT),
    ],
)
def test_the_halves_of_a_layer_one_after_the_other_give_what_it_gives(
    model_type: str, changes: dict[str, Any]
) -> None:
    model = model_of(model_type, **changes)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layer = layers_of(model)[1]
    halves = Halves.of(model, 1)
    hidden = torch.randn(2, 5, 32)
    expected = through(model, layer, hidden)
    names: list[str] = []
    for second in (False, True):
        half = copy.deepcopy(layer)
        halves.keep(half, second=second)
        hidden = through(model, half, hidden)
        names += [name for name, _ in half.named_parameters()]
    assert torch.equal(hidden, expected)
    assert sorted(names) == sorted(name for name, _ in layer.named_parameters())
    after = model.state_dict()
    assert set(after) == set(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def through(model: Any, layer: Any, hidden: torch.Tensor) -> torch.Tensor:
    base = base_around(model, 1, layer)
    positions = torch.arange(hidden.shape[1]).expand(len(hidden), -1)
    given = base(inputs_embeds=hidden, position_ids=positions, use_cache=False)
    return given.last_hidden_state.detach()


@pytest.mark.parametrize(
    ("model_type", "changes", "reason"),
    [
        ("phi", {}, "some of its weights are not of one half alone"),
        ("bloom", {}, "it does not compute without one of them"),
        ("opt", {}, "it is made of self_attn, fc1, fc2"),
        ("cohere", {}, "some of its weights are not of one half alone"),
        ("gpt_neox", {}, "one after the other they do not give what the layer gives"),
    ],
)
def test_where_both_read_the_same_there_are_no_halves(
    model_type: str, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Refused, match=f"attention and feed-forward: {reason}"):
        Halves.of(model_of(model_type, **changes), 0)


def test_a_layer_of_other_blocks_has_no_halves() -> None:
    model = model_of("llama")
    model.model.layers[0].memory = torch.nn.Linear(32, 32)
    with pytest.raises(Refused, match="it is made of self_attn, mlp, memory"):
        Halves.of(model, 0)
