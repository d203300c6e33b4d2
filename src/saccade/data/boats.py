"""Boats and whitecaps: the small things on the sea of the program's own scenes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from saccade.data.noise import Field

_FINE = 4
_HULL = ((-0.5, -0.42), (0.15, -0.5), (0.5, 0.0), (0.15, 0.5), (-0.5, 0.42))
_DECK = ((-0.4, -0.26), (0.1, -0.3), (0.34, 0.0), (0.1, 0.3), (-0.4, 0.26))
_CABIN = ((-0.3, -0.2), (-0.05, -0.2), (-0.05, 0.2), (-0.3, 0.2))
_WAKE = ((-0.5, -0.2), (-0.5, 0.2), (-2.2, 0.9), (-1.7, 0.0), (-2.2, -0.9))
_HULLS = ((236, 236, 230), (196, 52, 44), (222, 132, 40), (232, 200, 72), (52, 56, 70), (240, 240, 240))
_FOAM = (225, 235, 238)


@dataclass(frozen=True)
class _Boat:
    row: float
    column: float
    length: float
    angle: float

    def outline(self, shape: tuple[tuple[float, float], ...]) -> list[tuple[float, float]]:
        """Corners (x, y) in pixels of ``shape``, given in lengths along and widths across the boat."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        points = [(along * self.length, across * self.length * 0.42) for along, across in shape]
        return [(self.column + a * cos - b * sin, self.row + a * sin + b * cos) for a, b in points]


def draw_boats(rng: np.random.Generator, picture: Field, offshore: Field) -> NDArray[np.bool_]:
    """Paints boats onto ``picture`` (3, H, W) in place; (H, W) bool, where they are.

    Args:
        offshore: (H, W) distance in pixels to the nearest land; 0 on land.
    """
    taken = np.zeros(offshore.shape, bool)
    wanted = rng.uniform(0.007, 0.014) * taken.size
    for boat in _fleets(rng, offshore):
        if taken.sum() >= wanted:
            break
        if _is_free(boat, taken, offshore):
            _draw(rng, boat, picture, taken)
    if not taken.any():
        row, column = np.unravel_index(int(offshore.argmax()), offshore.shape)
        _draw(rng, _Boat(float(row), float(column), _lengths(offshore)[0], 0.0), picture, taken)
    return taken


def draw_whitecaps(rng: np.random.Generator, picture: Field, offshore: Field) -> None:
    """Short streaks of foam all over the sea, in one direction: bright as a boat, but no boat."""
    height, width = offshore.shape
    angle, (short, _) = rng.uniform(0, np.pi), _lengths(offshore)
    for _ in range(rng.integers(40, 120)):
        row, column = rng.uniform((0, 0), (height, width))
        length = short * rng.uniform(0.3, 1.3)
        if offshore[int(row), int(column)] > 3:
            streak = _Boat(row, column, length, angle + rng.normal(0, 0.2))
            _fill(picture, streak.outline(((-0.5, -0.2), (0.5, -0.2), (0.5, 0.2), (-0.5, 0.2))), _FOAM, 0.7)


def _lengths(offshore: Field) -> tuple[float, float]:
    """Shortest and longest boat, in pixels."""
    unit = offshore.shape[0] / 512
    return max(5.0, 12 * unit), max(8.0, 48 * unit)


def _fleets(rng: np.random.Generator, offshore: Field) -> list[_Boat]:
    """A few strays, then fleets, of which the first is large: more boats than are needed."""
    height, width = offshore.shape
    shortest, longest = _lengths(offshore)
    sea = np.flatnonzero(offshore > longest)
    sea = sea if len(sea) else np.flatnonzero(offshore > 0)
    boats = []
    for fleet in range(int(rng.integers(1, 4))):
        row, column = np.unravel_index(int(rng.choice(sea)), offshore.shape)
        course = rng.uniform(0, 2 * np.pi)
        for _ in range(int(rng.integers(6, 16)) if fleet else 60):
            place = rng.normal((row, column), longest * 2.0)
            length = shortest * (longest / shortest) ** rng.uniform()
            boats.append(_Boat(place[0], place[1], length, course + rng.normal(0, 0.5)))
    strays = [
        _Boat(place[0], place[1], shortest * rng.uniform(1, 2), rng.uniform(0, 2 * np.pi))
        for place in rng.uniform((0, 0), (height, width), (int(rng.integers(1, 6)), 2))
    ]
    return strays + boats


def _is_free(boat: _Boat, taken: NDArray[np.bool_], offshore: Field) -> bool:
    """In the picture, off the shore, and clear of other boats."""
    row, column, reach = round(boat.row), round(boat.column), round(boat.length * 0.6) + 1
    height, width = taken.shape
    if not (0 <= row < height and 0 <= column < width) or offshore[row, column] <= reach:
        return False
    return not taken[max(0, row - reach) : row + reach, max(0, column - reach) : column + reach].any()


def _draw(rng: np.random.Generator, boat: _Boat, picture: Field, taken: NDArray[np.bool_]) -> None:
    hull = _HULLS[int(rng.integers(len(_HULLS)))]
    deck = tuple(int(0.55 * part + 0.45 * grey) for part, grey in zip(hull, (150, 120, 90), strict=True))
    if rng.uniform() < 0.4:
        _fill(picture, boat.outline(_WAKE), _FOAM, 0.35)
    shade = _Boat(boat.row + boat.length * 0.1, boat.column + boat.length * 0.06, boat.length, boat.angle)
    _fill(picture, shade.outline(_HULL), (10, 30, 50), 0.5)
    box, cover = _fill(picture, boat.outline(_HULL), hull, 1.0)
    _fill(picture, boat.outline(_DECK), deck, 1.0)
    _fill(picture, boat.outline(_CABIN), (245, 245, 245), 1.0)
    taken[box] |= cover >= 0.5


def _fill(
    picture: Field, corners: list[tuple[float, float]], colour: tuple[int, ...], opacity: float
) -> tuple[tuple[slice, slice], Field]:
    """Blends a polygon into ``picture`` with soft edges; its box, and the share of each pixel it covers."""
    _, height, width = picture.shape
    xs, ys = zip(*corners, strict=True)
    top, left = max(0, int(min(ys)) - 1), max(0, int(min(xs)) - 1)
    bottom, right = max(top, min(height, int(max(ys)) + 2)), max(left, min(width, int(max(xs)) + 2))
    box = (slice(top, bottom), slice(left, right))
    if bottom == top or right == left:
        return box, np.zeros((bottom - top, right - left), np.float32)
    canvas = Image.new("L", ((right - left) * _FINE, (bottom - top) * _FINE))
    points = [((x - left) * _FINE, (y - top) * _FINE) for x, y in corners]
    ImageDraw.Draw(canvas).polygon(points, fill=255)
    cover = np.asarray(canvas.reduce(_FINE), np.float32) / np.float32(255)
    window = picture[:, box[0], box[1]]
    window += (np.array(colour, np.float32)[:, None, None] - window) * (cover * opacity)
    return box, cover
