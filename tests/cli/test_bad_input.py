"""What goes wrong is told in one clear message, with the right exit code, and loses nothing."""

import gzip
import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.train.marks import latest_checkpoint
from tests.support import (
    QUESTIONS,
    TINY_RECIPE,
    dialogue,
    fsft,
    only_run,
    write_jsonl,
    write_tiny_recipe,
)


def problems(folder: Path, *arguments: str, code: int) -> str:
    """What `fsft` says on stderr when it refuses or fails."""
    done = fsft(*arguments, cwd=folder)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TINY_RECIPE.replace("zero = 1", "zero = "), "tiny.toml:38: not valid TOML"),
        (TINY_RECIPE.replace("zero = 1", "zerro = 1"), "Did you mean `parallel.zero`?"),
        (TINY_RECIPE.replace("zero = 1", 'zero = "one"'), 'parallel.zero: "one" is not one of'),
        (TINY_RECIPE.replace("schema = 1", "schema = 9"), "pip install --upgrade fsft"),
        ("", "model: is missing"),
    ],
)
def test_a_wrong_recipe_is_a_usage_error(tmp_path: Path, text: str, said: str) -> None:
    write_tiny_recipe(tmp_path, text)
    assert said in problems(tmp_path, "run", "tiny.toml", code=2)


def test_no_recipe_at_all_is_a_usage_error(tmp_path: Path) -> None:
    assert "no such recipe file" in problems(tmp_path, "run", "none.toml", code=2)
    assert "neither a recipe file nor" in problems(tmp_path, "run", "none", code=2)


def test_all_missing_files_are_named_at_once_before_anything_starts(tmp_path: Path) -> None:
    second = '\n[[data.train]]\npath = "more.jsonl"\n'
    text = TINY_RECIPE.replace("[data.tokenizer]", f"{second}\n[data.tokenizer]")
    write_tiny_recipe(tmp_path, text.replace('"chatml"', '"none.jinja"'))
    (tmp_path / "train.jsonl").write_text("")
    said = problems(tmp_path, "run", "tiny.toml", code=3)
    assert "train.jsonl: data.train.0.path: the file is empty." in said
    assert "more.jsonl: data.train.1.path: there is no such file." in said
    assert "none.jinja: data.template: there is no such file." in said
    assert not (tmp_path / "runs").exists()


