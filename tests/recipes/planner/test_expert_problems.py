"""Experts that cannot be spread are refused in words, before anything is planned or trained."""

from pathlib import Path

import pytest

from fsft.recipes.files import read_recipe
from fsft.recipes.planner.expert_problems import expert_problems
from fsft.recipes.planner.questions import shape_of
from tests.support import fsft, write_tiny_recipe

MIXTRAL = ('model.config.model_type="mixtral"', "model.config.num_local_experts=4")


def problems(folder: Path, *overrides: str, num_processes: int | None, known: bool) -> list[str]:
    recipe = read_recipe(write_tiny_recipe(folder), list(overrides))
    shape = shape_of(recipe) if known else None
    return [str(problem) for problem in expert_problems(recipe, shape, num_processes)]


@pytest.mark.parametrize(
    ("overrides", "num_processes", "known", "reason"),
    [
        (("parallel.expert=2",), 2, True, "llama has no experts"),
        ((*MIXTRAL, "parallel.expert=3"), 3, True, "4 experts cannot be divided by EP 3"),
        ((*MIXTRAL, "parallel.expert=2"), 3, False, "3 data ranks cannot be divided by EP 2"),
        (("parallel.expert=2", "parallel.zero=3"), None, False, "ZeRO 3 and expert parallelism"),
        (("parallel.expert=2", "parallel.tensor=2"), None, False, "data parallel ranks only"),
        (("parallel.expert=2", "parallel.pipeline=2"), None, False, "data parallel ranks only"),
    ],
)
def test_experts_that_cannot_be_spread_are_refused(
    tmp_path: Path,
    overrides: tuple[str, ...],
    num_processes: int | None,
    known: bool,
    reason: str,
) -> None:
    (found,) = problems(tmp_path, *overrides, num_processes=num_processes, known=known)
    assert found.startswith("parallel.expert: ")
    assert reason in found


@pytest.mark.parametrize("overrides", [(), ("parallel.expert=2",), ('parallel.expert="auto"',)])
def test_what_is_not_known_forbids_nothing(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    assert not problems(tmp_path, *overrides, num_processes=None, known=False)


@pytest.mark.parametrize("command", [("check",), ("plan",), ("run", "--dry-run")])
def test_each_command_refuses_experts_of_a_model_that_has_none(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    name, *options = command
    recipe = write_tiny_recipe(tmp_path)
    done = fsft(name, recipe, *options, "--set", "parallel.expert=2", cwd=tmp_path)
    assert done.returncode == 3
    assert "llama has no experts" in done.stdout + done.stderr
