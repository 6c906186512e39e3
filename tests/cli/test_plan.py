"""`fsft plan`, and what `fsft run` does with the plan."""

import csv
import io
import json
import tomllib
from pathlib import Path

import pytest

from tests.support import TINY_RECIPE, fsft, only_run, write_tiny_recipe

QUESTION = ("plan", "--model", "llama-2-70b", "--accelerator", "A100-80GB", "--nodes", "6")
AUTO = TINY_RECIPE.replace(
    "zero = 1",
    'zero = "auto"\nmicro_batch = "auto"\ngradient_accumulation = "auto"\n'
    'activation_checkpointing = "auto"\nglobal_batch = 8',
)


def test_the_three_tables_and_a_recommendation_are_printed(tmp_path: Path) -> None:
    done = fsft(*QUESTION, "--devices", "4", "--tokens", "0.7B", cwd=tmp_path)
    assert done.returncode == 0
    for part in ("all 80 layers", "ZeRO alone, per device", "Layouts, the best first", "✓"):
        assert part in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_json_and_csv_tell_the_same_layouts(tmp_path: Path) -> None:
    told = json.loads(fsft(*QUESTION, "--devices", "4", "--json", cwd=tmp_path).stdout)
    rows = list(
        csv.DictReader(io.StringIO(fsft(*QUESTION, "--devices", "4", "--csv", cwd=tmp_path).stdout))
    )
    assert told["devices"] == 24
    assert len(rows) == len(told["layouts"]) + len(told["rejected"])
    assert int(rows[0]["zero"]) == told["recommendation"]["layout"]["zero"]
    memory = told["recommendation"]["memory"]["device_total"]
    assert memory["low"] < memory["expected"] < memory["high"] <= told["device_memory"]


def test_the_arithmetic_and_the_classical_estimate_are_shown(tmp_path: Path) -> None:
    done = fsft(*QUESTION, "--devices", "4", "--explain", "--compare", "--all", cwd=tmp_path)
    assert "Arithmetic of" in done.stdout
    assert "classical estimate" in done.stdout
    assert "All layouts" in done.stdout


def test_a_price_becomes_a_cost(tmp_path: Path) -> None:
    question = ("plan", "--model", "llama-2-7b", "--accelerator", "h100", "--tokens", "1B")
    told = json.loads(fsft(*question, "--price", "2.5", "--json", cwd=tmp_path).stdout)
    cost = told["recommendation"]["cost"]
    assert cost["price"] == pytest.approx(2.5 * cost["device_hours"])


