"""Memory: what it is made of, and how it moves when the question changes."""

from dataclasses import replace

import pytest
from hypothesis import given

from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.memory import micro_batches_in_flight, plan_memory
from fsft.recipes.planner.stages import stage_parameters
from fsft.recipes.planner.style import HUGGING_FACE
from tests.recipes.planner.jobs import JOBS, LAYOUTS, job, llama_like

GIB = 2**30
SLACK = 1.0 + 1e-9


@given(JOBS, LAYOUTS)
def test_a_total_is_the_sum_of_its_components(question: Job, layout: Layout) -> None:
    memory = plan_memory(question, layout)
    for moment in memory.moments:
        assert all(value >= 0 for value in moment[2:])
        assert moment.total == pytest.approx(sum(moment[2:]))
    assert memory.allocated == max(moment.total for moment in memory.moments)
    assert memory.allocated <= memory.reserved <= memory.device_total


@given(JOBS, LAYOUTS)
def test_the_stages_of_a_pipeline_hold_the_whole_model_once(question: Job, layout: Layout) -> None:
    parts = [
        stage_parameters(question, 1, layout.pipeline, stage) for stage in range(layout.pipeline)
    ]
    shape = question.shape
    held = sum(part.dense + part.experts for part in parts)
    tied_copy = shape.vocab_size * shape.hidden if shape.tied and layout.pipeline > 1 else 0
    beside = 0.0
    if question.method.type in {"lora", "qlora", "prompt"}:
        beside = sum(part.trained_dense for part in parts)
    assert held == pytest.approx(shape.num_parameters + tied_copy + beside)


@given(JOBS, LAYOUTS)
def test_more_data_parallel_ranks_never_need_more_memory(question: Job, layout: Layout) -> None:
    # Beside two ranks: the first brings a communicator.
    few = layout._replace(data=max(2, layout.data))
    many = few._replace(data=2 * few.data)
    assert (
        plan_memory(question, many).device_total <= plan_memory(question, few).device_total * SLACK
    )


@given(JOBS, LAYOUTS)
def test_a_higher_zero_stage_never_holds_more_states(question: Job, layout: Layout) -> None:
    if layout.pipeline > 1 or layout.zero == 3:
        return
    lower = plan_memory(question, layout).moments[-1]
    higher = plan_memory(question, layout._replace(zero=layout.zero + 1)).moments[-1]
    assert higher.total <= lower.total * SLACK


@given(JOBS, LAYOUTS)
def test_more_tensor_parallel_ranks_never_allocate_more(question: Job, layout: Layout) -> None:
    wider = layout._replace(tensor=2 * layout.tensor)
    assert plan_memory(question, wider).allocated <= plan_memory(question, layout).allocated * SLACK


@given(JOBS, LAYOUTS)
def test_a_larger_micro_batch_never_needs_less(question: Job, layout: Layout) -> None:
    larger = layout._replace(micro_batch=2 * layout.micro_batch)
    assert plan_memory(question, larger).allocated >= plan_memory(question, layout).allocated


@given(JOBS, LAYOUTS)
def test_longer_sequences_never_need_less(question: Job, layout: Layout) -> None:
    longer = replace(question, sequence_length=2 * question.sequence_length)
    assert plan_memory(longer, layout).allocated >= plan_memory(question, layout).allocated


@given(JOBS, LAYOUTS)
def test_checkpointing_more_never_keeps_more(question: Job, layout: Layout) -> None:
    modes = [layout._replace(checkpointing=mode) for mode in ("none", "selective", "full")]
    for stage in range(layout.pipeline):
        plans = [plan_memory(question, mode, stage=stage) for mode in modes]
        kept = [plan.moments[0].activations for plan in plans]
        assert kept == sorted(kept, reverse=True)


@given(JOBS, LAYOUTS)
def test_checkpointing_fewer_layers_never_keeps_less_and_offloading_never_more(
    question: Job, layout: Layout
) -> None:
    layout = layout._replace(pipeline=1, checkpointing="full")
    kept = [
        plan_memory(question, layout._replace(checkpointed_every=every)).moments[0].activations
        for every in (1, 2, 3, 4)
    ]
    assert kept == sorted(kept)
    there = plan_memory(question, layout._replace(offload_activations="cpu"))
    here = plan_memory(question, layout)
    assert there.moments[0].activations <= here.moments[0].activations * SLACK
    assert there.host > here.host


