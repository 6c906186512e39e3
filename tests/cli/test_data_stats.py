"""`fsft data stats`."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support import TINY_RECIPE, dialogue, fsft, write_jsonl, write_tiny_recipe

EVAL = '\n[[data.eval]]\npath = "eval.jsonl"\n'


def messy(folder: Path) -> Path:
    """A recipe with a duplicate, an e-mail address and a leak."""
    recipe = write_tiny_recipe(folder, TINY_RECIPE + EVAL)
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    write_jsonl(folder / "train.jsonl", [*rows, rows[0], dialogue("mail", "jane@mail.org")])
    write_jsonl(folder / "eval.jsonl", [rows[4], dialogue("Where?", "Here, in the garden.")])
    return recipe


def test_findings_are_printed_drawn_and_no_failure(tmp_path: Path) -> None:
    arguments = ("--html", "out/page.html", "--png", "out/picture.png")
    done = fsft("data", "stats", messy(tmp_path), *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for said in (
        "train: 10 samples",
        "characters",
        "language",
        "█",
        "duplicates: 1 exact, 0 near",
        "train.jsonl:9 repeats",
        "e-mail: in 1 samples",
        "evaluation samples seen in training: 1 (1 exactly",
    ):
        assert said in done.stdout
    assert "jane@mail.org" not in done.stdout
    assert (tmp_path / "out" / "picture.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "out" / "page.html").read_text()
    assert "<svg" in page
    assert "jane@mail.org" not in page
    assert "<img" not in page
    assert "<script" not in page


def test_programs_get_json(tmp_path: Path) -> None:
    done = fsft("data", "stats", messy(tmp_path), "--json", "--max-samples", "4", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert told["summary"]["is_whole"] is False
    assert told["splits"][0]["num_samples"] == 4


def test_data_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    recipe = messy(tmp_path)
    (tmp_path / "eval.jsonl").write_text("{\n")
    done = fsft("data", "stats", recipe, cwd=tmp_path)
    assert done.returncode == 3
    (tmp_path / "eval.jsonl").unlink()
    done = fsft("data", "stats", recipe, cwd=tmp_path)
    assert (done.returncode, "there is no such file" in done.stderr) == (3, True)
    done = fsft("data", "stats", recipe, "--png", "picture.gif", cwd=tmp_path)
    assert (done.returncode, "neither" in done.stderr) == (2, True)


def test_without_the_quality_extra_the_way_to_install_it_is_told(tmp_path: Path) -> None:
    messy(tmp_path)
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['rensa', 'py3langid']))\n"
        "sys.argv = ['fsft', 'data', 'stats', 'tiny.toml']\n"
        "from fsft.cli.app import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert 'pip install "fsft[quality]"' in done.stderr
