"""Polygons as pixels: a pixel is inside where its centre is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from saccade.geometry import Window

Part = tuple[slice, slice]
"""Rows and columns of a label map."""


def fill_polygon(values: NDArray[np.integer], rings: Sequence[NDArray[np.floating]], value: int) -> None:
    """Sets ``value`` in place at each pixel whose centre lies inside of an odd number of rings.

    So holes are rings inside of others, and polygons that share a border share no pixel. Of a centre on a
    border, the left and upper border belong to the polygon and the right and lower do not.

    Args:
        values: (H, W).
        rings: (n, 2) corners (x, y) each, in pixels, (0, 0) the image's top left corner; closed or not; what
            lies outside of the image is cut off.
        value: what is written.

    Raises:
        ValueError: a ring is not (n, 2) finite numbers.
    """
    part, inside = inside_polygon((values.shape[0], values.shape[1]), rings)
    values[part][inside] = value


def inside_polygon(
    size: tuple[int, int], rings: Sequence[NDArray[np.floating]]
) -> tuple[Part, NDArray[np.bool_]]:
    """The part of an image of ``size`` (H, W) that a polygon meets, and which of its pixels are inside.

    The rule is that of :func:`fill_polygon`, as are ``rings`` and what is raised; the part is empty where no
    pixel is inside.
    """
    rows, places = _crossings([closed(ring) for ring in rings], size[0])
    if not len(rows):
        return (slice(0, 0), slice(0, 0)), np.zeros((0, 0), np.bool_)
    columns = np.clip(np.ceil(places - 0.5), 0, size[1]).astype(np.int64)
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max()
    # whether odd is all that counts, so eight bits may overflow
    turns = np.zeros((bottom - top, right - left + 1), np.uint8)
    np.add.at(turns, (rows - top, columns - left), 1)
    inside = (np.cumsum(turns[:, :-1], axis=1, dtype=np.uint8) & 1).astype(bool)
    return (slice(top, bottom), slice(left, right)), inside


def polygon_window(size: tuple[int, int], rings: Sequence[NDArray[np.floating]]) -> Window | None:
    """The pixels around those of :func:`inside_polygon`, without an array of them; None without any."""
    rows, places = _crossings([closed(ring) for ring in rings], size[0])
    if not len(rows):
        return None
    columns = np.clip(np.ceil(places - 0.5), 0, size[1]).astype(np.int64)
    if columns.min() == columns.max():
        return None
    return Window(int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()))


def closed(ring: NDArray[np.floating]) -> NDArray[np.float64]:
    """A ring whose last corner is its first; raises ValueError where it is no list of finite (x, y)."""
    corners = np.asarray(ring, np.float64)
    if corners.ndim != 2 or corners.shape[1] < 2 or not np.isfinite(corners).all():
        raise ValueError("a ring that is no list of points (x, y)")
    return np.concatenate([corners[:, :2], corners[:1, :2]])


def _crossings(
    rings: Sequence[NDArray[np.float64]], height: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where edges cross the lines through the centres of rows: the row and x of each crossing."""
    edges = [np.concatenate([ring[:-1], ring[1:]], 1) for ring in rings if len(ring) > 1]
    if not edges:
        return np.zeros(0, np.int64), np.zeros(0)
    x0, y0, x1, y1 = np.concatenate(edges).T
    low, high = np.minimum(y0, y1), np.maximum(y0, y1)
    first = np.clip(np.ceil(low - 0.5), 0, height).astype(np.int64)
    counts = np.maximum(np.clip(np.ceil(high - 0.5), 0, height).astype(np.int64) - first, 0)
    edge = np.repeat(np.arange(len(counts)), counts)
    step = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = first[edge] + step
    share = (rows + 0.5 - y0[edge]) / (y1 - y0)[edge]
    return rows, x0[edge] + share * (x1 - x0)[edge]
