"""A curve of braille dots has the size that was asked for, and its ends at the left."""

from hypothesis import given
from hypothesis import strategies as st

from fsft.wizard.monitor.chart import chart

POINTS = st.lists(
    st.tuples(st.integers(1, 10**6), st.floats(-1e6, 1e6)), min_size=1, max_size=200
).map(lambda points: sorted(dict(points).items()))


@given(POINTS, st.integers(20, 120), st.integers(2, 30))
def test_it_fills_its_place_and_no_more(
    points: list[tuple[float, float]], width: int, height: int
) -> None:
    lines = chart(points, width, height)
    assert len(lines) == height
    assert {len(line) for line in lines} == {len(lines[0])}
    assert len(lines[0]) <= width


@given(POINTS)
def test_something_is_drawn_for_any_points(points: list[tuple[float, float]]) -> None:
    drawn = "".join(chart(points, 60, 8))
    assert any(0x2800 < ord(letter) <= 0x28FF for letter in drawn)


def test_a_falling_curve_goes_from_the_upper_left_to_the_lower_right() -> None:
    lines = chart([(n, 10.0 - n) for n in range(11)], 40, 5)
    assert lines[0].startswith("10┤")
    assert lines[-1].startswith(" 0┤")
    blank = chr(0x2800)
    assert lines[0][3] != blank
    assert lines[0].endswith(blank)
    assert not lines[-1].endswith(blank)
    assert lines[-1][3] == blank


def test_where_there_is_no_room_or_nothing_to_draw_nothing_is_drawn() -> None:
    assert chart([], 40, 5) == []
    assert chart([(1, 1.0)], 5, 5) == []


def test_losses_that_are_no_numbers_leave_gaps() -> None:
    nan, inf = float("nan"), float("inf")
    lines = chart([(1, 2.0), (2, 1.0), (3, nan), (4, inf), (5, 1e308), (6, 1.5)], 40, 5)
    assert len(lines) == 5
    assert lines[0].startswith("2┤")
    assert chart([(1, nan)], 40, 5) == []
