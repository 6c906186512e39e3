"""What tensor parallelism can divide, by what the plans leave whole."""

from typing import Any

import pytest

from fsft.recipes.hardware.accelerators import find_accelerator
from fsft.recipes.hardware.cluster import make_cluster
from fsft.recipes.models.from_config import read_shape
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.legal import why_illegal

SMALL: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "num_experts_per_tok": 2,
}
MIXTURE = {"num_key_value_heads": 6, "num_experts": 4, "moe_intermediate_size": 32}
LATENT = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8}


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "llama"}, "3 key-value heads cannot be divided by TP 2"),
        ({"model_type": "phi3"}, None),
        (
            {"model_type": "phi3", "head_dim": 1, "hidden_size": 3, "num_attention_heads": 3},
            "9 columns of queries, keys and values cannot be divided by TP 2",
        ),
        (
            {
                "model_type": "deepseek_v3",
                "num_attention_heads": 3,
                "v_head_dim": 8,
                "n_routed_experts": 4,
                **LATENT,
            },
            None,
        ),
        (
            {"model_type": "qwen2_moe", **MIXTURE, "shared_expert_intermediate_size": 33},
            "33 columns of shared experts cannot be divided by TP 2",
        ),
        (
            {"model_type": "qwen3_moe", **MIXTURE, "moe_intermediate_size": 33},
            "33 columns of an expert cannot be divided by TP 2",
        ),
        ({"model_type": "gpt2"}, None),
        ({"model_type": "gpt2", "num_attention_heads": 3}, "3 heads cannot be divided by TP 2"),
        ({"model_type": "opt", "ffn_dim": 33}, "33 feed-forward columns cannot be divided by TP 2"),
        ({"model_type": "bloom"}, None),
        ({"model_type": "falcon"}, "falcon has no tensor parallel plan"),
        ({"model_type": "t5"}, "t5 has no tensor parallel plan"),
    ],
)
def test_only_what_is_divided_must_be_divisible(config: dict[str, Any], reason: str | None) -> None:
    cluster = make_cluster(find_accelerator("A100-80GB-SXM"), devices_per_node=2)
    question = Job(read_shape({**SMALL, **config}), 64)
    assert why_illegal(question, Layout(tensor=2), cluster) == reason


def test_heads_that_all_ranks_compute_are_spread_over_rows_alone() -> None:
    shape = read_shape({**SMALL, "model_type": "phi3", "num_key_value_heads": 6})
    cluster = make_cluster(find_accelerator("A100-80GB-SXM"), devices_per_node=4)
    assert why_illegal(Job(shape, 64), Layout(tensor=2, sequence=2), cluster) is None
