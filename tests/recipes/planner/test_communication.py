"""Seconds that ranks exchange data, and which of them hold what together."""

from dataclasses import replace
from typing import Literal

import pytest

from fsft.recipes.hardware.accelerators import find_accelerator
from fsft.recipes.hardware.cluster import Cluster, make_cluster
from fsft.recipes.planner.communication import (
    exchange_seconds,
    gradient_seconds,
    reduction_seconds,
    ring_speed,
    split_seconds,
)
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.kernels import Kernels
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.speeds import fitted_speeds
from fsft.recipes.planner.style import HUGGING_FACE
from fsft.recipes.planner.time import plan_time
from fsft.recipes.planner.work import num_tensors
from tests.recipes.planner.jobs import job, llama_like

SPEEDS = fitted_speeds()


def nodes(number: int) -> Cluster:
    return make_cluster(find_accelerator("H100-80GB-SXM"), nodes=number, devices_per_node=8)


def with_kernels(question: Job, kernels: Kernels) -> Job:
    return replace(question, style=replace(HUGGING_FACE, kernels=kernels))


def test_a_sum_between_two_nodes_with_few_cards_goes_through_trees() -> None:
    def seconds(number: int) -> float:
        slow = replace(nodes(number), inter_bandwidth=12.5e9)
        return reduction_seconds(1e9, 8 * number, 1, slow, SPEEDS)

    slow = replace(nodes(2), inter_bandwidth=12.5e9)
    ring = 2 * (15 / 16) * 1e9 / ring_speed(16, 1, slow, SPEEDS)
    assert seconds(1) < seconds(2) < ring < seconds(4)


def test_an_exchange_between_nodes_goes_through_the_network_card_of_each_device() -> None:
    far = exchange_seconds(1e9, 16, 1, nodes(2), SPEEDS)
    assert far > 0.5e9 / (nodes(2).inter_bandwidth * SPEEDS.network)
    assert far > 4 * exchange_seconds(1e9, 8, 1, nodes(2), SPEEDS)


def test_a_ring_passes_more_the_more_ranks_there_are_and_more_where_keys_are_repeated() -> None:
    def seconds(passes: Literal["heads", "keys"], ranks: int, repeats: bool = False) -> float:
        # As many tokens on each rank.
        question = replace(job(), sequence_length=8192 * ranks)
        question = with_kernels(question, Kernels(passes=passes, repeats_keys=repeats))
        layout = Layout(data=1, sequence=ranks)
        return split_seconds(question, layout, 0, nodes(1), SPEEDS)

    assert seconds("keys", 8) == pytest.approx(7 / 3 * seconds("keys", 4))
    assert seconds("keys", 8, repeats=True) == pytest.approx(4 * seconds("keys", 8))
    assert seconds("heads", 8) < 1.2 * seconds("heads", 4)
    assert seconds("heads", 8, repeats=True) == pytest.approx(1.6 * seconds("heads", 8))


def test_the_states_of_an_expert_are_shared_by_those_that_hold_it() -> None:
    assert Layout(zero=1, data=4, tensor=2, expert=8).expert_shards == 1
    assert Layout(zero=1, data=16, tensor=2, expert=8).expert_shards == 4


def test_experts_that_no_other_rank_holds_have_no_gradients_to_exchange() -> None:
    question = job(llama_like(experts=8, layers=4))
    spread, whole = (
        gradient_seconds(question, Layout(zero=1, data=8, expert=expert), 0, nodes(1), SPEEDS)
        for expert in (8, 1)
    )
    assert spread < 0.2 * whole


def test_tokens_that_go_to_experts_need_no_second_sum_of_tensor_ranks() -> None:
    dense, sparse = (
        split_seconds(
            job(llama_like(experts=experts)),
            Layout(data=1, tensor=8, sequence_in_tensor=True),
            0,
            nodes(1),
            SPEEDS,
        )
        for experts in (0, 8)
    )
    assert sparse == pytest.approx(dense / 2)


def test_the_device_does_not_wait_for_the_host_while_it_communicates() -> None:
    question = replace(job(), sequence_length=512)
    layout = Layout(data=1, tensor=8, micro_batch=1)
    slow, fast = (
        plan_time(question, layout, replace(nodes(1), accelerator=device))
        for device in (
            replace(find_accelerator("H100-80GB-SXM"), link_bandwidth=150e9),
            find_accelerator("H100-80GB-SXM"),
        )
    )
    assert 0 < slow.launch < fast.launch
    assert slow.launch + slow.split == pytest.approx(fast.launch + fast.split)


def test_the_optimizer_sees_every_weight_where_states_are_not_flat() -> None:
    flat, each = (
        num_tensors(with_kernels(job(), Kernels(flat_states=is_flat)), 1, 0, 1)
        for is_flat in (True, False)
    )
    assert flat == 32
    # Seven matrices and two norms.
    assert each == 9 * 32
