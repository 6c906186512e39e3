"""Every layout gives the losses, gradient norms and weights of one process."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest

from fsft.runtime.run_directory import RunDirectory
from tests.runtime.train.deviations import BOUNDS, deviations
from tests.runtime.train.layouts import Layout, Subject, matrix
from tests.runtime.train.training import trained

FAST = {
    (Layout(2, data=2), Subject("llama", "padded", "float32")),
    (Layout(3, data=2), Subject("llama", "packed", "float32")),
    (Layout(1, sequence=2), Subject("llama", "packed", "float32")),
    (Layout(1, tensor=2), Subject("llama", "packed", "float32")),
    (Layout(1, pipeline=2), Subject("llama", "packed", "float32")),
    (Layout(1, pipeline=2, halves=(1, 3)), Subject("llama", "packed", "float32")),
    (Layout(2, data=2, expert=2), Subject("qwen2_moe", "packed", "float32")),
}

Reference = Callable[[Subject], RunDirectory]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """What one process made of a subject."""

    @lru_cache
    def made(subject: Subject) -> RunDirectory:
        folder = tmp_path_factory.mktemp("alone") / "run"
        return trained(folder, *subject.alone.overrides, *subject.overrides, num_processes=1)

    return made


@pytest.mark.parametrize(
    ("layout", "subject"),
    [
        pytest.param(
            layout,
            subject,
            id=f"{layout.name}: {subject.name}",
            marks=[] if (layout, subject) in FAST else [pytest.mark.slow],
        )
        for layout, subject in matrix()
    ],
)
def test_a_layout_trains_as_one_process_does(
    tmp_path: Path, reference: Reference, layout: Layout, subject: Subject
) -> None:
    run = trained(
        tmp_path / "run",
        *layout.overrides,
        *subject.overrides,
        num_processes=layout.num_processes,
    )
    found = deviations(reference(subject), run)
    assert found.within(BOUNDS[subject.dtype]), found


def test_the_fast_ones_are_part_of_the_matrix() -> None:
    assert set(matrix()) >= FAST


def test_the_page_in_the_docs_shows_every_layout_and_leaves_nothing_out() -> None:
    page = (Path(__file__).parents[3] / "docs" / "equivalence.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ZeRO")]
    assert {row.split(" | ")[0].removeprefix("| ") for row in rows} == {
        layout.name for layout, _ in matrix()
    }
    assert not [row for row in rows if "–" in row]
