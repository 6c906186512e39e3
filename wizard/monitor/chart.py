"""A curve in braille dots, each cell two dots wide and four high."""

from collections.abc import Sequence

FAR = 1e30
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Bits of a braille cell by column and row, from the top (Unicode, block 2800)."""


def chart(points: Sequence[tuple[float, float]], width: int, height: int) -> list[str]:
    """The points as a curve of `width` × `height` cells, with the values' ends at the left.

    Where several points share a dot's column, their mean is drawn.
    """
    # A loss that is no number, or far from all numbers, has no place on the paper.
    points = [(x, y) for x, y in points if abs(y) < FAR]
    if not points or width < 12 or height < 2:
        return []
    low, high = min(y for _, y in points), max(y for _, y in points)
    labels = [f"{high:.4g}", f"{low:.4g}"]
    margin = max(map(len, labels)) + 1
    rows = _canvas(points, 2 * (width - margin), 4 * height, low, high)
    lines = []
    for index, row in enumerate(rows):
        label = labels[0] if index == 0 else labels[1] if index == height - 1 else ""
        lines.append(f"{label:>{margin - 1}}┤{row}")
    return lines


def _canvas(
    points: Sequence[tuple[float, float]], columns: int, rows: int, low: float, high: float
) -> list[str]:
    first, last = points[0][0], points[-1][0]
    sums: dict[int, list[float]] = {}
    for x, y in points:
        place = round((x - first) / (last - first) * (columns - 1)) if last > first else 0
        sums.setdefault(place, []).append(y)
    cells = [[0] * (columns // 2) for _ in range(rows // 4)]
    before: int | None = None
    for column in sorted(sums):
        mean = sum(sums[column]) / len(sums[column])
        share = (mean - low) / (high - low) if high > low else 0.5
        row = round((1 - share) * (rows - 1))
        # A steep curve is drawn through, so that it does not fall into dots.
        for dot in range(min(row, _towards(before, row)), max(row, _towards(before, row)) + 1):
            if column // 2 < len(cells[0]):
                cells[dot // 4][column // 2] |= _DOTS[column % 2][dot % 4]
        before = row
    return ["".join(chr(0x2800 + cell) for cell in line) for line in cells]


def _towards(before: int | None, row: int) -> int:
    """The dot next to the one before, on the way from it."""
    if before is None or before == row:
        return row
    return before + (1 if row > before else -1)
