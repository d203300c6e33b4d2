"""GeoTIFF and COG: GDAL says where the image lies, tifffile reads its pixels, several times as fast."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from saccade.errors import FileProblem
from saccade.rasters.faults import reading
from saccade.rasters.geo import GeoRaster
from saccade.rasters.raster import Raster
from saccade.rasters.tiff import TiffRaster
from saccade.rasters.window import Window

_GEO_TAGS = (33550, 33922, 34264, 34735)
_WORLD_FILES = (".tfw", ".tifw", ".tiffw", ".wld")


class GeoTiffRaster(Raster):
    """The description of ``place`` over the pixels of ``pixels``; closes both."""

    def __init__(self, place: GeoRaster, pixels: TiffRaster) -> None:
        self._place, self._pixels = place, pixels
        own = {name: getattr(pixels.info, name) for name in ("levels", "dtype", "white", "resident")}
        super().__init__(replace(place.info, **own))

    def _read(self, window: Window, level: int) -> np.ndarray:
        return self._pixels.read(window, level)

    def _valid(self, window: Window, level: int) -> np.ndarray:
        """By the nodata value where there is one; masks and transparency only GDAL reads."""
        if self.nodata is not None:
            return super()._valid(window, level)
        return self._place.valid(window, level)

    def close(self) -> None:
        self._place.close()
        self._pixels.close()


def open_geotiff(path: Path) -> Raster:
    """A georeferenced TIFF; all by GDAL where tifffile sees other pixels in it (overviews in a file beside
    it, masks between the levels, a compression it does not know)."""
    place = GeoRaster(path)
    try:
        pixels = TiffRaster(path)
    except FileProblem:
        return place
    if pixels.orientation == 1 and _shape(pixels) == _shape(place):
        return GeoTiffRaster(place, pixels)
    pixels.close()
    return place


def is_georeferenced(path: Path) -> bool:
    """Whether the first page of a TIFF carries GeoTIFF tags, or a world file lies beside it."""
    from tifffile import TiffFile

    if any(path.with_suffix(suffix).exists() for suffix in _WORLD_FILES):
        return True
    with reading(path, "a TIFF image"), TiffFile(path) as file:
        return any(code in file.pages[0].tags for code in _GEO_TAGS)  # type: ignore[union-attr]


def _shape(raster: Raster) -> tuple[object, ...]:
    kind = raster.dtype.kind
    return raster.channels, kind, [level.size for level in raster.levels]
