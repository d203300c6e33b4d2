"""Label rasters of any size, brought to another size without ever mixing two labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saccade.errors import FileProblem
from saccade.rasters import Raster, Window, open_raster, overview


def nearest_labels(path: Path, full: tuple[int, int], size: tuple[int, int]) -> NDArray[np.integer]:
    """The indices at the centres of ``size`` (h, w) pixels: uint8 or uint16.

    Args:
        path: a label raster of the proportions of the slide.
        full: (H, W) of the slide.
        size: what is wanted.

    Raises:
        FileProblem: it cannot be read, holds colours or fractions, or has other proportions.
    """
    with open_raster(path, place=False) as raster:
        if raster.channels != 1 or raster.dtype.name not in ("uint8", "uint16"):
            got = f"{raster.channels} channels of {raster.dtype}"
            raise FileProblem(path, "one channel of class indices, uint8 or uint16", got)
        if not _same_proportions(raster.size, full):
            expected = f"the proportions of its slide, {full[1]} x {full[0]} (width x height)"
            raise FileProblem(path, expected, f"{raster.size[1]} x {raster.size[0]}")
        if size[0] <= raster.size[0] and size[1] <= raster.size[1]:
            return overview(_Indices(raster), size)[..., 0]
        pixels = raster.read()[..., 0]
    rows, columns = (
        ((np.arange(wanted) + 0.5) * has / wanted).astype(int)
        for wanted, has in zip(size, pixels.shape, strict=True)
    )
    return pixels[np.ix_(rows, columns)]


def _same_proportions(size: tuple[int, int], full: tuple[int, int]) -> bool:
    """Whether ``size`` may be ``full`` reduced by one factor, each side rounded by up to a pixel."""
    times = full[0] / size[0]
    return abs(full[1] / times - size[1]) <= 1 + full[1] / full[0]


class _Indices(Raster):
    """The full resolution of a label raster as what it is: the coarser levels of a file may be means."""

    def __init__(self, raster: Raster) -> None:
        super().__init__(replace(raster.info, meaning="palette", levels=raster.levels[:1]))
        self._raster = raster

    def _read(self, window: Window, level: int) -> np.ndarray:
        return self._raster.read(window, level)

    def close(self) -> None:
        self._raster.close()
