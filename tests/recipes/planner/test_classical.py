"""The published estimate is reproduced, digit for digit."""

import pytest

from fsft.recipes.planner.classical import ClassicalModel, classical_estimate

LLAMA_70B = ClassicalModel(
    hidden=8192, num_layers=80, sequence_length=4096, vocab_size=32000, batch=8
)


def published() -> dict[str, tuple[float, ...]]:
    """The table of the scripts' README for LLaMA-70B on 6 nodes of 4 × 80 GB, 0.7B tokens."""
    return {
        "embedding": (0.30, 0.59, 4.73),
        "one layer": (0.81, 1.61, 12.89),
        "input": (0.27, 0.54),
        "activation of one sequence": (9.55, 19.11),
        "all": (92.01, 184.03, 1090.17),
        "ZeRO 1": (129.45, 345.84),
        "ZeRO 2": (129.45, 221.78),
        "ZeRO 3": (5.39, 97.73),
    }


def test_the_published_70b_table_is_reproduced_to_every_digit() -> None:
    estimate = classical_estimate(
        LLAMA_70B, num_nodes=6, devices_per_node=4, device_gigabytes=80, num_tokens=0.7e9
    )
    printed = {
        row.name: tuple(round(x, 2) for x in (row.size, row.evaluate, row.train) if x is not None)
        for row in estimate.modules
    }
    printed |= {name: (round(a, 2), round(b, 2)) for name, a, b in estimate.per_device}
    assert printed == published()


def test_the_published_70b_recommendation_is_reproduced() -> None:
    estimate = classical_estimate(
        LLAMA_70B, num_nodes=6, devices_per_node=4, device_gigabytes=80, num_tokens=0.7e9
    )
    split, sharded = estimate.layouts
    assert (split.zero, split.tensor, split.pipeline, split.data) == ("Zero1+TP+PP", 4, 6, 1)
    assert round(split.memory, 2) == 56.79
    assert round(split.days, 2) == 1.25
    assert (sharded.zero, round(sharded.memory, 2)) == ("Zero3+(offload)", 97.73)
    assert split.reason == "can't use pure Zero1 or Zero2"


@pytest.mark.parametrize(
    ("num_nodes", "devices_per_node", "gigabytes", "expected"),
    [
        (128, 8, 400, "Zero1"),
        (128, 8, 314, "Zero1+offload"),
        (128, 8, 250, "Zero2"),
        (1, 8, 80, "ZeRO-Infinity"),
        (1, 8, 160, "Zero1+TP"),
    ],
)
def test_each_branch_of_the_published_rule_is_taken(
    num_nodes: int, devices_per_node: int, gigabytes: float, expected: str
) -> None:
    estimate = classical_estimate(
        LLAMA_70B,
        num_nodes=num_nodes,
        devices_per_node=devices_per_node,
        device_gigabytes=gigabytes,
        num_tokens=1e9,
    )
    assert estimate.layouts[0].zero == expected


def test_without_checkpointing_the_activations_are_not_rooted() -> None:
    plain = ClassicalModel(
        hidden=8192,
        num_layers=80,
        sequence_length=4096,
        vocab_size=32000,
        batch=8,
        checkpointing=False,
    )
    estimate = classical_estimate(
        plain, num_nodes=6, devices_per_node=4, device_gigabytes=80, num_tokens=1
    )
    activation = {row.name: row for row in estimate.modules}["activation of one sequence"]
    assert activation.size == pytest.approx(34 * 4096 * 8192 * 80 / 1e9)
