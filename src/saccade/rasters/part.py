"""A part of a raster as a raster of its own, which lies where it lay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from saccade.geometry import Window
from saccade.rasters.raster import Level, Raster


class PartRaster(Raster):
    """What lies in a window of another raster; coarser levels where their pixels begin with the window's.

    Its place on a map, and where viewers of slides count from, are those of its pixels in the whole.
    Closing it closes the raster beneath.

    Args:
        raster: the whole.
        window: on level 0; see :func:`fit_to_levels`.

    Examples:
        >>> from PIL import Image
        >>> from saccade.rasters import Window, open_raster
        >>> from saccade.rasters.part import PartRaster
        >>> Image.new("RGB", (640, 480), "red").save("photo.png")
        >>> with PartRaster(open_raster("photo.png"), Window(10, 40, 20, 80)) as part:
        ...     part.size, part.read().shape
        ((30, 60), (30, 60, 3))
    """

    def __init__(self, raster: Raster, window: Window) -> None:
        self._raster = raster
        self.whole_size = raster.size
        self._windows = {}
        levels: list[Level] = []
        for number, level in enumerate(raster.levels):
            if (level_window := _on_level(window, level)) is not None:
                self._windows[len(levels)] = number, level_window
                levels.append(Level(level_window.size, level.downsample, _tile(level, level_window)))
        info = raster.info
        transform = info.transform
        if transform is not None:
            a, b, c, d, e, f = transform
            x, y = window.left, window.top
            transform = (a, b, c + a * x + b * y, d, e, f + d * x + e * y)
        origin = info.origin[0] - window.left, info.origin[1] - window.top
        super().__init__(replace(info, levels=tuple(levels), transform=transform, origin=origin))

    def _inner(self, window: Window, level: int) -> tuple[Window, int]:
        number, part = self._windows[level]
        return window.shifted(part.top, part.left), number

    def _read(self, window: Window, level: int) -> np.ndarray:
        return self._raster.read(*self._inner(window, level))

    def _valid(self, window: Window, level: int) -> np.ndarray:
        return self._raster.valid(*self._inner(window, level))

    def has_gaps(self) -> bool:
        return self._raster.has_gaps()

    @property
    def for_samples(self) -> Raster:
        whole, (_, window) = self._raster.for_samples, self._windows[0]
        return self if whole is self._raster else PartRaster(whole, window)

    def close(self) -> None:
        self._raster.close()


MOST_ROUNDED = 64
"""Pixels that a window is made larger by at most so that coarser levels may be read."""


def fit_to_levels(window: Window, raster: Raster) -> Window:
    """A window made so much larger that it begins with a pixel of the levels of a file: of those that halve
    64-fold at most."""
    step = max((int(factor) for level in raster.levels if (factor := _whole_factor(level))), default=1)
    top, left = window.top // step * step, window.left // step * step
    bottom = min(-(-window.bottom // step) * step, raster.size[0])
    right = min(-(-window.right // step) * step, raster.size[1])
    return Window(top, bottom, left, right)


def _whole_factor(level: Level) -> int:
    """Full pixels of a pixel of the level where that is a whole number up to 64, the same for both axes; else
    0."""
    down, across = level.downsample
    is_whole = down == across and down == int(down)
    return int(down) if is_whole and down <= MOST_ROUNDED else 0


def _on_level(window: Window, level: Level) -> Window | None:
    factor = _whole_factor(level)
    if not factor or window.top % factor or window.left % factor:
        return None
    bottom = min(-(-window.bottom // factor), level.size[0])
    right = min(-(-window.right // factor), level.size[1])
    top, left = window.top // factor, window.left // factor
    return Window(top, bottom, left, right) if bottom > top and right > left else None


def _tile(level: Level, window: Window) -> tuple[int, int]:
    return min(level.tile[0], window.height), min(level.tile[1], window.width)
