"""``open_raster``: any image on disk, by its content."""

from __future__ import annotations

from pathlib import Path

from saccade.errors import FileProblem
from saccade.rasters.decoders import sniff
from saccade.rasters.raster import Raster


def open_raster(path: Path | str, *, place: bool = True) -> Raster:
    """Open an image of any format that Saccade reads; the content decides, not the name.

    ``place`` False leaves out where on a map a TIFF lies, which then needs no rasterio.

    Raises:
        FileProblem: missing, empty, damaged, of an unknown format, or of one whose library is not installed.
    """
    path = Path(path)
    kind = sniff(path)
    if kind in ("png", "jpeg", "webp"):
        from saccade.rasters.photo import PhotoRaster

        return PhotoRaster(path, kind)
    if kind == "tiff":
        return _open_tiff(path, place)
    if kind == "zarr":
        from saccade.rasters.ome_zarr import ZarrRaster

        return ZarrRaster(path)
    return _open_other(path)


def _open_tiff(path: Path, place: bool) -> Raster:
    from saccade.rasters.geotiff import is_georeferenced, open_geotiff
    from saccade.rasters.slide import SlideRaster, is_slide
    from saccade.rasters.tiff import TiffRaster

    if is_slide(path, tiff=True):
        return SlideRaster(path)
    return open_geotiff(path) if place and is_georeferenced(path) else TiffRaster(path)


def _open_other(path: Path) -> Raster:
    from saccade.rasters.geotiff import GeoRaster, gdal_driver
    from saccade.rasters.slide import SlideRaster, is_slide

    if is_slide(path, tiff=False):
        return SlideRaster(path)
    if driver := gdal_driver(path):
        return GeoRaster(path, driver)
    raise FileProblem(
        path,
        "an image",
        "none of the formats known",
        "known: PNG, JPEG, WebP, TIFF, OME-TIFF, Zarr; with saccade[slides] whole slides; with saccade[geo] "
        "JPEG 2000, VRT and more",
    )
