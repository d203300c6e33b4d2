"""Images on disk of any size: readers and writers with windows and levels."""

from saccade.geometry import Window, tile_windows
from saccade.rasters.colour import RGB, RGBRaster, as_rgb, image_size, read_rgb
from saccade.rasters.journal import Output
from saccade.rasters.labels import read_label_map, write_label_png
from saccade.rasters.open import open_raster
from saccade.rasters.polygons import polygons
from saccade.rasters.raster import Level, PixelSize, Raster, RasterInfo
from saccade.rasters.reduce import thumbnail
from saccade.rasters.sample import sample_raster
from saccade.rasters.vector_writer import write_polygons
from saccade.rasters.writer import RasterWriter

__all__ = [
    "RGB",
    "Level",
    "Output",
    "PixelSize",
    "RGBRaster",
    "Raster",
    "RasterInfo",
    "RasterWriter",
    "Window",
    "as_rgb",
    "image_size",
    "open_raster",
    "polygons",
    "read_label_map",
    "read_rgb",
    "sample_raster",
    "thumbnail",
    "tile_windows",
    "write_label_png",
    "write_polygons",
]
