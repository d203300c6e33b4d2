"""What need not be looked at: glass of slides, and pixels that were not measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from saccade.geometry import Window
from saccade.rasters import Raster, thumbnail
from saccade.warp._stitch_kernels import UNLABELLED
from saccade.warp.stitch import Strip

LOOK_SIDE = 1024
"""The longer side of the thumbnail on which emptiness is judged."""

MASK_SIDE = 4096
"""Pixels without measurement are known to this many places along the longer side, or exactly."""

MASK_PIECE = 1 << 21
"""Pixels of a mask that are read at once."""

GLASS_BRIGHTEST, GLASS_COLOUR = 205, 18
"""Glass: every channel at least so bright, and the channels no further apart."""


def may_be_skipped(raster: Raster) -> bool:
    """Whether an image may hold what need not be looked at: a raster with a mask, or a slide."""
    return raster.info.masked or is_microscopy(raster)


def is_microscopy(raster: Raster) -> bool:
    """Whether the file gives its scale in microns: on a map, white is snow and not glass, and of bands there
    is no white."""
    colour = raster.info.meaning != "bands"
    return colour and raster.pixel_size is not None and raster.pixel_size.unit == "micron"


def empty_tiles(raster: Raster, tiles: Sequence[Window]) -> list[Window]:
    """The tiles in which nothing was measured, or where a slide shows glass alone.

    Judged on a thumbnail of at most 1024 pixels: a tile is left out only when every pixel of the thumbnail
    that it meets, and those around it, is empty.
    """
    if not may_be_skipped(raster):
        return []
    empty = _empty(raster)
    down, across = (full / small for full, small in zip(raster.size, empty.shape, strict=True))

    def is_empty(tile: Window) -> bool:
        rows = slice(max(0, int(tile.top / down) - 1), int(np.ceil(tile.bottom / down)) + 1)
        columns = slice(max(0, int(tile.left / across) - 1), int(np.ceil(tile.right / across)) + 1)
        return bool(empty[rows, columns].all())

    return [tile for tile in tiles if is_empty(tile)]


def _empty(raster: Raster) -> NDArray[np.bool_]:
    """Where the thumbnail shows nothing."""
    scale = max(1.0, max(raster.size) / LOOK_SIDE)
    small = (max(1, int(raster.size[0] / scale)), max(1, int(raster.size[1] / scale)))
    empty = np.zeros(small, np.bool_)
    if raster.info.masked:
        empty |= ~Measured(raster).rows(Window.full(small), small)
    if is_microscopy(raster):
        pixels = thumbnail(raster, small)
        empty |= (pixels.min(2) >= GLASS_BRIGHTEST) & (np.ptp(pixels, 2) <= GLASS_COLOUR)
    return empty


class Measured:
    """Where a raster was measured, read from a level that is cheap."""

    def __init__(self, raster: Raster) -> None:
        self.raster = raster
        fine = [n for n, level in enumerate(raster.levels) if max(level.size) >= MASK_SIDE]
        self.level = fine[-1] if fine else 0

    def rows(self, window: Window, size: tuple[int, int]) -> NDArray[np.bool_]:
        """(rows, columns) of a window of the image at ``size``: True where its centre was measured."""
        full = self.raster.levels[self.level].size
        lines = ((np.arange(window.top, window.bottom) + 0.5) * full[0] / size[0]).astype(int)
        columns = ((np.arange(window.left, window.right) + 0.5) * full[1] / size[1]).astype(int)
        part = Window(int(lines[0]), int(lines[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
        if part.height * part.width > MASK_PIECE and max(window.size) > 1:
            return np.concatenate([self.rows(half, size) for half in _halves(window)], int(_is_wide(window)))
        valid = self.raster.valid(part, self.level)
        if valid.shape == window.size:
            return valid
        return valid[np.ix_(lines - part.top, columns - part.left)]


def _is_wide(window: Window) -> bool:
    return window.width >= window.height


def _halves(window: Window) -> tuple[Window, Window]:
    if _is_wide(window):
        middle = (window.left + window.right) // 2
        return (
            Window(window.top, window.bottom, window.left, middle),
            Window(window.top, window.bottom, middle, window.right),
        )
    middle = (window.top + window.bottom) // 2
    return (
        Window(window.top, middle, window.left, window.right),
        Window(middle, window.bottom, window.left, window.right),
    )


class Gaps(Protocol):
    """What knows where an answer is wanted: :class:`Measured`, or a region."""

    def rows(self, window: Window, size: tuple[int, int]) -> NDArray[np.bool_]: ...


def with_gaps(strip: Strip, gaps: Sequence[Gaps], raster: Raster) -> Strip:
    """The strip, without labels and scores where any of the gaps is."""
    if not gaps:
        return strip
    window = Window(strip.top, strip.top + len(strip.labels), 0, raster.size[1])
    holes = ~gaps[0].rows(window, raster.size)
    for other in gaps[1:]:
        holes |= ~other.rows(window, raster.size)
    if not holes.any():
        return strip
    labels = strip.labels.copy()
    labels[holes] = UNLABELLED
    if strip.scores is not None:
        strip.scores[holes] = 0
    return replace(strip, labels=labels)