@given(LAYOUTS)
def test_a_deeper_model_needs_more(layout: Layout) -> None:
    shallow, deep = job(llama_like(layers=16)), job(llama_like(layers=32))
    assert plan_memory(deep, layout).allocated > plan_memory(shallow, layout).allocated


@given(LAYOUTS)
def test_the_fullest_stage_is_found(layout: Layout) -> None:
    question = job()
    worst = max(
        plan_memory(question, layout, stage=stage).device_total for stage in range(layout.pipeline)
    )
    assert plan_memory(question, layout).device_total == pytest.approx(worst)


def test_adam_in_bfloat16_takes_16_bytes_a_parameter() -> None:
    question = job()
    step = plan_memory(question, Layout(zero=0)).moments[3]
    states = step.weights + step.gradients + step.optimizer
    assert states == 16 * question.shape.num_parameters


def test_zero_divides_what_its_stage_says() -> None:
    question = job()
    parameters = question.shape.num_parameters
    for zero, weights, gradients, optimizer in (
        (1, 2, 2, 12 / 8),
        (2, 2, 2 / 8, 12 / 8),
        (3, 2 / 8, 2 / 8, 12 / 8),
    ):
        step = plan_memory(question, Layout(zero=zero, data=8)).moments[3]
        assert step.weights == pytest.approx(weights * parameters)
        assert step.gradients == pytest.approx(gradients * parameters)
        assert step.optimizer == pytest.approx(optimizer * parameters)


def test_offloading_moves_states_to_the_host_and_keeps_their_sum() -> None:
    question = job()
    on_device = plan_memory(question, Layout(zero=2, data=8))
    offloaded = plan_memory(question, Layout(zero=2, data=8, offload_optimizer="cpu"))
    step = on_device.moments[3]
    assert offloaded.moments[3].optimizer == 0
    assert offloaded.host - on_device.host == pytest.approx(step.optimizer + step.gradients)


def test_weights_on_nvme_leave_the_device() -> None:
    layout = Layout(zero=3, data=8, offload_optimizer="nvme", offload_weights="nvme")
    memory = plan_memory(job(), layout)
    assert memory.peak.weights == 0
    assert memory.disk == pytest.approx(14 * job().shape.num_parameters / 8)


@pytest.mark.parametrize(
    ("layout", "stage", "expected"),
    [
        (Layout(), 0, 1),
        (Layout(pipeline=4, gradient_accumulation=8), 0, 4),
        (Layout(pipeline=4, gradient_accumulation=8), 3, 1),
        (Layout(pipeline=4, gradient_accumulation=2), 0, 2),
        (Layout(pipeline=4, gradient_accumulation=4, virtual_stages=8), 3, 29 / 8),
    ],
)
def test_one_forward_one_backward_keeps_as_many_micro_batches_as_stages_follow(
    layout: Layout, stage: int, expected: float
) -> None:
    assert micro_batches_in_flight(layout, stage) == expected


def test_chunked_loss_keeps_logits_of_one_chunk() -> None:
    whole = plan_memory(job(style=HUGGING_FACE), Layout()).moments[0].logits
    chunked = plan_memory(job(style=HUGGING_FACE, loss_chunk=256), Layout()).moments[0].logits
    assert chunked == pytest.approx(whole * 256 / 4096)


def test_the_loss_at_the_head_takes_no_more_for_longer_rows_than_what_the_head_reads() -> None:
    shape = llama_like()
    short, long = (
        plan_memory(job(length=length), Layout()).moments[0].logits for length in (16384, 65536)
    )
    assert long - short == pytest.approx((65536 - 16384) * shape.hidden * 2)
    # Gradients of the weights in float32, one product of them, one chunk of slopes.
    weights = shape.hidden * shape.vocab_size
    assert short == pytest.approx(8 * weights + 16384 * shape.hidden * 2)


def test_logits_that_the_model_changes_exist_all_at_once() -> None:
    shape = replace(llama_like(), scales_logits=True)
    memory = plan_memory(job(shape=shape, length=65536), Layout())
    assert memory.moments[0].logits == 65536 * shape.vocab_size * 4
