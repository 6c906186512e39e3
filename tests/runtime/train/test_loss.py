"""The loss of a micro batch."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from fsft.runtime.data.encode import IGNORED
from fsft.runtime.data.training_set import TokenRow
from fsft.runtime.train.batches import collate
from fsft.runtime.train.loss import loss_of

SIZES: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2, "intermediate_size": 48},
    "qwen2": {"num_key_value_heads": 2, "intermediate_size": 48},
    "qwen3": {"num_key_value_heads": 2, "intermediate_size": 48, "head_dim": 8},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "gemma2": {"num_key_value_heads": 2, "intermediate_size": 48, "head_dim": 8},
    "phi": {"intermediate_size": 48},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
}


def row(generator: np.random.Generator, length: int) -> TokenRow:
    ids = generator.integers(5, 60, length, dtype=np.int32)
    labels = np.where(generator.random(length) < 0.4, ids, IGNORED).astype(np.int32)
    labels[0], labels[-1] = IGNORED, ids[-1]
    return TokenRow(ids, labels, np.asarray([0, length], dtype=np.int32))


@pytest.mark.parametrize("model_type", SIZES)
def test_the_loss_is_that_of_all_logits_and_so_are_its_gradients(model_type: str) -> None:
    common = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    if model_type == "gpt2":
        common = {"vocab_size": 64}
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **common, **SIZES[model_type])
    model = AutoModelForCausalLM.from_config(config).eval()
    generator = np.random.default_rng(0)
    batch = collate([row(generator, 9), row(generator, 6)], pad_token_id=1, one_row=False)

    loss = loss_of(model, batch, num_labels=7)
    loss.backward()
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]

    model.zero_grad()
    logits = model(input_ids=batch.input_ids, position_ids=batch.position_ids).logits
    expected = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    (expected / 7).backward()
    wanted = [p.grad for p in model.parameters() if p.grad is not None]
    torch.testing.assert_close(loss, expected / 7)
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
