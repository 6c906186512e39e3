"""fsft's own plans, for architectures that transformers can divide by none.

Names are those of modules; * stands for the number of a layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

PassedOn = Literal["input", "input in a tuple", "nothing"]
"""What goes on in place of a module that another pipeline stage has: its input, as layers give it
that give more than hidden states, or nothing where a table of positions is added."""


@dataclass(frozen=True)
class Plan:
    """How an architecture is divided, by tensor parallelism and by a pipeline."""

    tensor: Mapping[str, str]
    """The modules of the causal model that are divided, and how: in the words of transformers,
    and of fsft where they do not suffice."""
    pipeline: Mapping[str, PassedOn]
    """The modules of the model below the head, in the order in which they compute."""


def plan_of(config: Mapping[str, Any]) -> Plan | None:
    """The plan of fsft for the model of a config.json; None where there is none."""
    if config.get("slow_but_exact") and config.get("pretraining_tp", 1) != 1:
        # BLOOM then multiplies with slices of whole weights.
        return None
    return PLANS.get(config["model_type"])


PLANS: dict[str, Plan] = {
    "opt": Plan(
        tensor={
            "model.decoder.layers.*.self_attn": "own_heads",
            "model.decoder.layers.*.self_attn.q_proj": "colwise",
            "model.decoder.layers.*.self_attn.k_proj": "colwise",
            "model.decoder.layers.*.self_attn.v_proj": "colwise",
            "model.decoder.layers.*.self_attn.out_proj": "rowwise",
            "model.decoder.layers.*.fc1": "colwise",
            "model.decoder.layers.*.fc2": "rowwise",
        },
        pipeline={
            "decoder.embed_tokens": "input",
            "decoder.embed_positions": "nothing",
            "decoder.project_in": "input",
            "decoder.layers": "input",
            "decoder.final_layer_norm": "input",
            "decoder.project_out": "input",
        },
    ),
    "gpt2": Plan(
        tensor={
            "transformer.h.*.attn": "own_heads",
            "transformer.h.*.attn.c_attn": "colwise_qkv",
            "transformer.h.*.attn.c_proj": "rowwise",
            "transformer.h.*.mlp.c_fc": "colwise",
            "transformer.h.*.mlp.c_proj": "rowwise",
        },
        pipeline={
            "wte": "input",
            "wpe": "nothing",
            "drop": "input",
            "h": "input",
            "ln_f": "input",
        },
    ),
    "bloom": Plan(
        tensor={
            "transformer.h.*.self_attention": "own_heads_of_alibi",
            # Queries, keys and values of a head lie beside each other.
            "transformer.h.*.self_attention.query_key_value": "colwise",
            "transformer.h.*.self_attention.dense": "rowwise",
            "transformer.h.*.mlp.dense_h_to_4h": "colwise",
            "transformer.h.*.mlp.dense_4h_to_h": "rowwise",
        },
        pipeline={
            "word_embeddings": "input",
            "word_embeddings_layernorm": "input",
            "h": "input in a tuple",
            "ln_f": "input",
        },
    ),
}
"""By model_type."""
