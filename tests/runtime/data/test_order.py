"""An order without a list."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fsft.runtime.data.order import Order

SEEDS = st.tuples(st.integers(0, 2**31), st.integers(0, 100))


@given(st.integers(1, 3000), SEEDS)
def test_everything_has_one_place(size: int, seed: tuple[int, int]) -> None:
    found = Order(size, seed)(np.arange(size))
    assert sorted(found.tolist()) == list(range(size))


@given(st.integers(1, 2**62), SEEDS, st.data())
def test_a_place_holds_the_same_whoever_asks_and_whatever_else_is_asked(
    size: int, seed: tuple[int, int], data: st.DataObject
) -> None:
    places = np.asarray(data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20)))
    found = Order(size, seed)(places)
    assert ((found >= 0) & (found < size)).all()
    assert [int(Order(size, seed)(places[i : i + 1])[0]) for i in range(len(places))] == list(found)


def test_other_seeds_give_other_orders() -> None:
    places = np.arange(1000)
    orders = {tuple(Order(1000, (seed, 0))(places).tolist()) for seed in range(50)}
    assert len(orders) == 50


def test_an_order_looks_random() -> None:
    """Each tenth of the places holds about a tenth of each tenth, and few neighbours stay."""
    found = Order(100_000, (3, 0))(np.arange(100_000))
    shares, _, _ = np.histogram2d(np.arange(100_000), found, bins=10)
    assert (abs(shares - 1000) < 6 * 1000**0.5).all()
    assert (abs(np.diff(found)) == 1).mean() < 0.001
    assert abs(np.corrcoef(np.arange(100_000), found)[0, 1]) < 0.02
