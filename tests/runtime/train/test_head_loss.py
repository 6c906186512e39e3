"""The loss at the head is that of all logits, and takes little memory."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import cross_entropy, linear
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

from fsft.recipes.models.from_config import read_shape
from fsft.recipes.planner.head import loss_bytes
from fsft.recipes.planner.job import Job
from fsft.runtime.data.encode import IGNORED
from fsft.runtime.trace.trace import Living
from fsft.runtime.train import head_loss
from fsft.runtime.train.head_loss import Shard, compute_loss_at_head, head_cross_entropy
from fsft.runtime.train.head_probe import loses_at_head
from fsft.runtime.train.loss import loss_at
from fsft.runtime.train.pipeline_stage import head_loss as stage_loss

SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "pad_token_id": 0,
}
MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"tie_word_embeddings": True},
    "phi": {},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "bloom": {},
    "qwen2_moe": {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
        "output_router_logits": True,
        "router_aux_loss_coef": 0.5,
    },
}
CHANGED: dict[str, dict[str, Any]] = {
    "gemma2": {"head_dim": 8},
    "granite": {"logits_scaling": 4.0},
    "cohere": {},
}


def model_of(model_type: str) -> Any:
    torch.manual_seed(0)
    settings = SMALL | (MODELS | CHANGED)[model_type]
    config = AutoConfig.for_model(model_type, **settings)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def step_of(model: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss of a fixed batch, of which two of three tokens learn, and all gradients."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 60, (2, 12), generator=generator)
    targets = ids.roll(-1, dims=1)
    targets[:, ::3] = IGNORED
    places = torch.arange(12).expand(2, -1)
    positions = (targets[0] != IGNORED).nonzero().squeeze(1)
    model.zero_grad()
    loss = loss_at(positions, model, ids, places, targets, num_labels=7)
    (3 * loss).backward()
    return loss.detach(), {
        name: weight.grad.clone()
        for name, weight in model.named_parameters()
        if weight.grad is not None
    }


@pytest.mark.parametrize("model_type", [*MODELS, *CHANGED])
def test_a_model_has_the_loss_and_the_gradients_that_it_had(
    model_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_loss, "chunk_tokens", lambda _width: 5)
    model = model_of(model_type)
    loss, gradients = step_of(model)
    assert loses_at_head(model) == (model_type in MODELS)
    compute_loss_at_head(model)
    again, found = step_of(model)
    torch.testing.assert_close(again, loss, rtol=1e-6, atol=1e-6)
    assert found.keys() == gradients.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, gradients[name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "gpt2", "opt", "bloom", "granite"])
def test_the_last_stage_of_a_pipeline_has_the_same_loss(
    model_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(model_type)
    at_head = []

    def seen(*args: Any, **named: Any) -> torch.Tensor:
        at_head.append(args)
        return head_cross_entropy(*args, **named)

    monkeypatch.setattr(head_loss, "head_cross_entropy", seen)
    torch.manual_seed(1)
    hidden = torch.randn(2, 12, 32, requires_grad=True)
    targets = torch.randint(0, 64, (2, 12))
    targets[:, ::3] = IGNORED
    given = model.config.get_text_config()
    logits = model.lm_head(hidden) / getattr(given, "logits_scaling", 1.0)
    wanted = cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    (expected,) = torch.autograd.grad(wanted / 7, hidden)
    loss = stage_loss(model)(hidden, (targets, torch.tensor(7)))
    loss.backward()
    torch.testing.assert_close(loss, wanted / 7)
    torch.testing.assert_close(hidden.grad, expected, rtol=1e-4, atol=1e-6)
    assert model.lm_head.weight.grad is not None
    assert len(at_head) == (model_type not in CHANGED)


def test_without_labels_the_model_gives_logits_as_before() -> None:
    model = model_of("llama")
    ids = torch.arange(8)[None]
    before = model(input_ids=ids).logits
    compute_loss_at_head(model)
    step_of(model)
    assert torch.equal(model(input_ids=ids).logits, before)


def test_tokens_that_are_not_learned_cost_nothing() -> None:
    hidden, weight = torch.randn(2, 8, 4, requires_grad=True), torch.nn.Parameter(torch.ones(20, 4))

    def flops(targets: torch.Tensor) -> int:
        with FlopCounterMode(display=False) as counter:
            head_cross_entropy(hidden, weight, None, targets).backward()
        return counter.get_total_flops()

    targets = torch.ones(2, 8, dtype=torch.long)
    of_all = flops(targets)
    targets[0, :3] = targets[1, 3:] = IGNORED
    assert flops(targets) == of_all / 2


def test_evaluating_computes_the_loss_alone() -> None:
    hidden, weight = torch.randn(9, 8), torch.nn.Parameter(torch.randn(20, 8))
    targets = torch.randint(0, 20, (9,))
    with torch.no_grad():
        loss = head_cross_entropy(hidden, weight, None, targets, chunk=4)
    assert not loss.requires_grad
    torch.testing.assert_close(
        loss, cross_entropy(linear(hidden, weight), targets, reduction="sum")
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("bfloat16", 4e-3)])
@pytest.mark.parametrize("chunk", [7, 64])
@pytest.mark.parametrize("num_tokens", [40, 0])
def test_gradients_of_head_bias_and_input_are_those_of_exact_logits(
    dtype: str, tolerance: float, chunk: int, num_tokens: int
) -> None:
    torch.manual_seed(0)
    kind: torch.dtype = getattr(torch, dtype)
    given = [torch.randn(num_tokens, 16), torch.randn(50, 16) / 4, torch.randn(50)]
    rounded = [each.to(kind).requires_grad_() for each in given]
    exact = [each.detach().double().requires_grad_() for each in rounded]
    targets = torch.randint(0, 50, (num_tokens,))
    targets[::4] = IGNORED
    loss = head_cross_entropy(*rounded, targets, chunk)
    wanted = cross_entropy(linear(*exact), targets, ignore_index=IGNORED, reduction="sum")
    (loss / 11).backward()
    (wanted / 11).backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(wanted.item(), rel=tolerance)
    for one, other in zip(rounded, exact, strict=True):
        assert one.grad is not None
        assert other.grad is not None
        error = (one.grad.double() - other.grad).norm() / (other.grad.norm() + 1e-30)
        assert error < tolerance


def test_backward_is_for_once() -> None:
    weight = torch.nn.Parameter(torch.randn(20, 8))
    loss = head_cross_entropy(torch.randn(9, 8), weight, None, torch.zeros(9, dtype=torch.long))
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="called before"):
        loss.backward()


def test_with_a_large_vocabulary_the_peak_is_a_fraction_of_that_of_all_logits() -> None:
    tokens, width, vocabulary = 32_768, 1024, 150_000

    def peak(loss_of: Callable[..., torch.Tensor]) -> int:
        with FakeTensorMode():
            hidden = torch.empty(tokens, width, dtype=torch.bfloat16, requires_grad=True)
            weight = torch.empty(vocabulary, width, dtype=torch.bfloat16, requires_grad=True)
            targets = torch.zeros(tokens, dtype=torch.long)
            with Living((hidden, weight, targets)) as living:
                loss_of(hidden, weight, None, targets).backward()
            return living.peak_bytes

    def of_all(hidden: Any, weight: Any, bias: Any, targets: Any) -> torch.Tensor:
        return cross_entropy(linear(hidden, weight, bias).float(), targets, reduction="sum")

    # Gradients of weights and slopes of a chunk, against 14 bytes for each of all logits.
    assert peak(of_all) > 12 * tokens * vocabulary
    assert peak(head_cross_entropy) < 0.05 * peak(of_all)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("tokens", [700, 4096])
def test_a_rank_with_a_part_of_the_vocabulary_takes_what_the_planner_says(tokens: int) -> None:
    shape = read_shape(SMALL | {"model_type": "llama", "vocab_size": 16_000, "hidden_size": 64})
    size = shape.vocab_size // 2
    hidden, weight = (
        torch.randn(rows, shape.hidden, dtype=torch.bfloat16, requires_grad=True)
        for rows in (tokens, size)
    )
    targets = torch.randint(0, size, (tokens,))
    shard = Shard(group=None, first=0, end=size, size=shape.vocab_size)
    with Living((hidden, weight, targets)) as living:
        head_cross_entropy(hidden, weight, None, targets, shard=shard).backward()
    assert loss_bytes(Job(shape, tokens), tokens, parts=2).peak == pytest.approx(
        living.peak_bytes, rel=0.02
    )