def test_broken_lines_are_named_by_their_number_or_skipped_and_counted(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write('{"messages": [}\n')
        file.write('{"messages": [{"role": "robot", "content": "beep"}]}\n')
    said = problems(tmp_path, "run", "tiny.toml", "--until", "prepare", code=3)
    assert f"train.jsonl:{len(QUESTIONS) + 1}: is not valid JSON" in said
    assert f"train.jsonl:{len(QUESTIONS) + 2}: turn 1 has the unknown role 'robot'" in said
    assert 'set data.on_error = "skip"' in said
    skip = ("--set", "data.on_error=skip", "--until", "prepare", "--json")
    done = fsft("run", "tiny.toml", *skip, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = RunDirectory(tmp_path / json.loads(done.stdout)["run"])
    (source,) = json.loads(run.data_info.read_text())["splits"]["train"]["sources"]
    assert (source["num_read"], source["num_used"], source["num_broken"]) == (10, 8, 2)


def test_broken_files_of_a_folder_are_named_or_skipped_and_counted(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path, TINY_RECIPE.replace('"train.jsonl"', '"数 据"'))
    data = tmp_path / "数 据"
    data.mkdir()
    whole = (tmp_path / "train.jsonl").read_bytes()
    (data / "a.jsonl").write_bytes(whole)
    (data / "b.jsonl.gz").write_bytes(gzip.compress(whole)[:12])
    (data / "c.parquet").write_bytes(b"PAR1, or so it says")
    (data / "d.json").write_text("[\n1,\n")
    (data / "e.csv").write_text('text\n"one\n')
    (data / "round").symlink_to(data)
    said = problems(tmp_path, "run", "tiny.toml", "--until", "prepare", code=3)
    for place in ("b.jsonl.gz: the gzip data", "c.parquet: is not valid", "d.json:2: is not valid"):
        assert f"数 据/{place}" in said
    assert "数 据/e.csv:2: is not valid csv" in said
    skip = ("--set", "data.on_error=skip", "--until", "prepare", "--json")
    done = fsft("run", "tiny.toml", *skip, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = RunDirectory(tmp_path / json.loads(done.stdout)["run"])
    (source,) = json.loads(run.data_info.read_text())["splits"]["train"]["sources"]
    assert source["num_used"] == len(QUESTIONS)
    assert source["num_broken"] == source["num_read"] - len(QUESTIONS)
    assert "数 据/b.jsonl.gz: the gzip data is broken" in source["first_broken"]


def test_samples_that_cannot_be_used_are_counted_by_reason(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    rows = [dialogue("q", "a " * 200), dialogue("q", ""), dialogue("Who?", "I.")]
    write_jsonl(tmp_path / "train.jsonl", rows)
    done = fsft("run", "tiny.toml", "--until", "prepare", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    info = json.loads(RunDirectory(only_run(tmp_path)).data_info.read_text())
    (source,) = info["splits"]["train"]["sources"]
    assert (source["num_too_long"], source["num_empty"], source["num_used"]) == (1, 1, 1)
    assert "2 left out" in done.stderr


def test_a_template_that_masks_everything_is_refused(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path, TINY_RECIPE.replace('"chatml"', '"mute.jinja"'))
    (tmp_path / "mute.jinja").write_text("{{ messages[0]['content'] }}")
    said = problems(tmp_path, "run", "tiny.toml", code=3)
    assert "no sample is left to learn from" in said
    assert "8 in which the chat template leaves no token to learn" in said


def test_an_unknown_template_names_the_known_ones(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path, TINY_RECIPE.replace('"chatml"', '"chatmll"'))
    assert "auto, alpaca, baichuan2," in problems(tmp_path, "run", "tiny.toml", code=3)


def test_a_model_folder_without_weights_or_tokenizer_is_refused(tmp_path: Path) -> None:
    start, end = TINY_RECIPE.index("[model]"), TINY_RECIPE.index("[data]")
    text = TINY_RECIPE[:start] + '[model]\npath = "./base"\n\n' + TINY_RECIPE[end:]
    text = text.replace("[data.tokenizer]\nvocab_size = 320\n", "")
    write_tiny_recipe(tmp_path, text)
    assert "there is no such folder" in problems(tmp_path, "run", "tiny.toml", code=3)
    (tmp_path / "base").mkdir()
    said = problems(tmp_path, "run", "tiny.toml", code=3)
    assert "holds no config.json" in said
    assert "holds no weights" in said
    assert "holds no tokenizer" in said


def test_an_impossible_model_is_refused_with_the_reason_of_transformers(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    said = problems(tmp_path, "run", "tiny.toml", "--set", "model.config.model_type=lama", code=3)
    assert "the model cannot be built" in said
    assert "lama" in said


OPT = (
    'model.config.model_type="opt"',
    "model.config.ffn_dim=64",
    "model.config.word_embed_proj_dim=32",
    "model.config.num_key_value_heads=4",
)
HALVES = (
    "parallel.pipeline=2",
    "parallel.gradient_accumulation=2",
    'parallel.pipeline_units="halves"',
    "parallel.pipeline_split=[1, 3]",
)


@pytest.mark.slow
def test_what_training_processes_refuse_is_refused_and_the_mended_recipe_goes_on(
    tmp_path: Path,
) -> None:
    write_tiny_recipe(tmp_path)

    def changed(*changes: str) -> tuple[str, ...]:
        overrides = (part for each in (*OPT, *changes) for part in ("--set", each))
        return ("run", "tiny.toml", "--until", "train", *overrides)

    said = problems(tmp_path, *changed(*HALVES), code=3)
    assert "✗ data.packing: opt does not keep the samples of a row apart" in said
    assert said.rstrip().endswith("For example: packing = false")
    said = problems(tmp_path, *changed("data.packing=false", *HALVES), code=3)
    assert "parallel.pipeline_units: OPTDecoderLayer cannot be divided" in said
    before = set((tmp_path / "runs").iterdir())
    done = fsft(*changed("data.packing=false", *HALVES[:2]), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set((tmp_path / "runs").iterdir()) == before


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_checkpoint(
    tmp_path: Path,
) -> None:
    write_tiny_recipe(tmp_path)
    wild = ("--set", "optimizer.learning_rate=1e38", "--set", "checkpoint.every=1")
    said = problems(tmp_path, "run", "tiny.toml", *wild, code=1)
    assert "became nan at step" in said
    assert "Lower optimizer.learning_rate" in said
    assert latest_checkpoint(only_run(tmp_path) / "checkpoints")


def test_asking_a_run_that_is_not_trained_says_what_to_do_first(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    assert "is not a run directory" in problems(tmp_path, "generate", ".", "--prompt", "x", code=3)
    assert fsft("run", "tiny.toml", "--until", "prepare", cwd=tmp_path).returncode == 0
    run = str(only_run(tmp_path))
    assert "no trained model yet" in problems(tmp_path, "generate", run, "--prompt", "x", code=3)
    assert "no trained model yet" in problems(tmp_path, "serve", run, code=3)
    assert "nothing to ask" in problems(tmp_path, "generate", run, code=2)


def test_a_port_in_use_is_refused_with_another_one(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    assert fsft("run", "tiny.toml", "--until", "prepare", cwd=tmp_path).returncode == 0
    run = only_run(tmp_path)
    (run / "model").mkdir()
    (run / "model" / "config.json").write_text("{}")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = problems(tmp_path, "serve", str(run), "--port", str(port), code=3)
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert f"--port {port + 1}" in said


def test_a_server_that_cannot_load_the_model_fails_with_its_log(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    assert fsft("run", "tiny.toml", "--until", "prepare", cwd=tmp_path).returncode == 0
    run = only_run(tmp_path)
    (run / "model").mkdir()
    (run / "model" / "config.json").write_text('{"model_type": "llama"}')
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = fsft("serve", run, "--port", str(port), cwd=tmp_path)
    assert done.returncode == 1
    assert "the server ended by itself. Its log" in done.stderr


def test_a_full_disk_is_named_and_a_rerun_completes(tmp_path: Path, small_disk: Path) -> None:
    write_tiny_recipe(tmp_path)
    runs = ("--runs", str(small_disk), "--until", "train")
    ballast = small_disk / "ballast"
    prepare = ("--runs", str(small_disk), "--until", "prepare")
    assert fsft("run", "tiny.toml", *prepare, cwd=tmp_path).returncode == 0
    (path,) = (p for p in small_disk.iterdir() if p.is_dir())
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(b"\0" * (free - 600_000))
    said = problems(tmp_path, "run", "tiny.toml", *runs, code=1)
    assert "no space is left on the disk" in said
    assert "prepare" in RunDirectory(path).finished_stages()
    ballast.unlink()
    done = fsft("run", "tiny.toml", *runs, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [["run", "tiny.toml"], ["generate", "run", "--prompt", "x"]])
def test_without_the_train_extra_the_way_to_install_it_is_told(
    tmp_path: Path, command: list[str]
) -> None:
    write_tiny_recipe(tmp_path)
    (tmp_path / "run" / "model").mkdir(parents=True)
    shutil.copy(tmp_path / "tiny.toml", tmp_path / "run" / "recipe.toml")
    hidden = ("torch", "transformers", "pyarrow", "numpy")
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({hidden!r}))\n"
        f"sys.argv = ['fsft', *{command!r}]\n"
        "from fsft.cli.app import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert 'pip install "fsft[train]"' in done.stderr


LIKED = {"prompt": "q", "chosen": "a", "rejected": "b"}


@pytest.mark.parametrize(("command", "shape"), [("check", "auto"), ("run", "preference")])
def test_answers_that_people_liked_are_refused_before_anything_is_done(
    command: str, shape: str, tmp_path: Path
) -> None:
    write_tiny_recipe(tmp_path)
    write_jsonl(tmp_path / "train.jsonl", [LIKED])
    said = problems(tmp_path, command, "tiny.toml", f"--set=data.train.0.format={shape}", code=3)
    assert "data.train.0.format: the preference shape says which answers people liked" in said
    assert not list(tmp_path.glob("runs/tiny-*"))


def test_a_run_finds_at_the_first_row_that_people_liked_an_answer(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    write_jsonl(tmp_path / "train.jsonl", [LIKED])
    said = problems(tmp_path, "run", "tiny.toml", code=3)
    assert "the preference shape says which answers people liked" in said


def test_rows_of_no_known_shape_are_found_by_check(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    write_jsonl(tmp_path / "train.jsonl", [{"a": 1}])
    said = problems(tmp_path, "check", "tiny.toml", code=3)
    assert "train.jsonl:1: the row has none of the known shapes; its fields: a" in said
