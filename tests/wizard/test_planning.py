"""Layouts of the wizard: the whole search, a row that is picked, a key that is pinned."""

from dataclasses import replace

import pytest

from fsft.recipes.files import parse_recipe
from fsft.recipes.hardware.detect import Machine
from fsft.recipes.planner.plan import Plan, make_plan
from fsft.recipes.planner.questions import cluster_of, fixed_by, job_of, shape_of
from fsft.recipes.schema import Parallel
from fsft.recipes.shipped import find_recipe
from fsft.wizard.draft import Draft
from fsft.wizard.facts import Facts
from fsft.wizard.outlook import Outlook, look
from fsft.wizard.questions import LAYOUT_KEYS
from fsft.wizard.steps.strategy import _answers
from tests.wizard.strategies import NO_GPU, opened, typed

SEVENTY = typed(
    Draft(),
    [
        ("model.path", "llama-2-70b"),
        ("data.train", "library:identity.jsonl"),
        ("hardware.accelerator", "A100-80GB"),
        ("hardware.nodes", "8"),
        ("hardware.devices_per_node", "8"),
        ("budget.tokens", "0.5B"),
    ],
)
ON_A_CARD = typed(
    Draft(),
    [
        ("model.path", "qwen2.5-7b"),
        ("hardware.accelerator", "RTX4090"),
        ("hardware.devices_per_node", "1"),
    ],
)
QUICKSTART = find_recipe("quickstart").read_text()


def plan_of(text: str) -> Plan:
    """The plan of a recipe, as `fsft plan` makes it."""
    recipe = parse_recipe(text)
    cluster = cluster_of(recipe.hardware, None)
    return make_plan(job_of(recipe, shape_of(recipe), cluster), cluster, fixed_by(recipe.parallel))


def picked(draft: Draft, index: int) -> tuple[Draft, Outlook]:
    """The draft after a row was picked, and its outlook."""
    outlook = look(draft, NO_GPU)
    assert outlook.planning.open_plan is not None
    layout = outlook.planning.open_plan.search.candidates[index].layout
    draft = typed(draft, list(_answers(layout, outlook).items()))
    return draft, look(draft, NO_GPU)


def test_seventy_billion_on_64_devices_is_planned_as_fsft_plan_plans_it() -> None:
    outlook = look(SEVENTY, NO_GPU)
    assert outlook.recipe is not None
    assert {getattr(outlook.recipe.parallel, key[9:]) for key in LAYOUT_KEYS} == {"auto"}
    theirs, ours = plan_of(outlook.text), outlook.planning
    assert ours.best == theirs.best
    assert ours.open_plan is not None
    assert ours.open_plan.search.candidates == theirs.search.candidates
    assert any(each.layout.tensor * each.layout.pipeline > 1 for each in theirs.search.candidates)


@pytest.mark.parametrize("index", [0, 1, 7, 60])
def test_a_picked_row_is_written_into_the_recipe(index: int) -> None:
    plan = look(SEVENTY, NO_GPU).planning.open_plan
    assert plan is not None
    layout = plan.search.candidates[index].layout
    outlook = picked(SEVENTY, index)[1]
    parallel = parse_recipe(outlook.text).parallel
    assert (parallel.tensor, parallel.pipeline) == (layout.tensor, layout.pipeline)
    assert parallel.open_keys == ["gradient_accumulation"]
    best = plan_of(outlook.text).best
    assert best is not None
    assert best.layout == layout
    assert outlook.planning.open_plan is not None
    assert outlook.planning.open_plan.search == plan.search


def test_auto_takes_a_picked_row_back() -> None:
    draft, outlook = picked(SEVENTY, 1)
    assert draft != SEVENTY
    back = typed(draft, list(_answers(None, outlook).items()))
    assert back.answers == SEVENTY.answers


def test_a_key_that_is_pinned_leaves_the_others_to_the_planner() -> None:
    outlook = look(typed(SEVENTY, [("parallel.pipeline", "2")]), NO_GPU)
    assert outlook.recipe is not None
    assert outlook.recipe.parallel.pipeline == 2
    assert outlook.recipe.parallel.tensor == "auto"
    assert outlook.planning.best is not None
    assert outlook.planning.best.layout.pipeline == 2
    left, before = outlook.planning.open_plan, look(SEVENTY, NO_GPU).planning.plan
    assert left is not None
    assert before is not None
    assert left.search == before.search


def test_a_pin_that_cannot_be_is_no_layout_and_doubted() -> None:
    outlook = look(typed(SEVENTY, [("parallel.tensor", "3")]), NO_GPU)
    assert outlook.planning.best is None
    assert outlook.doubts.keys() == {"parallel.tensor"}


def test_one_card_offloads_what_does_not_fit_and_a_disk_only_with_a_folder() -> None:
    plan = look(ON_A_CARD, NO_GPU).planning.plan
    assert plan is not None
    assert plan.best is not None
    assert plan.best.layout.offload_optimizer == "cpu"
    with_disk = look(ON_A_CARD.answer("parallel.offload_path", "/local_nvme"), NO_GPU)
    places = {
        each.layout.offload_optimizer
        for found in (plan, with_disk.planning.plan)
        for each in found.search.candidates
    }
    assert places == {"cpu", "nvme"}
    assert all(each.layout.offload_optimizer != "nvme" for each in plan.search.candidates)


