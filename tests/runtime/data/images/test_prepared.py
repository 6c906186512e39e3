"""Data with images, prepared: what is stored, what is shown, and what is left out."""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fsft.recipes.events import SampleShown, read_events
from fsft.recipes.files import read_recipe
from fsft.recipes.inputs import resolve_paths
from fsft.recipes.problems import Refused
from fsft.recipes.schema import Data, Recipe, Source
from fsft.runtime.context import StageContext
from fsft.runtime.data.files import find_files
from fsft.runtime.data.images.family import IMAGE_TEXTS
from fsft.runtime.data.images.files import image_folder
from fsft.runtime.data.images.ids import ImageIds
from fsft.runtime.data.look import look
from fsft.runtime.data.parts import Part
from fsft.runtime.data.prepare import prepare
from fsft.runtime.data.samples import BadRows, SourceCounts
from fsft.runtime.data.text_tokenizer import text_tokenizer
from fsft.runtime.data.token_rows import read_token_rows
from fsft.runtime.data.training_set import TokenRows
from fsft.runtime.event_log import EventLog
from fsft.runtime.run_directory import RunDirectory
from tests.image_support import ROWS, write_image_recipe
from tests.runtime.data.images.models import FAMILIES
from tests.support import write_jsonl


def prepared(recipe: Recipe, folder: Path) -> RunDirectory:
    run = RunDirectory(folder / "run")
    prepare(StageContext("prepare", recipe, run, EventLog(run.events_file), fingerprint=""))
    return run


def recipe_in(folder: Path, *overrides: str, family: str = "qwen2_5_vl") -> Recipe:
    return resolve_paths(read_recipe(write_image_recipe(folder, family), overrides), folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_keep_the_names_of_their_images(family: str, tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path, family=family)
    run = prepared(recipe, tmp_path)
    (part,) = (run.data / "train").glob("part-*.parquet")
    names = pq.read_table(part)["images"].to_pylist()
    assert [len(one) for one in names] == [len(sizes) for *_, sizes in ROWS]
    assert names[2] == ["pictures/2-0.png", "pictures/2-1.png"]
    rows = TokenRows(run.data / "train", [image_folder(source) for source in recipe.data.train])
    assert rows.images.of(2) == tuple(f"{tmp_path}/{name}" for name in names[2])
    (shown,) = (e for e in read_events(run.events_file) if isinstance(e, SampleShown))
    assert "[image 0-0.png 60×40 → " in "".join(text for text, _ in shown.segments)


def test_the_order_of_preparing_changes_nothing(tmp_path: Path) -> None:
    contents = set()
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        run = prepared(recipe_in(folder, f"data.workers={workers}"), folder)
        contents.add(b"".join(p.read_bytes() for p in sorted((run.data / "train").glob("*.par*"))))
    assert len(contents) == 1


def _break(folder: Path) -> Sequence[tuple[int, str, str]]:
    """Break pictures; returns the line, the picture, and what is wrong with it."""
    pictures = folder / "pictures"
    (pictures / "0-0.png").unlink()
    (pictures / "2-1.png").write_bytes(b"")
    whole = (pictures / "5-0.png").read_bytes()
    (pictures / "5-0.png").write_bytes(whole[: len(whole) // 2])
    return [(1, "0-0.png", "No such file"), (3, "2-1.png", "is no image"), (6, "5-0.png", "")]


def test_a_broken_image_stops_with_its_file_line_and_name(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path)
    broken = _break(tmp_path)
    rows = (tmp_path / "train.jsonl").read_text().splitlines()
    for line, name, reason in broken:
        (tmp_path / "train.jsonl").write_text("\n".join(["", rows[line - 1], rows[1]]) + "\n")
        with pytest.raises(Refused) as caught:
            prepared(recipe, tmp_path)
        problem, hint = caught.value.problems
        assert "on_error" in hint.reason
        assert (problem.file, problem.line) == (str(tmp_path / "train.jsonl"), 2)
        assert name in problem.reason
        assert reason in problem.reason


def test_samples_with_broken_images_are_skipped_and_counted(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path, "data.on_error=skip")
    _break(tmp_path)
    run = prepared(recipe, tmp_path)
    (source,) = json.loads(run.data_info.read_text())["splits"]["train"]["sources"]
    assert (source["num_read"], source["num_used"], source["num_broken"]) == (8, 5, 3)
    rows = TokenRows(run.data / "train", [image_folder(source) for source in recipe.data.train])
    assert [len(rows.images.of(index)) for index in range(5)] == [0, 1, 0, 0, 1]


def test_images_for_a_model_that_takes_none_are_refused(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path)
    text = {"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 1}
    model = recipe.model.model_copy(update={"config": text})
    with pytest.raises(Refused, match=r"the row has images, which the model does not take"):
        prepared(recipe.model_copy(update={"model": model}), tmp_path)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_look_names_images_and_their_tokens(family: str, tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path, family=family)
    seen = look(recipe, 3)
    text = "".join(text for text, _ in seen.samples[2].segments)
    assert seen.samples[2].about == "images pictures/2-0.png, pictures/2-1.png"
    assert text.count("[image 2-0.png 40×40 → ") == 1
    assert text.count("[image 2-1.png 90×30 → ") == 1
    assert "<|image_pad|>" not in text
    assert "<IMG_CONTEXT>" not in text
    assert seen.files[0].num_unusable == 0
    info = json.loads(prepared(recipe, tmp_path).data_info.read_text())
    assert seen.num_tokens == info["splits"]["train"]["num_tokens"]


def test_image_limits_make_fewer_tokens(tmp_path: Path) -> None:
    for family, key, value in (
        ("qwen2_vl", "image_max_pixels", 800),
        ("internvl", "image_max_tiles", 1),
    ):
        folder = tmp_path / family
        folder.mkdir()
        many = look(recipe_in(folder, family=family), 0).num_tokens
        few = look(recipe_in(folder, f"data.{key}={value}", family=family), 0).num_tokens
        assert many
        assert few
        assert few < many


def test_token_ids_are_read_again_with_their_images(tmp_path: Path) -> None:
    run = prepared(recipe_in(tmp_path), tmp_path)
    (path,) = (run.data / "train").glob("part-*.parquet")
    source = Source(path=str(path), format="tokens", images=str(tmp_path))
    data = Data(train=[source], sequence_length=256)
    part = Part(tuple(find_files(source)))
    texts = text_tokenizer(run.tokenizer)
    ids = ImageIds(IMAGE_TEXTS["qwen2_5_vl"], texts)
    counts = SourceCounts(source.path, "tokens")
    given = (part, source, data, counts, BadRows(part, data, counts))
    (batch,) = read_token_rows(*given, vocab_size=len(texts), image_ids=ids)
    assert [len(sample.images) for sample in batch.samples] == [len(sizes) for *_, sizes in ROWS]
    with pytest.raises(Refused, match="names images, which the model does not take"):
        list(read_token_rows(*given, vocab_size=len(texts)))


def test_images_may_stand_in_parts_as_openai_writes_them(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path)
    part = {"type": "image_url", "image_url": {"url": "pictures/2-1.png"}}
    content = [{"type": "text", "text": "Who is "}, part, {"type": "text", "text": "?"}]
    turns = [{"role": "user", "content": content}, {"role": "assistant", "content": "Noise."}]
    write_jsonl(tmp_path / "train.jsonl", [{"messages": turns}] * 3)
    (shown,) = look(recipe, 1).samples
    assert "Who is [image 2-1.png 90×30 → " in "".join(text for text, _ in shown.segments)