def test_nothing_fits_exits_with_3_and_says_what_would(tmp_path: Path) -> None:
    fixed = ("--fix", "offload_optimizer=none", "--fix", "offload_weights=none")
    question = ("plan", "--model", "llama-2-70b", "--accelerator", "T4")
    done = fsft(*question, *fixed, cwd=tmp_path)
    assert done.returncode == 3
    assert "No layout fits" in done.stdout
    assert "nodes instead of 1" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--model"),
        (("quickstart", "--model", "llama-2-7b"), "either a recipe or --model"),
        (("--model", "lama-2-7b", "--accelerator", "A100"), "Llama-2-7b"),
        (("--model", "llama-2-7b", "--accelerator", "A1000"), "A100"),
        (("--model", "llama-2-7b"), "--accelerator"),
        (("--model", "llama-2-7b", "--accelerator", "A100", "--nodes", "0"), "nodes"),
        (("--model", "llama-2-7b", "--accelerator", "A100", "--devices", "-3"), "devices"),
        (("--model", "llama-2-7b", "--accelerator", "A100", "--nodes", "99999999"), "devices"),
        (("--model", "llama-2-7b", "--accelerator", "A100", "--tokens", "lots"), "--tokens"),
        (("--model", "llama-2-7b", "--accelerator", "A100", "--tokens", "0"), "--tokens"),
        (("--model", "llama-2-7b", "--accelerator", "A100", "--sequence-length", "0"), "sequence"),
        (("--model", "llama-2-7b", "--accelerator", "A100", "--method", "magic"), "lora"),
        (("--model", "llama-2-7b", "--accelerator", "A100", "--rank", "0"), "--rank"),
        (("--model", "llama-2-7b", "--accelerator", "A100", "--link", "rope"), "link"),
        (("--model", "llama-2-7b", "--accelerator", "A100", "--fix", "tensor"), "KEY=VALUE"),
        (("--model", "llama-2-7b", "--accelerator", "A100", "--fix", "warp=9"), "warp"),
        (("--model", "llama-2-7b", "--accelerator", "A100", "--price", "-1"), "price"),
        (("--model", "llama-2-7b", "--accelerator", "A100", "--price", "nan"), "price"),
        (("--model", "llama-2-7b", "--accelerator", "A100", "--fix", "zero=9"), "zero"),
    ],
)
def test_a_question_without_sense_exits_with_2_and_names_what_is_wrong(
    tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    done = fsft("plan", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    wrong = ("--model", "nothing", "--accelerator", "nothing", "--tokens", "x", "--rank", "0")
    assert fsft("plan", *wrong, cwd=tmp_path).stderr.count("✗") == 4


def test_a_traced_step_is_set_beside_the_formulas(tmp_path: Path) -> None:
    recipe = write_tiny_recipe(tmp_path)
    plan = fsft("plan", recipe, "--trace", cwd=tmp_path)
    assert plan.returncode == 0, plan.stderr
    assert "kept by forward" in plan.stdout
    assert "+0.00%" in plan.stdout


def test_what_is_left_open_is_answered_by_the_planner_and_pinned_in_the_lock(
    tmp_path: Path,
) -> None:
    recipe = write_tiny_recipe(tmp_path, AUTO)
    done = fsft("run", recipe, "--until", "prepare", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lock = tomllib.loads((only_run(tmp_path) / "recipe.lock.toml").read_text())
    parallel = lock["recipe"]["parallel"]
    assert parallel["micro_batch"] * parallel["gradient_accumulation"] * 2 == 8
    assert parallel["zero"] in {0, 1, 2, 3}
    assert parallel["activation_checkpointing"] in {"none", "selective", "full"}
    assert lock["plan"]["device_memory_bytes"]["high"] > 0
    assert lock["plan"]["layout"]["data"] == 2


def test_batch_sizes_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    recipe = write_tiny_recipe(
        tmp_path, TINY_RECIPE.replace("zero = 1", "zero = 1\nmicro_batch = 3\nglobal_batch = 8")
    )
    done = fsft("run", recipe, "--dry-run", cwd=tmp_path)
    assert done.returncode == 3
    assert "global_batch" in done.stderr


def test_a_run_that_cannot_fit_is_refused_unless_it_is_forced(tmp_path: Path) -> None:
    recipe = write_tiny_recipe(
        tmp_path, TINY_RECIPE.replace("sequence_length = 96", "sequence_length = 4000000")
    )
    done = fsft("run", recipe, "--dry-run", cwd=tmp_path)
    assert done.returncode == 3
    assert "does not fit" in done.stderr
    assert "--force" in done.stderr
    assert fsft("run", recipe, "--dry-run", "--force", cwd=tmp_path).returncode == 0


def test_an_accelerator_that_is_not_here_is_refused(tmp_path: Path) -> None:
    recipe = write_tiny_recipe(
        tmp_path, TINY_RECIPE.replace('accelerator = "cpu"', 'accelerator = "H100-80GB-SXM"')
    )
    done = fsft("run", recipe, "--dry-run", cwd=tmp_path)
    assert done.returncode == 3
    assert "hardware" in done.stderr


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (("parallel.sequence=4",), "2 processes cannot be divided into groups of 4 (sequence 4)"),
        (
            ("parallel.sequence=3", "hardware.devices_per_node=3"),
            "4 heads cannot be divided by SP 3",
        ),
        (
            ("parallel.sequence=2", "data.sequence_length=97"),
            "97 tokens cannot be divided by SP 2",
        ),
        (
            ("parallel.tensor=2", "model.config.num_key_value_heads=1"),
            "1 key-value heads cannot be divided by TP 2",
        ),
        (
            ("parallel.tensor=2", 'model.config.model_type="falcon"'),
            "falcon has no tensor parallel plan",
        ),
        (
            ("parallel.tensor=2", "hardware.nodes=2", "hardware.devices_per_node=1"),
            "TP 2 does not stay inside a node of 1",
        ),
    ],
)
def test_what_cannot_be_divided_among_processes_is_refused(
    tmp_path: Path, settings: tuple[str, ...], reason: str
) -> None:
    recipe = write_tiny_recipe(tmp_path)
    overrides = [argument for value in settings for argument in ("--set", value)]
    done = fsft("run", recipe, "--dry-run", *overrides, cwd=tmp_path)
    assert done.returncode == 3
    assert reason in done.stderr
