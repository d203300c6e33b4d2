"""Predicting an area of interest: only the part of an image around it is read, and only in it are labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saccade.data.region import Area, Region
from saccade.geometry import Window
from saccade.rasters import Raster
from saccade.rasters.part import PartRaster, fit_to_levels


@dataclass(frozen=True)
class RegionPart:
    """The part of an image that is read for a region.

    Attributes:
        area: the region on the image.
        window: what is read: around it, to whole pixels of coarser levels.
    """

    area: Area
    window: Window

    @property
    def has_outside(self) -> bool:
        """Whether some of the pixels that are read lie outside of the region."""
        return not self.area.fills(self.window)

    def rows(self, window: Window, size: tuple[int, int]) -> NDArray[np.bool_]:
        """(h, w) of a window of the part: True in the region."""
        return self.area.inside(window.shifted(self.window.top, self.window.left))

    def outside(self, tiles: Sequence[Window]) -> list[Window]:
        """The tiles of the part that hold no pixel of the region."""
        return [tile for tile in tiles if not self.rows(tile, self.window.size).any()]

    @property
    def notice(self) -> str:
        """Where the labels lie in the image."""
        w = self.window
        return f"the region alone: rows {w.top} to {w.bottom}, columns {w.left} to {w.right}"


def region_part(raster: Raster, region: Region | None) -> tuple[Raster, RegionPart | None]:
    """The part of an image that a region asks for; the image itself without one.

    Raises:
        FileProblem: the region does not meet the image, or its file cannot be read.
    """
    if region is None:
        return raster, None
    area = region.on(raster)
    part = RegionPart(area, fit_to_levels(area.window, raster))
    return PartRaster(raster, part.window), part
