"""Line charts as SVG text, in the colours of the page, light or dark.

Lines differ by dash and marker as well as by colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

WIDTH, HEIGHT = 560, 320
LEFT, RIGHT, TOP, BOTTOM = 56, 130, 16, 44
DASHES = ("", "7 4", "2 3", "9 3 2 3", "5 2", "1 5", "12 4", "4 2 1 2")
MARKERS = ("circle", "square", "triangle", "diamond")
COLOURS = len(DASHES)
LONGEST = 5
"""Letters of a number on an axis."""


@dataclass(frozen=True)
class Line:
    """One line of a chart: equally many x and y; where y is None the line has no point.

    Attributes:
        name: at its end.
        x, y: of its points.
        low, high: ends of an upright stroke through each point, or nothing.
        left: start of a level stroke that ends in each point, or nothing.
        colour: "#rrggbb" of its own, edged so that it shows on any ground; None: by its number.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    left: Sequence[float | None] = ()
    colour: str | None = None

    @property
    def points(self) -> list[tuple[float, float]]:
        pairs = zip(self.x, self.y, strict=True)
        return [(x, y) for x, y in pairs if y is not None and math.isfinite(y) and math.isfinite(x)]


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str,
    y_label: str,
    y_range: tuple[float, float] | None = None,
    log_x: bool = False,
) -> str:
    """SVG of lines with axes, and each line's name at its end. Empty lines are left out.

    Args:
        lines: at most eight look different.
        title: read out to those who do not see the chart, with the last value of every line.
        y_range: default 0 (or the smallest value) to the largest value.
        log_x: doubling steps of x are equally wide; x > 0.
    """
    drawn = [line for line in lines if line.points]
    if not drawn:
        return f'<p class="none">{escape(title)}: no values.</p>'
    to_x, x_ticks = _horizontal([x for line in drawn for x in _known(line.x, line.left)], log_x)
    to_y, y_ticks = _vertical([y for line in drawn for y in _known(line.y, line.low, line.high)], y_range)
    names = _spread([to_y(line.points[-1][1]) for line in drawn], TOP + 6, HEIGHT - BOTTOM)
    parts = [_axes(x_ticks, y_ticks, to_x, to_y, x_label, y_label)]
    for number, (line, height) in enumerate(zip(drawn, names, strict=True)):
        parts.append(_line(line, number % COLOURS, to_x, to_y, height))
    last = "; ".join(f"{line.name} ends at {line.points[-1][1]:.3g}" for line in drawn)
    described = escape(f"{title}. {last}.", quote=True)
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{described}">'
        f"{''.join(parts)}</svg>"
    )


def round_range(lines: Iterable[Line]) -> tuple[float, float] | None:
    """Round ends about all values of scores, so that small differences are seen; None without values."""
    values = [y for line in lines for y in _known(line.y, line.low, line.high)]
    if not values:
        return None
    low, high = math.floor(20 * min(values)) / 20, math.ceil(20 * max(values)) / 20
    return max(0.0, low), high if high > low else low + 0.05


Scale = Callable[[float], float]


def _known(*parts: Sequence[float | None]) -> list[float]:
    return [value for part in parts for value in part if value is not None and math.isfinite(value)]


def _horizontal(values: list[float], log: bool) -> tuple[Scale, list[float]]:
    low, high = min(values), max(values)
    if high == low:
        low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    change: Scale = math.log2 if log else float
    span = WIDTH - LEFT - RIGHT

    def place(x: float) -> float:
        return LEFT + span * (change(x) - change(low)) / (change(high) - change(low))

    whole = all(value == int(value) for value in values)
    return place, _log_steps(low, high, values) if log else _round_steps(low, high, 1 if whole else 0)


def _log_steps(low: float, high: float, values: list[float]) -> list[float]:
    """The values themselves where they are few and short, else round numbers."""
    own = sorted(set(values))
    apart = max(1.3, (high / low) ** 0.13)  # room for a number
    short = len(own) <= 6 and all(len(_tick(value)) <= LONGEST for value in own)
    if short and all(b >= apart * a for a, b in pairwise(own)):
        return own
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        steps = [round(factor * 10.0**k, 10) for k in powers for factor in factors]
        inside = [step for step in steps if low <= step <= high]
        if len(inside) >= 3:
            return inside
    return inside if len(inside) >= 2 else _round_steps(low, high)


