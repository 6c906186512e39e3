"""A run does not go on with other images than those that its data was prepared with."""

from pathlib import Path

import pytest

from fsft.recipes.files import read_recipe
from fsft.recipes.problems import Refused
from fsft.recipes.stages import Stage
from fsft.runtime.run import RunPlan, execute, plan_run
from tests.image_support import write_image_recipe
from tests.runtime.data.images.models import picture
from tests.support import write_tiny_recipe


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
