"""A run does not go on with other images than those that its data was prepared with."""

import uuid
from pathlib import Path

import fsspec
import pytest

from fsft.recipes.files import read_recipe
from fsft.recipes.problems import Refused
from fsft.recipes.stages import Stage
from fsft.runtime.data.images import hashes
from fsft.runtime.run import RunPlan, execute, plan_run
from tests.image_support import write_image_recipe
from tests.runtime.data.images.models import picture
from tests.support import write_tiny_recipe


def elsewhere(folder: Path) -> str:
    """The pictures of a folder as those of a store in memory; where they are."""
    store = f"memory://{folder.name}-{uuid.uuid4().hex}"
    fs, root = fsspec.url_to_fs(store)
    for path in (folder / "pictures").iterdir():
        fs.pipe(f"{root}/pictures/{path.name}", path.read_bytes())
    return store


def planned(folder: Path, first: Stage | None = None, *overrides: str) -> RunPlan:
    recipe = read_recipe(folder / "tiny.toml", overrides)
    return plan_run(recipe, folder, folder / "runs", first=first, last="prepare")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a run whose data is prepared."""
    write_image_recipe(tmp_path)
    execute(planned(tmp_path))
    return tmp_path


def test_an_image_that_was_replaced_is_named_by_a_rerun_until_data_is_prepared_anew(
    folder: Path,
) -> None:
    assert not planned(folder).needed
    (folder / "pictures" / "0-0.png").unlink()
    picture(folder / "pictures" / "0-0.png", 60, 41)
    with pytest.raises(Refused, match=r"0-0.png: is not the image that the data was prepared"):
        planned(folder)
    execute(planned(folder, "prepare"))
    assert not planned(folder).needed


def test_images_that_are_only_touched_or_copied_change_nothing(folder: Path) -> None:
    content = (folder / "pictures" / "0-0.png").read_bytes()
    (folder / "pictures" / "0-0.png").unlink()
    (folder / "pictures" / "0-0.png").write_bytes(content)
    (folder / "pictures" / "2-0.png").touch()
    assert not planned(folder).needed


def test_data_prepared_with_other_images_is_not_taken_over_by_another_run(folder: Path) -> None:
    picture(folder / "pictures" / "0-0.png", 60, 41)
    other = planned(folder, None, "optimizer.learning_rate=1e-2")
    execute(other)
    assert "taken over" not in other.run.finished_stages()["prepare"].summary
    assert not planned(folder, None, "optimizer.learning_rate=1e-2").needed


def test_text_alone_leaves_no_hashes_of_images(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    plan = planned(tmp_path)
    execute(plan)
    assert not list(plan.run.data.glob("image*"))


def test_images_behind_urls_are_compared_by_their_content(tmp_path: Path) -> None:
    write_image_recipe(tmp_path)
    store = elsewhere(tmp_path)
    fs, one = fsspec.url_to_fs(f"{store}/pictures/0-0.png")
    there = f'data.train.0.images="{store}"'
    execute(planned(tmp_path, None, there))
    fs.pipe(one, fs.cat(one))
    assert not planned(tmp_path, None, there).needed
    picture(tmp_path / "other.png", 60, 41)
    fs.pipe(one, (tmp_path / "other.png").read_bytes())
    with pytest.raises(Refused, match=r"0-0.png: is not the image that the data was prepared"):
        planned(tmp_path, None, there)
    fs.rm(one)
    with pytest.raises(Refused, match=r"0-0.png: there is no such file"):
        planned(tmp_path, None, there)


def test_what_a_storage_says_of_an_image_saves_reading_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image_recipe(tmp_path)
    there = f'data.train.0.images="{elsewhere(tmp_path)}"'
    execute(planned(tmp_path, None, there))
    monkeypatch.setattr(hashes, "RemoteFile", None)
    assert not planned(tmp_path, None, there).needed
