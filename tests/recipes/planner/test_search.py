"""The search through all layouts."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsft.recipes.hardware.accelerators import find_accelerator
from fsft.recipes.hardware.cluster import make_cluster
from fsft.recipes.models.from_config import load_shape
from fsft.recipes.models.shape import Experts
from fsft.recipes.planner.document import layout_rows, plan_document
from fsft.recipes.planner.explain import explain_memory, explain_time
from fsft.recipes.planner.fit import fits, why_not
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.memory import plan_memory
from fsft.recipes.planner.plan import make_plan
from fsft.recipes.planner.ranges import memory_range
from fsft.recipes.planner.search import LARGEST_MICRO_BATCH
from fsft.recipes.planner.smallest import smallest
from fsft.recipes.planner.tables import module_table, strategy_table
from fsft.recipes.planner.view import why_best
from tests.recipes.planner.jobs import JOBS, job, llama_like

DEVICES = st.sampled_from(["T4", "RTX 4090", "A100-80GB-SXM", "H200-141GB-SXM"])


def plan(model: str, device: str, nodes: int = 1, devices: int = 1, **rest: object):  # type: ignore[no-untyped-def]
    question = Job(load_shape(model), 4096, **rest)  # type: ignore[arg-type]
    cluster = make_cluster(find_accelerator(device), nodes=nodes, devices_per_node=devices)
    return make_plan(question, cluster)


@settings(max_examples=25, deadline=None)
@given(JOBS, DEVICES, st.sampled_from([1, 2, 3]), st.sampled_from([1, 4, 6, 8]))
def test_every_layout_uses_all_devices_and_divides_evenly(
    question: Job, device: str, nodes: int, on_node: int
) -> None:
    cluster = make_cluster(find_accelerator(device), nodes=nodes, devices_per_node=on_node)
    made = make_plan(question, cluster)
    attention = question.shape.stack.layers[0][0].attention
    block = question.shape.stack.layers[0][0].feed_forward
    for candidate in made.search.candidates:
        layout = candidate.layout
        assert layout.num_devices == nodes * on_node
        assert on_node % layout.tensor == 0
        assert attention.num_heads % layout.tensor == 0
        assert attention.num_kv_heads % layout.tensor == 0
        assert layout.global_batch == made.job.global_batch
        assert layout.expert == 1 or (
            isinstance(block, Experts) and block.num_experts % layout.expert == 0
        )
        low = memory_range(candidate.memory.device_total, question.style.family).low
        assert low <= cluster.accelerator.memory


@settings(max_examples=25, deadline=None)
@given(JOBS, DEVICES, st.sampled_from([1, 8]))
def test_what_surely_fits_comes_first_and_then_what_is_fastest(
    question: Job, device: str, on_node: int
) -> None:
    cluster = make_cluster(find_accelerator(device), devices_per_node=on_node)
    found = make_plan(question, cluster).search.candidates
    assert [candidate.rank for candidate in found] == sorted(each.rank for each in found)
    surely = [candidate.fits == "yes" for candidate in found]
    assert surely == sorted(surely, reverse=True)


@settings(max_examples=15, deadline=None)
@given(JOBS, DEVICES)
def test_the_same_question_has_the_same_answer(question: Job, device: str) -> None:
    cluster = make_cluster(find_accelerator(device), devices_per_node=4)
    first, second = (make_plan(replace(question), cluster) for _ in range(2))
    assert first.best == second.best


def test_what_fits_does_so_at_the_upper_end_of_its_range() -> None:
    question, layout = job(), Layout(zero=3, data=8)
    memory = plan_memory(question, layout)
    low, expected, high = memory_range(memory.device_total, question.style.family)
    device = find_accelerator("A100")
    for room, answer in ((high, "yes"), (expected, "maybe"), (low * 0.99, "no")):
        cluster = make_cluster(device.with_memory(room), devices_per_node=8)
        assert fits(question, memory, cluster) == answer
    assert f"{expected / 2**30:.1f}" in why_not(question, memory, cluster)


def test_host_memory_decides_too() -> None:
    question, layout = job(), Layout(zero=3, data=8, offload_optimizer="cpu")
    memory = plan_memory(question, layout)
    small = make_cluster(find_accelerator("A100"), devices_per_node=8, host_memory=64e9)
    assert fits(question, memory, small) == "no"
    assert "host memory" in why_not(question, memory, small)


def test_a_card_of_24_gigabytes_trains_7b_with_adapters_but_not_whole_without_offload() -> None:
    whole = plan("llama-2-7b", "RTX 4090")
    assert whole.best is not None
    assert whole.best.layout.offload_optimizer != "none"


def test_seventy_billion_on_four_nodes_of_a100_is_spread_by_zero_three_or_model_parallelism() -> (
    None
):
    best = plan("llama-2-70b", "A100-80GB", nodes=6, devices=4).best
    assert best is not None
    assert best.fits == "yes"
    assert best.layout.zero == 3 or best.layout.tensor * best.layout.pipeline > 1


def test_a_small_model_on_eight_devices_needs_no_model_parallelism() -> None:
    best = plan("qwen3-0.6b", "A100-80GB", devices=8).best
    assert best is not None
    assert (best.layout.tensor, best.layout.pipeline, best.layout.zero) in {(1, 1, 0), (1, 1, 1)}


def test_when_nothing_fits_every_remedy_does() -> None:
    question = Job(load_shape("llama-3.1-405b"), 8192)
    fixed = {"offload_optimizer": "none", "offload_weights": "none"}
    cluster = make_cluster(find_accelerator("A100-80GB"), devices_per_node=8)
    made = make_plan(question, cluster, fixed)
    assert made.best is None
    assert made.remedies
    changes = " ".join(remedy.change for remedy in made.remedies)
    assert "nodes instead of 1" in changes
    for remedy in made.remedies:
        assert remedy.candidate.fits in {"yes", "maybe"}
    spent = [remedy.device_seconds for remedy in made.remedies]
    assert spent == sorted(spent)


def test_every_rejected_layout_says_why_in_one_clause() -> None:
    rejected = plan("llama-2-70b", "A100-80GB", devices=8).search.rejected
    assert rejected
    for each in rejected:
        assert each.reason
        assert "\n" not in each.reason
        assert not each.reason.endswith(".")


def test_a_model_whose_heads_cannot_be_divided_is_not_split_by_them() -> None:
    question = job(llama_like(heads=30, kv_heads=30, hidden=3840))
    cluster = make_cluster(find_accelerator("A100"), devices_per_node=8)
    made = make_plan(question, cluster)
    assert all(candidate.layout.tensor <= 2 for candidate in made.search.candidates)
    assert any("30 heads cannot be divided" in each.reason for each in made.search.rejected)


def test_what_is_fixed_stays() -> None:
    question = job(global_batch=64)
    cluster = make_cluster(find_accelerator("H100"), nodes=2, devices_per_node=8)
    made = make_plan(question, cluster, {"tensor": 2, "zero": 1, "checkpointing": "full"})
    for candidate in made.search.candidates:
        layout = candidate.layout
        assert (layout.tensor, layout.zero, layout.checkpointing) == (2, 1, "full")


def test_without_a_global_batch_the_micro_batch_is_the_largest_that_fits() -> None:
    cluster = make_cluster(find_accelerator("RTX 4090"), devices_per_node=2)
    question = Job(load_shape("qwen2.5-0.5b"), 1024)
    fixed = {"zero": 2, "tensor": 1, "gradient_accumulation": 3}
    plan = make_plan(question, cluster, fixed)
    for candidate in plan.search.candidates:
        assert candidate.layout.gradient_accumulation == 3
        twice = candidate.layout._replace(micro_batch=2 * candidate.layout.micro_batch)
        memory = plan_memory(plan.job, twice)
        assert twice.micro_batch > LARGEST_MICRO_BATCH or fits(plan.job, memory, cluster) != "yes"
    assert plan.best
    assert plan.best.layout.micro_batch > 1
    assert plan.job.global_batch == 2 * 3 * plan.best.layout.micro_batch


def test_a_global_batch_and_an_accumulation_leave_one_micro_batch() -> None:
    cluster = make_cluster(find_accelerator("A100"), devices_per_node=2)
    question = Job(load_shape("qwen2.5-0.5b"), 1024, global_batch=24)
    found = make_plan(question, cluster, {"tensor": 1, "pipeline": 1, "gradient_accumulation": 4})
    assert {c.layout.micro_batch for c in found.search.candidates} == {3}
    none = make_plan(question, cluster, {"tensor": 1, "pipeline": 1, "gradient_accumulation": 5})
    assert not none.search.candidates
    assert {each.reason for each in none.search.rejected} == {
        "a global batch of 24 cannot be divided by 2 replicas × gradient_accumulation 5"
    }


def test_long_sequences_are_worth_a_warning_and_sequence_parallelism() -> None:
    question = Job(load_shape("llama-2-7b"), 65536)
    cluster = make_cluster(find_accelerator("A100"), devices_per_node=8)
    made = make_plan(question, cluster)
    assert any("4096 positions" in warning for warning in made.warnings)
    assert any(candidate.layout.sequence > 1 for candidate in made.search.candidates)


def test_a_plan_says_that_it_leaves_images_out() -> None:
    assert "text alone" in " ".join(plan("Qwen2-VL-7B-Instruct", "H100", devices=8).assumptions)
    assert "text alone" not in " ".join(plan("llama-2-7b", "H100", devices=8).assumptions)


def test_a_million_devices_are_searched() -> None:
    question = Job(load_shape("llama-3.1-405b"), 8192, global_batch=2**20)
    cluster = make_cluster(find_accelerator("H100"), nodes=2**17, devices_per_node=8)
    assert make_plan(question, cluster).best is not None


def test_the_tables_add_up() -> None:
    made = plan("llama-2-7b", "A100-80GB", devices=8)
    rows = {row.name: row for row in module_table(made.job)}
    assert rows["all"].parameters == 6_738_415_616
    assert rows["one layer"].parameters == 202_383_360
    parts = [rows[name] for name in ("embedding", "all 32 layers", "last norm and head")]
    assert sum(row.parameters or 0 for row in parts) == rows["all"].parameters
    expected = rows["activations of one sequence"].train + rows["input of one sequence"].train
    assert rows["all"].train == pytest.approx(sum(row.train for row in parts) + expected)
    strategies = strategy_table(made)
    assert [row.zero for row in strategies] == [0, 1, 2, 3]
    assert strategies[0].train.expected > strategies[3].train.expected


def test_a_plan_is_told_to_programs_as_it_is_to_people() -> None:
    made = plan("llama-2-7b", "A100-80GB", devices=8, num_tokens=10**9)
    assert made.best is not None
    document = plan_document(made)
    assert document["parameters"] == 6_738_415_616
    recommended = document["recommendation"]
    assert recommended["layout"]["data"] == made.best.layout.data
    assert recommended["memory"]["device_total"]["expected"] == made.best.memory.device_total
    assert recommended["cost"]["steps"] == -(-(10**9) // (made.best.layout.global_batch * 4096))
    rows = layout_rows(made)
    assert len(rows) == len(made.search.candidates) + len(made.search.rejected)
    assert len({tuple(row) for row in rows}) == 1


def test_the_arithmetic_is_written_out() -> None:
    made = plan("llama-2-7b", "A100-80GB", devices=8, num_tokens=10**9)
    best = made.best
    assert best is not None
    assert best.time is not None
    memory = " ".join(explain_memory(made.job, best.layout, best.memory))
    time = " ".join(explain_time(made.job, best.layout, best.time, made.cluster))
    assert "B × parameters" in memory
    assert "device total" in memory
    assert "model FLOPs" in time
    assert "device hours" in time


def test_of_layouts_as_fast_as_the_fastest_none_that_leaves_the_device_comes_first() -> None:
    question = Job(load_shape("qwen2.5-0.5b"), 2048, global_batch=128)
    found = make_plan(question, make_cluster(find_accelerator("T4"))).search.candidates
    assert any(each.layout.offload_optimizer != "none" and not each.rank.pace for each in found)
    assert found[0].layout.offload_optimizer == "none"


def test_where_no_speed_is_known_the_simplest_that_fits_comes_first() -> None:
    question = Job(load_shape("qwen2.5-7b"), 2048)
    device = replace(find_accelerator("A100"), peaks={}, measured_ceilings={})
    cluster = make_cluster(device, devices_per_node=8)
    assert not cluster.has_known_speed
    found = make_plan(question, cluster)
    assert found.best is not None
    assert found.best.layout.name == "ZeRO 1, DP 8"
    assert found.best.layout.checkpointing == "none"
    assert "not known" in why_best(found, found.best)


def test_rows_with_images_are_not_divided() -> None:
    question = Job(load_shape("Qwen2-VL-7B-Instruct"), 32768)
    cluster = make_cluster(find_accelerator("H100"), devices_per_node=8)
    found = make_plan(question, cluster)
    assert all(each.layout.sequence == 1 for each in found.search.candidates)
    assert any("images" in each.reason for each in found.search.rejected)


def test_the_rows_of_a_step_are_counted_for_whole_copies_of_the_model() -> None:
    question = job()
    cluster = make_cluster(find_accelerator("H100"), devices_per_node=8)
    fixed = {"tensor": 2, "pipeline": 2, "micro_batch": 1, "gradient_accumulation": 4}
    assert make_plan(question, cluster, fixed).job.global_batch == 8


def test_the_closest_of_those_that_do_not_fit_takes_the_least_of_a_device() -> None:
    question = Job(load_shape("llama-3.1-405b"), 8192)
    cluster = make_cluster(find_accelerator("A100"), devices_per_node=8, host_memory=64e9)
    found = make_plan(question, cluster)
    closest = smallest(found)
    assert closest is not None
    needed = plan_memory(found.job, closest.layout).device_total
    for each in found.search.rejected:
        if "GiB" in each.reason:
            assert needed <= plan_memory(found.job, each.layout).device_total