def test_a_disk_without_a_folder_is_told_where_the_folder_is_asked_for() -> None:
    disk = [("parallel.offload_optimizer", "nvme"), ("parallel.zero", "3")]
    assert list(look(typed(ON_A_CARD, disk), NO_GPU).problems) == ["parallel.offload_path"]


def test_what_would_help_is_not_looked_for_on_a_key() -> None:
    draft = ON_A_CARD.answer("hardware.host_memory", "64GB")
    outlook = look(draft, NO_GPU)
    plan = outlook.planning.plan
    assert plan is not None
    assert plan.best is None
    assert outlook.planning.closest is not None
    assert "remedies" not in vars(plan)
    assert outlook.remedies is None
    known = look(draft, replace(NO_GPU, helpful=(plan, plan.remedies)))
    assert known.remedies == plan.remedies != ()


def test_the_data_files_do_not_make_a_plan_anew() -> None:
    draft = SEVENTY.answer("data.train", "library:about_fsft.jsonl")
    assert look(draft, NO_GPU).planning is look(SEVENTY, NO_GPU).planning


def test_a_picked_row_keeps_the_rows_of_a_step_of_an_opened_recipe() -> None:
    wide = QUICKSTART.replace('"cpu"', '"A100-80GB"').replace("micro_batch = 2", "micro_batch = 4")
    outlook = picked(opened(wide), 0)[1]
    assert outlook.recipe is not None
    parallel = outlook.recipe.parallel
    assert (parallel.global_batch, parallel.gradient_accumulation) == (8, "auto")
    assert outlook.changes.keys() <= {
        "parallel.global_batch",
        "parallel.gradient_accumulation",
        "parallel.micro_batch",
    }


def test_a_row_without_checkpointing_takes_what_belongs_to_it_out() -> None:
    text = QUICKSTART.replace(
        "zero = 0",
        'zero = 0\nactivation_checkpointing = "full"\nactivation_checkpointing_every = 2',
    )
    outlook = look(opened(text).answer("parallel.activation_checkpointing", "none"), NO_GPU)
    assert outlook.recipe is not None
    assert outlook.recipe.parallel == Parallel(zero=0, micro_batch=2)


def test_a_compiled_model_is_offered_the_layouts_that_can_be_compiled() -> None:
    text = look(typed(SEVENTY, [("model.path", "qwen2.5-7b")]), NO_GPU).text
    for key in LAYOUT_KEYS[3:7]:
        text = text.replace(f'\n{key[9:]} = "auto"', f"\n{key[9:]} = 1")
    text = text.replace('activation_checkpointing = "auto"', 'activation_checkpointing = "none"')
    text = text.replace("compile = false", "compile = true").replace('zero = "auto"', "zero = 1")
    plan = look(opened(text), NO_GPU).planning.open_plan
    assert plan is not None
    assert plan.search.candidates
    for each in plan.search.candidates:
        assert each.layout.zero < 3
        assert each.layout.checkpointing != "selective"
        assert each.layout.num_devices == each.layout.data
    assert any("model.compile" in each.reason for each in plan.search.rejected)


def test_attention_that_needs_whole_rows_leaves_them_whole() -> None:
    outlook = look(SEVENTY.answer("model.attention", "flex_attention"), NO_GPU)
    assert outlook.recipe is not None
    assert outlook.recipe.parallel.sequence == 1
    wrong = look(
        typed(SEVENTY, [("model.attention", "flex_attention"), ("parallel.sequence", "2")]), NO_GPU
    )
    assert list(wrong.problems) == ["model.attention"]


def test_the_best_checkpoint_is_kept_and_converted() -> None:
    evaluated = SEVENTY.answer("data.eval", "library:about_fsft.jsonl")
    recipe = look(evaluated.answer("checkpoint.keep_best", "yes"), NO_GPU).recipe
    assert recipe is not None
    assert (recipe.checkpoint.keep_best, recipe.convert.checkpoint) == (True, "best")
    text = look(evaluated.answer("checkpoint.keep_best", "yes"), NO_GPU).text
    last = look(opened(text).answer("checkpoint.keep_best", "no"), NO_GPU).recipe
    assert last is not None
    assert (last.checkpoint.keep_best, last.convert.checkpoint) == (False, "newest")
    without = look(SEVENTY.answer("checkpoint.keep_best", "yes"), NO_GPU)
    assert list(without.problems) == ["checkpoint.keep_best"]


def test_a_processor_gets_the_simplest_layout() -> None:
    here = Facts(Machine((), num_cores=8, host_memory=64e9, free_disk=1e12))
    best = look(Draft(), here).planning.best
    assert best is not None
    assert (best.layout.name, best.layout.checkpointing) == ("ZeRO 0, DP 2", "none")
