"""Intervals, factors and names of a comparison in words and in cells of its tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from saccade.evaluation.comparison.arms import Size, named_size
from saccade.evaluation.comparison.results import Comparison, Point
from saccade.metrics.bootstrap import Interval

OTHER_BUDGET = 1.25
"""Times the pixels from which on two points are not of the same budget."""
MARKS = {"win": "▲", "loss": "▼", "unclear": "·"}
NOTE = (
    "Brackets hold 95 % of 4,000 bootstrap draws of images and seeds, the same images for all that is "
    "compared. ▲ a win, ▼ a loss: the interval excludes zero; · neither."
)

ONE_SEED = "With one seed the brackets tell of the images alone, not of what another training would give."


def in_points(found: Interval | None) -> str:
    """A gain in points: ``▲ +3.1 [2.5, 3.7]``."""
    if found is None or math.isnan(found.value):
        return "–"
    sure = found.verdict != "unclear"
    digits = 2 if sure and min(abs(found.low), abs(found.high)) < 0.0005 else 1  # no win of [0.0, 0.1]
    value, low, high = (round(100 * x, digits) + 0.0 for x in (found.value, found.low, found.high))
    return f"{MARKS[found.verdict]} {value:+.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def factor(found: Interval | None, point: Point, reference: Sequence[Point]) -> str:
    """Times the pixels for equal quality, where it was measured: ``4.1 [3.3, > 4.0]``.

    A dash where the reference is below at all its sizes and saw fewer pixels at each: nothing is known then.
    """
    if found is None or math.isnan(found.value):
        return "–"
    least = min(one.pixels for one in reference) / point.pixels
    most = max(one.pixels for one in reference) / point.pixels
    if math.isinf(found.value) and most < 1:
        return "–"

    def said(value: float) -> str:
        if math.isinf(value):
            return f"> {most:.2g}"
        return f"≤ {least:.2g}" if value == 0 else f"{value:.2f}"

    return f"{said(found.value)} [{said(found.low)}, {said(found.high)}]"


def seeds_spread(values: Sequence[float]) -> str:
    """``0.914 ± 0.007``: mean and standard deviation over the seeds."""
    if not values:
        return "–"
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.3f}"
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return f"{mean:.3f} ± {deviation:.3f}"


def pixels_more(point: Point, other: Point) -> str:
    """``, with 2,560 times the pixels`` where a point sees more or fewer than the other; else nothing."""
    times = point.pixels / other.pixels
    if 1 / OTHER_BUDGET < times < OTHER_BUDGET:
        return ""
    return f", with {times:,.0f} times the pixels" if times >= 10 else f", with {times:.2g} times the pixels"


def arm_name(compared: Comparison, name: str) -> str:
    """The name of an arm, with a star where it sees the true labels."""
    return name + "*" * (name in compared.sees_labels)


def sized(size: Size) -> str:
    """``32 x 64``."""
    return " x ".join(named_size(size).split("x"))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of equally many cells as lines, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
