"""`fsft run` from start to end, on real data with real processes."""

import json
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch

from fsft.recipes.events import Event, Step, TrainStarted
from fsft.recipes.stages import STAGES
from fsft.runtime.convert.weights import checkpoint_weights
from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.train.marks import latest_checkpoint
from tests.support import (
    QUESTIONS,
    events_of,
    fsft,
    fsft_command,
    fsft_environment,
    only_run,
    steps_in,
    write_jsonl,
    write_tiny_recipe,
)

LONG = ("--set", "budget.steps=400", "--set", "checkpoint.every=50", "--until", "train")
"""Training that lasts for some seconds, so that it can be disturbed."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe that was run to its end."""
    folder = tmp_path_factory.mktemp("finished")
    write_tiny_recipe(folder)
    done = fsft("run", "tiny.toml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def finished_copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished folder, to be changed."""
    folder = tmp_path / "copy"
    subprocess.run(["cp", "-r", finished, folder], check=True)
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a long training that nothing interrupted."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_tiny_recipe(folder)
    done = fsft("run", "tiny.toml", *LONG, cwd=folder)
    assert done.returncode == 0, done.stderr
    return only_run(folder)


def finished_stages(run: Path) -> set[str]:
    return set(RunDirectory(run).finished_stages())


def final_weights(run: Path) -> dict[str, torch.Tensor]:
    checkpoints = run / "checkpoints"
    mark = latest_checkpoint(checkpoints)
    assert mark
    weights = checkpoint_weights(checkpoints / mark.tag, mark)
    return {name: weight.contiguous() for name, weight in weights.items()}


def assert_same_training(run: Path, expected: Path) -> None:
    """The same losses, norms and weights, to the last bit."""
    curve = [(step.step, step.loss, step.grad_norm) for step in steps_in(run)]
    assert curve == [(step.step, step.loss, step.grad_norm) for step in steps_in(expected)]
    assert [number for number, *_ in curve] == list(range(1, 401))
    found, wanted = final_weights(run), final_weights(expected)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def wait_for(events_file: Path, wanted: Callable[[Event], bool]) -> Event:
    """The first event of a run going on that is wanted."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if events_file.exists():
            for event in events_of(events_file.parent):
                if wanted(event):
                    return event
        time.sleep(0.02)
    raise AssertionError("the event did not come in time")


def start_and_wait_for_step(folder: Path, step: int) -> tuple["subprocess.Popen[str]", Path]:
    """Start the long training in the background; returns once it has done `step`."""
    process = subprocess.Popen(
        fsft_command("run", "tiny.toml", *LONG),
        cwd=folder,
        env=fsft_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob("runs/tiny-*/events.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.02)
    run = only_run(folder)
    wait_for(run / "events.jsonl", lambda event: isinstance(event, Step) and event.step >= step)
    return process, run


def training_processes(process: "subprocess.Popen[str]") -> Iterator[psutil.Process]:
    for child in psutil.Process(process.pid).children(recursive=True):
        if (
            "fsft.runtime.train" in child.cmdline()
            and "fsft.runtime.launch.agent" not in child.cmdline()
        ):
            yield child


def test_a_finished_run_holds_model_report_lock_and_events(finished: Path) -> None:
    run = only_run(finished)
    assert finished_stages(run) == set(STAGES)
    lock = tomllib.loads((run / "recipe.lock.toml").read_text())
    assert lock["versions"]["torch"].startswith("2.")
    assert lock["data"]["splits"]["train"]["num_samples"] == len(QUESTIONS)
    assert "<|im_start|>" in lock["data"]["template"]
    assert all(len(item["sha256"]) == 64 for item in lock["inputs"])
    assert [step.step for step in steps_in(run)] == [1, 2, 3, 4, 5, 6]
    assert {path.name for path in (run / "report").iterdir()} == {
        *("report.json", "report.md", "report.html", "loss.png", "loss.svg")
    }
    assert len(list((run / "checkpoints").glob("step-*"))) == 2


def test_the_model_folder_loads_with_chat_template_and_end_token(finished: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    folder = only_run(finished) / "model"
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    ).endswith("<|im_start|>assistant\n")
    assert GenerationConfig.from_pretrained(folder).eos_token_id == [tokenizer.eos_token_id]
    weights = final_weights(only_run(finished))
    for name, weight in model.state_dict().items():
        if name in weights:
            assert torch.equal(weight, weights[name]), name


def test_the_report_tells_what_the_events_tell(finished: Path) -> None:
    run = only_run(finished)
    report = json.loads((run / "report" / "report.json").read_text())
    steps = steps_in(run)
    seconds = sum(step.seconds for step in steps)
    assert report["tokens"] == sum(step.tokens for step in steps)
    assert report["tokens_per_second"] == pytest.approx(report["tokens"] / seconds)
    assert report["final_loss"] == pytest.approx(sum(step.loss for step in steps) / len(steps))
    flops = 8 * report["num_parameters"] * report["tokens"]
    assert report["achieved_tflops_classical"] == pytest.approx(flops / seconds / 1e12)
    assert 0 < report["mfu"] < 1
    assert report["num_questions"] == len(QUESTIONS)
    assert len(report["samples"]) == 2


def test_a_second_run_does_nothing_and_loads_nothing_heavy(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in only_run(finished).rglob("*")}
    code = (
        "import sys\n"
        "from fsft.cli.app import app\n"
        "app(['run', 'tiny.toml'], standalone_mode=False)\n"
        "heavy = {'torch', 'transformers', 'deepspeed', 'textual', 'pyarrow'}\n"
        "assert not heavy & sys.modules.keys()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=finished, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Nothing to do" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in only_run(finished).rglob("*")} == before


def test_another_question_count_is_evaluated_without_training_again(finished_copy: Path) -> None:
    run = only_run(finished_copy)
    num_starts = sum(isinstance(event, TrainStarted) for event in events_of(run))
    change = ("--set", "evaluate.max_samples=3")
    dry = json.loads(
        fsft("run", "tiny.toml", *change, "--dry-run", "--json", cwd=finished_copy).stdout
    )
    assert [stage["reason"].startswith("done before") for stage in dry["stages"]] == [
        *(True, True, True, False, False)
    ]
    done = fsft("run", "tiny.toml", *change, cwd=finished_copy)
    assert done.returncode == 0, done.stderr
    assert only_run(finished_copy) == run
    assert json.loads((run / "report" / "report.json").read_text())["num_questions"] == 3
    assert sum(isinstance(event, TrainStarted) for event in events_of(run)) == num_starts


def test_a_changed_learning_rate_trains_anew_on_the_data_of_the_first_run(
    finished_copy: Path,
) -> None:
    folder = finished_copy
    first = only_run(folder)
    change = ("--set", "optimizer.learning_rate=5e-3", "--until", "train")
    done = fsft("run", "tiny.toml", *change, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    second = folder / json.loads(done.stdout)["run"]
    assert second != first
    assert "taken over" in RunDirectory(second).finished_stages()["prepare"].summary
    tokens = Path("data", "train", "tokens.bin")
    assert (second / tokens).samefile(first / tokens)
    assert finished_stages(first) == set(STAGES)
    assert steps_in(second)[-1].loss != steps_in(first)[-1].loss


def test_one_stage_alone_is_done_again_and_what_it_needs_is_named(
    finished_copy: Path, tmp_path: Path
) -> None:
    done = fsft("run", "tiny.toml", "--only", "report", "--json", cwd=finished_copy)
    assert done.returncode == 0, done.stderr
    assert [s["stage"] for s in json.loads(done.stdout)["stages"] if s["done"]] == ["report"]
    write_tiny_recipe(tmp_path)
    refused = fsft("run", "tiny.toml", "--only", "convert", cwd=tmp_path)
    assert refused.returncode == 3
    assert "needs prepare, train first" in refused.stderr


def test_a_dry_run_says_what_would_be_done_and_does_nothing(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    done = fsft("run", "tiny.toml", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0
    assert all(f"do   {stage}" in done.stdout for stage in STAGES)
    assert not list(tmp_path.glob("runs/tiny-*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_stopped_training_goes_on_to_the_same_bits(
    tmp_path: Path, undisturbed: Path, number: signal.Signals
) -> None:
    write_tiny_recipe(tmp_path)
    process, run = start_and_wait_for_step(tmp_path, 20)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 75, stderr
    assert "The same command resumes there" in stderr
    last = steps_in(run)[-1].step
    assert last < 400
    mark = latest_checkpoint(run / "checkpoints")
    assert mark
    assert mark.step == last
    again = fsft("run", "tiny.toml", *LONG, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert f"resumes at step {last + 1}" in again.stderr
    assert_same_training(run, undisturbed)


def test_a_stopped_run_goes_on_with_another_number_of_processes_and_the_same_rows_a_step(
    tmp_path: Path,
) -> None:
    write_tiny_recipe(tmp_path)
    process, run = start_and_wait_for_step(tmp_path, 5)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    one = (*LONG, "--set", "hardware.devices_per_node=1")
    refused = fsft("run", "tiny.toml", *one, cwd=tmp_path)
    assert refused.returncode == 3
    assert "--set parallel.micro_batch=1 --set parallel.gradient_accumulation=2" in refused.stderr
    keeps = ("--set", "parallel.gradient_accumulation=2", "--set", "parallel.zero=2")
    again = fsft("run", "tiny.toml", *one, *keeps, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert only_run(tmp_path) == run
    assert [step.step for step in steps_in(run)] == list(range(1, 401))


def test_ctrl_c_saves_and_exits_with_130(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    process, run = start_and_wait_for_step(tmp_path, 5)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "interrupted. The same command goes on." in stderr
    mark = latest_checkpoint(run / "checkpoints")
    assert mark
    assert mark.step == steps_in(run)[-1].step


def test_a_killed_process_ends_the_run_with_its_cause_and_the_rerun_has_the_same_bits(
    tmp_path: Path, undisturbed: Path
) -> None:
    write_tiny_recipe(tmp_path)
    process, run = start_and_wait_for_step(tmp_path, 60)
    victim = max(training_processes(process), key=lambda p: p.pid)
    others = [p for p in training_processes(process) if p != victim]
    victim.kill()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "was killed (SIGKILL), most often because the host ran out of memory" in stderr
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in others)
    again = fsft("run", "tiny.toml", *LONG, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert_same_training(run, undisturbed)


def test_a_killed_fsft_leaves_no_process_behind(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    process, run = start_and_wait_for_step(tmp_path, 5)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=60)
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    again = fsft("run", "tiny.toml", *LONG, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert [step.step for step in steps_in(run)] == list(range(1, 401))


def test_two_runs_of_one_recipe_at_once_are_refused(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    process, _ = start_and_wait_for_step(tmp_path, 1)
    second = fsft("run", "tiny.toml", *LONG, cwd=tmp_path)
    assert second.returncode == 3
    assert f"going on in process {process.pid}" in second.stderr
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 75


def test_plain_text_is_trained_on_without_questions(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    write_jsonl(tmp_path / "train.jsonl", [{"text": answer} for _, answer in QUESTIONS])
    done = fsft("run", "tiny.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((only_run(tmp_path) / "report" / "report.json").read_text())
    assert report["exact_match"] is None
    assert report["num_questions"] == 0
    assert report["evaluation_loss"] > 0
    assert report["data"]["splits"]["train"]["sources"][0]["format"] == "text"
