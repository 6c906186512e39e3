"""Seconds of one optimizer step."""

from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsft.recipes.hardware.accelerators import Accelerator, find_accelerator
from fsft.recipes.hardware.cluster import Cluster, make_cluster
from fsft.recipes.models.shape import Stack, Vision
from fsft.recipes.planner.compute import host_share
from fsft.recipes.planner.cost import plan_cost
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.kernels import Kernels
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.memory import plan_memory
from fsft.recipes.planner.method import Method
from fsft.recipes.planner.speeds import fitted_speeds
from fsft.recipes.planner.style import HUGGING_FACE
from fsft.recipes.planner.time import plan_time
from fsft.recipes.planner.work import stage_work
from tests.recipes.planner.jobs import JOBS, LAYOUTS, job, llama_like

ROUNDING = 1 + 1e-9
DEVICES = st.sampled_from(["T4", "RTX 4090", "A100-80GB-SXM", "H100-80GB-SXM", "MI300X-192GB"])


def cluster_for(layout: Layout, device: str = "A100-80GB-SXM", **rest: float) -> Cluster:
    """Nodes of eight, or of fewer where that is all the layout uses."""
    on_node = min(8, layout.num_devices)
    nodes = -(-layout.num_devices // on_node)
    return make_cluster(find_accelerator(device), nodes=nodes, devices_per_node=on_node, **rest)


def seconds(layout: Layout, question: Job | None = None, **rest: float) -> float:
    return plan_time(question or job(), layout, cluster_for(layout, **rest)).seconds


@given(JOBS, LAYOUTS, DEVICES)
def test_a_step_is_the_sum_of_its_components_and_stays_below_the_peak(
    question: Job, layout: Layout, device: str
) -> None:
    time = plan_time(question, layout, cluster_for(layout, device))
    assert sum(time.components.values()) == pytest.approx(time.seconds)
    assert all(part >= 0 for part in time.components.values())
    assert 0 < time.mfu <= time.hfu < 1


@given(JOBS, LAYOUTS, st.sampled_from([2, 4, 8]))
def test_a_faster_link_never_makes_a_step_longer(
    question: Job, layout: Layout, factor: int
) -> None:
    slow, fast = (cluster_for(layout, link=1e9 * times) for times in (1, factor))
    slow_seconds = plan_time(question, layout, slow).seconds
    assert plan_time(question, layout, fast).seconds <= slow_seconds * ROUNDING


@given(JOBS, LAYOUTS)
def test_a_faster_device_makes_no_step_longer(question: Job, layout: Layout) -> None:
    cluster = cluster_for(layout)
    device = cluster.accelerator
    twice = replace(
        device,
        peaks={dtype: 2 * peak for dtype, peak in device.peaks.items()},
        measured_matmul=2 * (device.measured_matmul or 0),
        memory_bandwidth=2 * (device.memory_bandwidth or 0),
    )
    faster = replace(cluster, accelerator=twice)
    slow_seconds = plan_time(question, layout, cluster).seconds
    assert plan_time(question, layout, faster).seconds <= slow_seconds * ROUNDING


def test_what_is_computed_again_takes_its_time() -> None:
    none, selective, full = (
        seconds(Layout(zero=1, data=8, checkpointing=mode))
        for mode in ("none", "selective", "full")
    )
    assert none < selective < full
    assert full / none == pytest.approx(4 / 3, abs=0.1)


def test_more_micro_batches_shrink_the_bubble_of_a_pipeline() -> None:
    # With few words the output projection does not burden the last stage.
    question = job(llama_like(vocabulary=1000))
    shares = []
    for rounds in (4, 16, 64):
        layout = Layout(zero=1, pipeline=4, gradient_accumulation=rounds)
        time = plan_time(question, layout, cluster_for(layout))
        shares.append(time.bubble / (time.seconds - time.optimizer))
    assert shares[0] == pytest.approx(3 / 7, abs=0.03)
    assert shares[0] > shares[1] > shares[2]


def test_zero_three_over_slow_links_is_slower_than_over_fast_ones_and_than_zero_one() -> None:
    three, one = (Layout(zero=stage, data=64, micro_batch=2) for stage in (3, 1))
    assert seconds(three, link=1e9) > 2 * seconds(three, link=5e10)
    assert seconds(three, link=1e9) > seconds(one, link=1e9)


def test_adapters_train_faster_than_the_whole_model() -> None:
    layout = Layout(zero=0, micro_batch=4)
    lora = seconds(layout, job(method=Method("lora")))
    qlora = seconds(layout, job(method=Method("qlora", quantization="nf4-dq")))
    assert lora < qlora < seconds(layout)


def test_small_micro_batches_wait_for_the_host() -> None:
    layout = Layout(zero=0)
    short = plan_time(job(length=64), layout, cluster_for(layout, "H100"))
    assert short.launch > short.matmul


def test_hosts_of_newer_devices_take_less_time() -> None:
    speeds = fitted_speeds()
    older, newer = (find_accelerator(name) for name in ("A100-80GB-SXM", "H100-80GB-SXM"))
    assert host_share(newer, speeds) < host_share(older, speeds) == 1


@pytest.mark.parametrize(("modules", "grows"), [("megatron-core", True), (None, False)])
def test_chunks_of_a_stage_that_waits_for_the_host_are_sent_one_by_one(
    modules: Literal["megatron-core"] | None, grows: bool
) -> None:
    kernels = Kernels(elementwise="fused", modules=modules)
    question = replace(job(length=64), style=replace(HUGGING_FACE, kernels=kernels))
    whole, cut = (
        Layout(pipeline=4, gradient_accumulation=8, virtual_stages=chunks) for chunks in (1, 4)
    )
    one, four = (plan_time(question, layout, cluster_for(layout)) for layout in (whole, cut))
    assert (four.launch > one.launch) == grows


def test_every_patch_of_an_image_is_seen_by_all_others() -> None:
    text = llama_like(layers=2)
    tower = Vision(text.stack, 4096, 14, 1, 0, 0, 4096)
    question = replace(job(replace(text, vision=tower), length=1024), num_patches=512)
    with_images, alone = (
        stage_work(asked, 1, 1, 0, 1, False).attention for asked in (question, job(text, 1024))
    )
    # Half as many patches as tokens, each of which sees as many others as a token's 1,024 halved.
    assert with_images == pytest.approx(1.5 * alone)


@pytest.mark.parametrize("part", ["attention", "feed-forward", "attention weights"])
def test_what_a_plan_leaves_whole_is_not_divided(part: str) -> None:
    shape = llama_like()
    ((layer, depth),) = shape.stack.layers
    stack = Stack(((replace(layer, whole=frozenset({part})), depth),))
    kept, whole = job(shape), job(replace(shape, stack=stack))
    layout = Layout(tensor=8, micro_batch=2)
    assert plan_memory(whole, layout).allocated > plan_memory(kept, layout).allocated
    assert seconds(layout, whole) > seconds(layout, kept)
    alone = layout._replace(tensor=1)
    assert plan_memory(whole, alone).allocated == plan_memory(kept, alone).allocated
    assert seconds(alone, whole) == seconds(alone, kept)


def test_offloading_costs_time() -> None:
    layout = Layout(zero=3, data=8, micro_batch=2)
    offloaded = layout._replace(offload_optimizer="cpu")
    everything = layout._replace(offload_optimizer="nvme", offload_weights="nvme")
    assert seconds(layout) < seconds(offloaded) < seconds(everything)


def test_a_published_run_of_llama_2_7b_is_predicted() -> None:
    # fms-fsdp: 128 A100-80GB, HSDP, compiled, 4,550 tokens/s a device; fsft runs eagerly.
    shape = llama_like(kv_heads=32, width=11008, vocabulary=32000)
    layout = Layout(zero=3, data=128, zero_group=8, micro_batch=2)
    time = plan_time(job(shape), layout, cluster_for(layout))
    assert 2300 < time.tokens_per_second_per_device < 4550


def test_a_budget_becomes_days_hours_price_and_energy() -> None:
    layout = Layout(zero=1, data=16, gradient_accumulation=2)
    cluster = cluster_for(layout, price=2.0)
    question = job(num_tokens=32 * 4096 * 100 + 1)
    time = plan_time(question, layout, cluster)
    cost = plan_cost(question, layout, time, cluster)
    assert cost.steps == 101
    assert cost.seconds == pytest.approx(101 * time.seconds)
    assert cost.device_hours == pytest.approx(16 * 101 * time.seconds / 3600)
    assert cost.price == pytest.approx(2 * (cost.device_hours or 0))
    assert cost.kilowatt_hours == pytest.approx(0.4 * (cost.device_hours or 0))
    saving = plan_cost(replace(question, checkpoint_every=50), layout, time, cluster)
    # After steps 50 and 100, and at the end: 14 bytes a parameter at 1 GB/s on each of two nodes.
    each = 14 * question.shape.num_parameters / 2 / 1e9
    assert saving.saving_seconds == pytest.approx(3 * each)


def test_no_time_is_told_for_a_device_without_figures() -> None:
    cluster = make_cluster(Accelerator("cpu", memory=16e9))
    assert not cluster.has_known_speed
