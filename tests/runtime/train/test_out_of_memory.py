"""Memory that runs out in training ends the run with the layout to try next."""

import re
import sys
from pathlib import Path

import pytest
import torch

from fsft.recipes.events import Failed
from fsft.recipes.files import parse_recipe
from fsft.recipes.problems import ExitCode, RunFailed
from fsft.runtime.context import StageContext
from fsft.runtime.event_log import EventLog
from fsft.runtime.launch import train as launch
from fsft.runtime.planning import planned, smaller_layout
from fsft.runtime.troubles import is_out_of_memory
from tests.runtime.train.training import prepared
from tests.support import TINY_RECIPE, events_of

WIDE = (
    "data.sequence_length=1024",
    "model.config.max_position_embeddings=1024",
    "model.config.hidden_size=256",
    "model.config.num_hidden_layers=8",
    "parallel.micro_batch=32",
)
"""A layout that is planned to need some GiB, most of it for activations."""

PROGRAM = """
from unittest.mock import patch
import torch
from fsft.runtime.train import whole_steps
from fsft.runtime.train.__main__ import main

error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
with patch.object(whole_steps, "loss_of", side_effect=error):
    main()
"""
"""The training program, on a device that is full in its first step."""


def test_a_first_step_without_memory_names_the_planners_next_best_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepared(tmp_path / "run", *WIDE, "hardware.devices_per_node=1")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    command = [*torchrun, "1", str(program), str(run.path), "cpu"]
    monkeypatch.setattr(launch, "launch_commands", lambda *_: [command])
    context = StageContext("train", run.recipe(), run, EventLog(run.events_file), fingerprint="")
    with pytest.raises(RunFailed) as failed:
        launch.train(context)
    assert failed.value.exit_code == ExitCode.FAILED
    expected = smaller_layout(run.recipe())
    assert "--set parallel." in expected
    message = str(failed.value)
    assert "out of memory: CUDA out of memory. Tried to allocate 2.00 GiB. The planner" in message
    assert expected in message
    (event,) = (event for event in events_of(run.path) if isinstance(event, Failed))
    assert expected in event.message


@pytest.mark.parametrize("micro_batch", [8, 32])
@pytest.mark.parametrize("zero", [0, 3])
def test_the_next_best_layout_keeps_the_rows_of_a_step_and_needs_less(
    micro_batch: int, zero: int
) -> None:
    changes = (f"parallel.micro_batch={micro_batch}", f"parallel.zero={zero}")
    recipe = parse_recipe(TINY_RECIPE, overrides=[*WIDE, *changes])
    message = smaller_layout(recipe)
    overrides = re.findall(r"--set (parallel\.\S+)", message)
    other = parse_recipe(TINY_RECIPE, overrides=[*WIDE, *changes, *overrides])
    assert other.parallel.settled.global_batch(2) == recipe.parallel.settled.global_batch(2)
    before, after = (planned(one).expected["allocated_bytes"] for one in (recipe, other))
    assert after < 0.9 * before


def test_a_host_without_memory_is_known_as_such() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("the sizes do not match"))


def test_where_no_layout_needs_less_something_else_is_named() -> None:
    message = smaller_layout(parse_recipe(TINY_RECIPE))
    assert message.startswith("What the planner finds: ")
