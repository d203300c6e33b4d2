"""Images on disk of any size: readers and writers with windows and levels."""

from saccade.rasters.label_map import read_label_map, write_label_png
from saccade.rasters.open import open_raster
from saccade.rasters.raster import Level, PixelSize, Raster, RasterInfo
from saccade.rasters.rgb import RGB, image_size, read_rgb
from saccade.rasters.window import Window, tile_windows

__all__ = [
    "RGB",
    "Level",
    "PixelSize",
    "Raster",
    "RasterInfo",
    "Window",
    "image_size",
    "open_raster",
    "read_label_map",
    "read_rgb",
    "tile_windows",
    "write_label_png",
]
