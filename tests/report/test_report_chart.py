"""Charts are well-formed SVG whose places can be checked."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.report.charts import HEIGHT, LEFT, WIDTH, Line, _round_steps, _spread, line_chart


def points_of(svg: str, number: int) -> list[tuple[float, float]]:
    lines = [node for node in ET.fromstring(svg).iter() if node.tag == "polyline"]
    return [tuple(map(float, pair.split(","))) for pair in lines[number].get("points").split()]


def chart(lines, **options):
    return line_chart(lines, title="Loss", x_label="epoch", y_label="loss", **options)


def test_points_lie_where_the_numbers_say():
    svg = chart([Line("a", [1, 2, 3], [0.0, 0.5, 1.0])], y_range=(0, 1))
    (x1, y1), (x2, y2), (x3, y3) = points_of(svg, 0)
    assert x1 == LEFT
    assert x2 == pytest.approx((x1 + x3) / 2)
    assert y1 > y2 > y3
    assert y2 == pytest.approx((y1 + y3) / 2)


def test_a_logarithmic_axis_gives_doublings_equal_steps():
    places = points_of(chart([Line("a", [1, 2, 4, 8], [1, 1, 1, 1])], log_x=True), 0)
    steps = [b[0] - a[0] for a, b in pairwise(places)]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.11)


def test_missing_values_leave_no_point_and_no_nan():
    svg = chart([Line("a", [1, 2, 3, 4], [1.0, None, float("nan"), 2.0])])
    assert len(points_of(svg, 0)) == 2
    assert "nan" not in svg


def test_lines_differ_by_dash_and_marker_and_are_named():
    svg = chart([Line(f"line {i}", [1, 2], [i, i + 1]) for i in range(4)])
    tree = ET.fromstring(svg)
    assert len({node.get("stroke-dasharray") for node in tree.iter("polyline")}) == 4
    names = [node.text for node in tree.iter("text")]
    assert [f"line {i}" in names for i in range(4)] == [True] * 4
    assert all(f"line {i} ends at" in tree.get("aria-label") for i in range(4))


def test_names_from_outside_are_escaped():
    svg = chart([Line('<b a="1">&', [1, 2], [1, 2])])
    ET.fromstring(svg)
    assert "<b" not in svg


def test_one_point_and_no_points_are_no_fault():
    assert "<polyline" not in chart([Line("a", [1], [0.5])])
    ET.fromstring(chart([Line("a", [1], [0.0])]))
    assert "no values" in chart([Line("a", [1], [None])])
    assert "no values" in chart([])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 320), min_size=1, max_size=8))
def test_names_do_not_cover_each_other_nor_leave_the_chart(heights):
    placed = _spread(heights, 22, HEIGHT - 44)
    ordered = sorted(placed)
    assert all(b - a > 14.99 for a, b in pairwise(ordered))
    assert ordered[0] >= 21.99
    assert ordered[-1] <= HEIGHT - 43.99


def test_whole_numbers_have_whole_ticks():
    tree = ET.fromstring(chart([Line("a", [1, 2, 3], [0.2, 0.3, 0.4])]))
    middle = [node.text for node in tree.iter("text") if node.get("text-anchor") == "middle"]
    assert middle[:3] == ["1", "2", "3"]


@settings(max_examples=50, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_and_inside(low, span):
    ticks = _round_steps(low, low + span)
    assert 2 <= len(ticks) <= 9
    assert all(low - 1e-6 * span <= tick <= low + span * (1 + 1e-6) for tick in ticks)


def test_everything_stays_inside_the_picture():
    tree = ET.fromstring(chart([Line("a", range(100), [i % 7 for i in range(100)])]))
    for node in tree.iter("circle"):
        assert 0 <= float(node.get("cx")) <= WIDTH
        assert 0 <= float(node.get("cy")) <= HEIGHT


def test_numbers_on_a_long_axis_are_short_and_apart() -> None:
    values = [512.0, 2048.0, 1310720.0, 5242880.0]
    chart = line_chart([Line("a", values, [1, 2, 3, 4])], title="t", x_label="x", y_label="y", log_x=True)
    ticks = re.findall(r'<text x="([\d.]+)" y="[\d.]+" text-anchor="middle">([^<]+)</text>', chart)
    places = [float(x) for x, text in ticks if text[0].isdigit()]
    assert [text for _, text in ticks if text[0].isdigit()] == ["512", "2048", "1.31M", "5.24M"]
    assert all(b - a > 40 for a, b in pairwise(places))


def test_a_long_axis_has_round_numbers_where_its_own_are_long() -> None:
    values = [0.0135004, 0.0222436, 0.0453509, 1.25608]
    chart = line_chart([Line("a", values, [1, 2, 3, 4])], title="t", x_label="x", y_label="y", log_x=True)
    assert "0.0135004" not in chart
    assert ">0.1</text>" in chart


def test_a_short_range_on_a_long_axis_has_round_numbers_too() -> None:
    values = [243.569524, 248.440936, 261.243764, 266.405992]
    chart = line_chart([Line("a", values, [1, 2, 3, 4])], title="t", x_label="x", y_label="y", log_x=True)
    ticks = re.findall(r'text-anchor="middle">([\d.]+)</text>', chart)
    assert ticks == ["245", "250", "255", "260", "265"]
