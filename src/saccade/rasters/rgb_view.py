"""Any raster as 8-bit RGB, converted window by window."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from saccade.errors import InvalidInput
from saccade.rasters.colour import colour_channels, colour_notices, to_rgb, value_limits
from saccade.rasters.raster import Raster
from saccade.rasters.window import Window

LOOK = 1 << 22


class RGBRaster(Raster):
    """What networks trained on photographs take: (h, w, 3) uint8, by the rule of ``read_rgb``.

    ``limits`` are the values of black and white. Closing it closes the raster beneath.
    """

    def __init__(self, raster: Raster, limits: tuple[float, float], notices: tuple[str, ...]) -> None:
        self._raster, self.limits = raster, limits
        self._same = raster.info.meaning == "rgb" and raster.channels == 3 and raster.dtype == np.uint8
        self._same = self._same and limits == (0.0, 255.0)
        super().__init__(
            replace(
                raster.info,
                dtype=np.dtype(np.uint8),
                channels=3,
                meaning="rgb",
                white=255.0,
                alpha=False,
                palette=None,
                nodata=None,
                notices=notices,
            )
        )

    def _read(self, window: Window, level: int) -> np.ndarray:
        pixels = self._raster.read(window, level)
        return pixels if self._same else to_rgb(pixels, self._raster.info, self.limits)

    def _valid(self, window: Window, level: int) -> np.ndarray:
        return self._raster.valid(window, level)

    def close(self) -> None:
        self._raster.close()


def as_rgb(raster: Raster, *, value_range: tuple[float, float] | None = None) -> RGBRaster:
    """``raster`` as 8-bit RGB. Floats are looked at once, on the coarsest level or in a few windows, to tell
    whether they run from 0 to 1 or from 0 to 255.

    Raises:
        InvalidInput: value_range is not (low, high) with low < high.
        FileProblem: floats outside 0 to 255.
    """
    if value_range is not None and not value_range[0] < value_range[1]:
        raise InvalidInput("value_range", "(low, high) with low < high", value_range)
    values = np.empty(0)
    if raster.dtype != np.uint8 and raster.info.meaning != "palette":
        values = _look(raster)
    limits = value_range or value_limits(raster.info, values)
    return RGBRaster(raster, limits, (*raster.notices, *colour_notices(raster.info, values, limits)))


def _look(raster: Raster) -> np.ndarray:
    """Colour values of the coarsest level, or of nine windows of it where it is large."""
    number = len(raster.levels) - 1
    height, width = raster.levels[number].size
    if height * width <= LOOK:
        windows = [Window.full((height, width))]
    else:
        rows, columns = min(height, 256), min(width, 256)
        tops = [(height - rows) * i // 2 for i in range(3)]
        lefts = [(width - columns) * i // 2 for i in range(3)]
        windows = [Window(t, t + rows, x, x + columns) for t in tops for x in lefts]
    used = colour_channels(raster.info)
    seen = [raster.read(w, number)[..., :used][raster.valid(w, number)] for w in windows]
    return np.concatenate(seen)