def _tick(value: float) -> str:
    """A number in few letters: ``0.25``, ``32768``, ``131k``, ``5.24M``."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g}M"
    return f"{value / 1e3:.3g}k" if abs(value) >= 1e5 else f"{value:g}"


def _vertical(values: list[float], limits: tuple[float, float] | None) -> tuple[Scale, list[float]]:
    low, high = limits or (min(0.0, *values), max(values))
    if high <= low:
        high = low + 1
    span = HEIGHT - TOP - BOTTOM

    def place(y: float) -> float:
        return HEIGHT - BOTTOM - span * (min(max(y, low), high) - low) / (high - low)

    return place, _round_steps(low, high)


def _round_steps(low: float, high: float, least: float = 0) -> list[float]:
    """About five round numbers between low and high, at least ``least`` apart."""
    rough = max((high - low) / 5, least)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.7)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _spread(heights: list[float], top: float, bottom: float, gap: float = 15) -> list[float]:
    """The heights moved apart as little as needed for one line of text each, kept inside top and bottom."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    gap = min(gap, (bottom - top) / max(1, len(heights) - 1))
    placed = [max(heights[i], top) for i in order]
    for here, after in pairwise(range(len(placed))):
        placed[after] = max(placed[after], placed[here] + gap)
    placed[-1] = min(placed[-1], bottom)
    for after, here in pairwise(reversed(range(len(placed)))):
        placed[here] = min(placed[here], placed[after] - gap)
    out = [0.0] * len(heights)
    for i, height in zip(order, placed, strict=True):
        out[i] = height
    return out


def _axes(
    x_ticks: list[float], y_ticks: list[float], to_x: Scale, to_y: Scale, x_label: str, y_label: str
) -> str:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for tick in y_ticks:
        y = to_y(tick)
        parts.append(f'<line class="gridline" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_tick(tick)}</text>')
    for tick in x_ticks:
        parts.append(
            f'<text x="{to_x(tick):.1f}" y="{bottom + 17}" text-anchor="middle">{_tick(tick)}</text>'
        )
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    middle_x, middle_y = (LEFT + right) / 2, (TOP + bottom) / 2
    parts.append(f'<text x="{middle_x}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>')
    turned = f'transform="translate(14 {middle_y}) rotate(-90)"'
    parts.append(f'<text {turned} text-anchor="middle">{escape(y_label)}</text>')
    return "".join(parts)


def _line(line: Line, number: int, to_x: Scale, to_y: Scale, name_height: float) -> str:
    places = [(to_x(x), to_y(y)) for x, y in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dash = f' stroke-dasharray="{DASHES[number]}"' if DASHES[number] else ""
    every = max(1, len(places) // 8)
    marked = sorted({*range(0, len(places), every), len(places) - 1})
    markers = "".join(_marker(MARKERS[number % len(MARKERS)], *places[i]) for i in marked)
    end_x, end_y = places[-1]
    leader = f"M{end_x + 6:.1f},{end_y:.1f} L{WIDTH - RIGHT + 12},{name_height:.1f}"
    name = f'<text x="{WIDTH - RIGHT + 15}" y="{name_height + 4:.1f}">{escape(_short(line.name))}</text>'
    drawn = f'<polyline points="{path}"{dash}/>' if len(places) > 1 else ""
    drawn += _strokes(line, to_x, to_y)
    kind, own = f"c{number}", ""
    if line.colour is not None:
        kind, own = "own", f' style="--c:{line.colour}"'
        if len(places) > 1:
            drawn = f'<polyline class="edge" points="{path}"{dash}/>{drawn}'
    return f'<g class="line {kind}"{own}>{drawn}{markers}<path class="leader" d="{leader}"/>{name}</g>'


def _strokes(line: Line, to_x: Scale, to_y: Scale) -> str:
    """Spreads as upright strokes with ends, and level strokes to the left."""
    strokes = []
    for low, high, x, y in zip(line.low, line.high, line.x, line.y, strict=False):
        if low is not None and high is not None and y is not None:
            at, top, bottom = to_x(x), to_y(high), to_y(low)
            ends = "".join(f"M{at - 4:.1f},{end:.1f} h8 " for end in (top, bottom))
            strokes.append(f"{ends}M{at:.1f},{top:.1f} V{bottom:.1f}")
    for left, x, y in zip(line.left, line.x, line.y, strict=False):
        if left is not None and y is not None:
            strokes.append(f"M{to_x(left):.1f},{to_y(y):.1f} H{to_x(x):.1f}")
    return f'<path class="stroke" d="{" ".join(strokes)}"/>' if strokes else ""


def _short(name: str, most: int = 17) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _marker(shape: str, x: float, y: float, r: float = 3.4) -> str:
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>'
    corners = {
        "square": [(-r, -r), (r, -r), (r, r), (-r, r)],
        "triangle": [(0, -1.3 * r), (1.2 * r, r), (-1.2 * r, r)],
        "diamond": [(0, -1.4 * r), (1.4 * r, 0), (0, 1.4 * r), (-1.4 * r, 0)],
    }[shape]
    return f'<polygon points="{" ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)}"/>'
