"""How far two trainings are apart."""

from typing import NamedTuple

from fsft.runtime.run_directory import RunDirectory
from tests.runtime.train.training import weights_of
from tests.support import steps_in


class Deviations(NamedTuple):
    """The largest over steps or weights, relative."""

    loss: float
    grad_norm: float
    weights: float
    """Of a weight matrix: the norm of the difference over the norm of the expected one."""

    def within(self, bounds: "Deviations") -> bool:
        """Whether none is larger than its bound."""
        return all(found <= bound for found, bound in zip(self, bounds, strict=True))


_SMALLEST = 1e-4
"""The norm of a weight that learned something. Without rotary positions a bias of keys has no
gradient but rounding, for what it adds to all scores of a token the softmax takes away."""

BOUNDS = {"float32": Deviations(2e-5, 2e-5, 1e-4), "bfloat16": Deviations(1e-2, 5e-2, 5e-2)}
"""In bfloat16 sums in another order round otherwise; a bias of keys learns of rounding alone."""


def deviations(expected: RunDirectory, found: RunDirectory) -> Deviations:
    """Between two trainings; raises AssertionError where they took other steps or hold others."""
    ones, others = steps_in(expected.path), steps_in(found.path)
    assert [(s.step, s.tokens, s.learning_rate) for s in ones] == [
        (s.step, s.tokens, s.learning_rate) for s in others
    ]
    pairs = list(zip(ones, others, strict=True))
    wanted, weights = weights_of(expected), weights_of(found)
    assert set(weights) == set(wanted)
    return Deviations(
        max(abs(b.loss / a.loss - 1) for a, b in pairs),
        max(abs(b.grad_norm / a.grad_norm - 1) for a, b in pairs),
        max(
            float((weight - wanted[name]).norm() / max(float(wanted[name].norm()), _SMALLEST))
            for name, weight in weights.items()
        ),
    )
