"""Experts that are spread over processes train as those of one process do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fsft.recipes.problems import Refused
from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.train.expert import Exchange, spread_experts
from tests.runtime.train.deviations import BOUNDS, Deviations, deviations
from tests.runtime.train.layouts import ALONE, MODELS, Layout
from tests.runtime.train.test_evaluation import eval_losses, write_recipe_with_eval
from tests.runtime.train.training import prepared, train_with, trained
from tests.support import events_of

SLOW = pytest.mark.slow
PLAIN = (
    "data.packing=true",
    "optimizer.weight_decay=0.1",
    "optimizer.clip=0.5",
    "checkpoint.every=2",
)
DEEPSEEK = (
    "model.config.n_routed_experts=4",
    "model.config.num_experts_per_tok=2",
    "model.config.n_shared_experts=1",
    "model.config.n_group=1",
    "model.config.topk_group=1",
    "model.config.first_k_dense_replace=1",
    "model.config.moe_intermediate_size=32",
    "model.config.num_key_value_heads=4",
    "model.config.q_lora_rank=16",
    "model.config.kv_lora_rank=16",
    "model.config.qk_rope_head_dim=8",
    "model.config.qk_nope_head_dim=8",
    "model.config.v_head_dim=8",
)
OTHERS = {
    "qwen3_moe": (
        'model.config.model_type="qwen3_moe"',
        "model.config.num_experts=4",
        "model.config.num_experts_per_tok=2",
        "model.config.moe_intermediate_size=32",
        "model.config.head_dim=8",
    ),
    "mixtral": (
        'model.config.model_type="mixtral"',
        "model.config.num_local_experts=4",
        "model.config.num_experts_per_tok=2",
    ),
    "deepseek_v2": ('model.config.model_type="deepseek_v2"', *DEEPSEEK),
    "deepseek_v3": ('model.config.model_type="deepseek_v3"', *DEEPSEEK),
}
SPREAD = Layout(1, data=2, expert=2)


def alone_and_spread(folder: Path, *overrides: str) -> tuple[RunDirectory, RunDirectory]:
    """One process, and two that divide the experts."""
    alone, spread = (
        trained(folder / name, *layout.overrides, *overrides, num_processes=layout.num_processes)
        for name, layout in (("alone", ALONE), ("spread", SPREAD))
    )
    return alone, spread


@pytest.mark.slow
@pytest.mark.parametrize("model", OTHERS)
def test_the_experts_of_each_family_train_as_those_of_one_process_do(
    tmp_path: Path, model: str
) -> None:
    found = deviations(*alone_and_spread(tmp_path, *PLAIN, *OTHERS[model]))
    assert found.within(BOUNDS["float32"]), found


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", ["selective", "full"])
def test_exchanges_of_tokens_that_are_done_again_in_backward_change_nothing(
    tmp_path: Path, checkpointing: str
) -> None:
    again = f'parallel.activation_checkpointing="{checkpointing}"'
    found = deviations(*alone_and_spread(tmp_path, *PLAIN, *MODELS["qwen2_moe"], again))
    assert found.within(BOUNDS["float32"]), found


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("whole") / "run"
    overrides = (*ALONE.overrides, *PLAIN, *MODELS["qwen2_moe"])
    return trained(folder, *overrides, num_processes=1)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (SPREAD, ALONE),
        *(
            pytest.param(Layout(*before), Layout(*after), marks=SLOW)
            for before, after in [
                # zero, data, tensor, pipeline, sequence, expert
                ((0, 2, 1, 1, 1, 2), (0, 2, 1, 1, 1, 2)),
                ((1, 2, 1, 1, 1, 2), (1, 2, 1, 1, 1, 2)),
                ((2, 2, 1, 1, 1, 2), (2, 2, 1, 1, 1, 2)),
                ((0, 2, 1, 1, 1, 2), (1, 1, 1, 1, 1, 1)),
                ((1, 2, 1, 1, 1, 1), (2, 2, 1, 1, 1, 2)),
                ((0, 1, 1, 1, 1, 1), (0, 2, 1, 1, 1, 2)),
                ((1, 2, 1, 1, 1, 2), (1, 4, 1, 1, 1, 2)),
                ((2, 4, 1, 1, 1, 2), (2, 2, 1, 1, 1, 2)),
                ((1, 4, 1, 1, 1, 2), (1, 4, 1, 1, 1, 4)),
                ((0, 2, 1, 1, 1, 2), (0, 4, 1, 1, 1, 2)),
                ((3, 2, 1, 1, 1, 1), (1, 2, 1, 1, 1, 2)),
                ((1, 2, 1, 1, 1, 2), (3, 2, 1, 1, 1, 1)),
            ]
        ),
    ],
)
def test_a_run_goes_on_with_its_experts_spread_in_another_way(
    tmp_path: Path, uninterrupted: RunDirectory, before: Layout, after: Layout
) -> None:
    common = (*PLAIN, *MODELS["qwen2_moe"])
    run = prepared(tmp_path / "run", *common, *before.overrides)
    train_with(run, before.num_processes)
    (run.checkpoints / "step-00000003").rename(tmp_path / "lost")
    prepared(tmp_path / "run", *common, *after.overrides, prepare_data=False)
    train_with(run, after.num_processes)
    assert [event.step for event in events_of(run.path) if event.event == "step"] == [1, 2, 3, 3]
    found = deviations(uninterrupted, run)
    assert found.within(BOUNDS["float32"]), found


@pytest.mark.slow
@pytest.mark.parametrize("zero", [0, 1, 2])
def test_spread_experts_in_bfloat16_train_as_those_of_replicas_do(
    tmp_path: Path, zero: int
) -> None:
    replicas, spread = (
        trained(
            tmp_path / str(layout.expert),
            *layout.overrides,
            *PLAIN,
            *MODELS["qwen2_moe"],
            'model.dtype="bfloat16"',
            num_processes=2,
        )
        for layout in (Layout(zero, data=2), Layout(zero, data=2, expert=2))
    )
    found = deviations(replicas, spread)
    assert found.within(Deviations(1e-4, 1e-3, 2e-2)), found


@pytest.mark.slow
def test_bfloat16_without_zero_goes_on_to_the_last_bit_as_it_was_saved(tmp_path: Path) -> None:
    layout = Layout(0, data=2, expert=2)
    common = (*PLAIN, *MODELS["qwen2_moe"], 'model.dtype="bfloat16"', *layout.overrides)
    through = trained(tmp_path / "through", *common, num_processes=2)
    run = trained(tmp_path / "run", *common, num_processes=2)
    (run.checkpoints / "step-00000003").rename(tmp_path / "lost")
    train_with(run, 2)
    assert deviations(through, run) == Deviations(0, 0, 0)


@pytest.mark.slow
def test_the_eval_loss_is_that_of_one_process(tmp_path: Path) -> None:
    alone, spread = (
        trained(
            tmp_path / name,
            *layout.overrides,
            *PLAIN,
            *MODELS["qwen2_moe"],
            num_processes=layout.num_processes,
            write_recipe=write_recipe_with_eval,
        )
        for name, layout in (("alone", ALONE), ("spread", SPREAD))
    )
    expected, found = eval_losses(alone), eval_losses(spread)
    assert [event.step for event in found] == [event.step for event in expected] == [2, 3]
    for one, other in zip(expected, found, strict=True):
        assert other.loss == pytest.approx(one.loss, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("zero", [0, 1])
def test_checkpoints_of_weights_alone_have_the_experts_of_all_processes(
    tmp_path: Path, uninterrupted: RunDirectory, zero: int
) -> None:
    overrides = (*PLAIN, *MODELS["qwen2_moe"], "checkpoint.weights_only=true")
    layout = Layout(zero, data=2, expert=2).overrides
    run = trained(tmp_path / "run", *overrides, *layout, num_processes=2)
    found = deviations(uninterrupted, run)
    assert found.within(BOUNDS["float32"]), found


def model_of(**changes: Any) -> Any:
    from transformers import AutoModelForCausalLM, Qwen2MoeConfig

    config = Qwen2MoeConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=16,
        moe_intermediate_size=8,
        shared_expert_intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        **{"num_experts": 4, "num_experts_per_tok": 2, **changes},
    )
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: model_of(num_experts=5), "5 experts cannot be divided by 2"),
        (lambda: model_of(mlp_only_layers=[0]), "Qwen2MoeForCausalLM has no experts"),
    ],
)
def test_a_model_whose_experts_cannot_be_spread_is_refused_before_it_changes(
    model: Callable[[], Any], reason: str
) -> None:
    with pytest.raises(Refused, match=reason):
        spread_experts(model(), 2)


@pytest.mark.parametrize("implementation", ["grouped_mm", "eager"])
def test_an_expert_that_no_token_goes_to_has_a_gradient_all_the_same(
    alone: Any, implementation: str
) -> None:
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    experts = model_of().model.layers[0].mlp.experts
    compute = ALL_EXPERTS_FUNCTIONS.get_interface(implementation, type(experts).forward.__wrapped__)
    hidden = torch.ones(0, 16, requires_grad=True)
    nothing = torch.zeros(0, 2)
    result = Exchange(alone, 1, compute)(experts, hidden, nothing.long(), nothing)
    assert result.shape == (0, 16)
    result.sum().backward()
    for parameter in experts.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()
