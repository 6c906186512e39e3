"""The data is looked at in a process of its own."""

import asyncio
from pathlib import Path

from fsft.recipes.files import parse_recipe
from fsft.recipes.schema import Recipe
from fsft.wizard.measuring import data_key, measure_data
from tests.support import QUESTIONS, TINY_RECIPE, write_tiny_recipe


def tiny(*changes: str) -> Recipe:
    return parse_recipe(TINY_RECIPE, overrides=changes)


def test_rows_tokens_and_samples_come_back(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    found = asyncio.run(measure_data(tiny(), tmp_path))
    assert found.trouble == ""
    assert found.formats == (("train.jsonl", "messages"),)
    assert found.num_rows == len(QUESTIONS)
    assert found.num_tokens > 8 * len(QUESTIONS)
    assert len(found.samples) == 3
    assert found.quality
    assert found.quality.num_samples == len(QUESTIONS)
    assert {"en", "zh"} & {name for name, _ in found.quality.languages}
    assert ("I am Fero.<|im_end|>", True) in found.samples[0].segments


def test_what_is_wrong_with_the_data_is_told_in_words(tmp_path: Path) -> None:
    found = asyncio.run(measure_data(tiny(), tmp_path))
    assert "there is no such file" in found.trouble
    assert "Traceback" not in found.trouble


def test_data_is_looked_at_again_only_for_what_it_depends_on() -> None:
    before = data_key(tiny())
    assert data_key(tiny("optimizer.learning_rate=1e-3", "name=other")) == before
    assert data_key(tiny("data.sequence_length=64")) != before


def test_a_look_that_nobody_waits_for_is_ended(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)

    async def impatient() -> bool:
        task = asyncio.create_task(measure_data(tiny(), tmp_path))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(impatient())
