"""``open_raster``: any image on disk, by its content."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from saccade.errors import FileProblem, InvalidInput
from saccade.rasters.decoders import PHOTOS, Kind, kind_of_bytes, load, named_format, sniff, unread_format
from saccade.rasters.raster import Raster
from saccade.rasters.stac import asset_of, is_item
from saccade.rasters.suffixes import OWN_SUFFIXES
from saccade.runtime.addresses import Address, path_of

OTHERS: list[tuple[Callable[[Path], bool], Callable[[Path], Raster]]] = []
"""Formats of the user's own: whether a file is of it, by its content, and what opens it."""


def register_format(
    recognises: Callable[[Path], bool], opener: Callable[[Path], Raster], suffixes: Iterable[str] = ()
) -> None:
    """Makes a format of one's own known to :func:`open_raster`.

    It is asked after PNG, JPEG, WebP, GIF, AVIF, JPEG XL, TIFF and Zarr, and before slides, BMP, JPEG 2000
    and what GDAL reads besides.

    Args:
        recognises: whether a file is of this format, by its content.
        opener: opens one that is.
        suffixes: what such files are called, ".dots": files of these names in a folder of images, and in the
            images of a data folder, are taken for images.

    Raises:
        InvalidInput: for a suffix that is none.

    Examples:
        >>> from saccade.rasters.open import OTHERS, register_format
        >>> register_format(lambda path: path.read_bytes()[:5] == b"DOTS ", print, [".dots"])
        >>> len(OTHERS)
        1
        >>> OTHERS.clear()
    """
    names = [suffix.lower() for suffix in suffixes]
    for name in names:
        if Path(f"image{name}").suffix != name:
            raise InvalidInput("the suffix of a format", "a dot and letters, such as .dots", repr(name))
    OTHERS.append((recognises, opener))
    OWN_SUFFIXES.extend(names)


def open_raster(path: Path | str, *, place: bool = True) -> Raster:
    """Open an image of any format that Saccade reads; the content decides, not the name.

    ``file.tif#2`` is the second image of a TIFF of several, or of a stack (``store.zarr#2`` too);
    ``store.zarr/name`` is an array of a Zarr group. A text that is an address (``https://``, ``s3://``,
    ``gs://``, ``zip://PART::ARCHIVE``) opens a TIFF or a Zarr there, of which only what is asked for is read.
    A STAC item, ``item.json#ASSET``, opens what it leads to.
    ``place`` False leaves out where on a map the image lies, which then needs no rasterio.

    Raises:
        FileProblem: missing, empty, damaged, of an unknown format, or of one whose library is not installed.

    Examples:
        >>> import numpy as np
        >>> from PIL import Image
        >>> from saccade.rasters import Window, open_raster
        >>> Image.new("RGB", (640, 480), "red").save("photo.png")
        >>> with open_raster("photo.png") as raster:
        ...     print(raster.size, raster.read(Window(0, 2, 0, 3)).shape)
        (480, 640) (2, 3, 3)
    """
    path = path_of(path)
    if is_item(path):
        path = asset_of(path)
    path, number = split_image_number(path)
    if isinstance(path, Address):
        return _open_remote(path, place, number)
    kind = sniff(path)
    if kind == "tiff":
        return _open_tiff(path, place, number)
    if kind == "zarr":
        from saccade.rasters.ome_zarr import ZarrRaster

        return ZarrRaster(path, number)
    if number is not None:
        expected = "a TIFF or Zarr, whose images have numbers"
        raise FileProblem(path, expected, "a file of one image", f"leave out #{number}")
    if kind in PHOTOS:
        return _open_photo(path, kind, place)
    for recognises, opener in OTHERS:
        if recognises(path):
            return opener(path)
    return _open_other(path, kind, place)


def split_image_number(path: Path) -> tuple[Path, int | None]:
    """The file of ``file.tif#2`` and 2; any other path, or a file that is really called so, and None."""
    if isinstance(path, Address):
        return path.unnumbered, path.number
    stem, mark, digits = path.name.rpartition("#")
    if not (mark and stem and digits.isascii() and digits.isdigit()) or os.path.lexists(path):
        return path, None
    return path.with_name(stem), int(digits)


def _open_remote(address: Address, place: bool, number: int | None) -> Raster:
    from saccade.rasters.remote import opened

    data = opened(address)
    if data is None:
        from saccade.rasters.ome_zarr import ZarrRaster

        return ZarrRaster(address, number)
    start = data.read(0, 4096)
    if kind_of_bytes(start) != "tiff":
        what, fix = named_format(start) if start else ("an empty file (0 bytes)", "")
        expected = "a TIFF or a Zarr, which are read where they lie"
        raise FileProblem(
            address, expected, what or "another format", fix or "download it, and name the file"
        )
    from saccade.rasters.geotiff import open_remote_tiff

    return open_remote_tiff(address, data, place=place, number=number)


def _open_photo(path: Path, kind: Kind, place: bool) -> Raster:
    from saccade.rasters.photo import PhotoRaster

    raster = PhotoRaster(path, kind)
    if place:
        from saccade.rasters.georeference import place_photo

        place_photo(raster, kind, turned=raster.turned)
    return raster


def _open_tiff(path: Path, place: bool, number: int | None) -> Raster:
    from saccade.rasters.geotiff import open_tiff
    from saccade.rasters.slide import SlideRaster, is_slide
    from saccade.rasters.tiff import TiffRaster

    if number is not None:
        return TiffRaster(path, number)
    if is_slide(path, tiff=True):
        return SlideRaster(path)
    return open_tiff(path, place=place)


_WITHOUT_GDAL: tuple[Kind, ...] = ("bmp", "jpeg2000")


def _open_other(path: Path, kind: Kind, place: bool) -> Raster:
    from saccade.rasters.geotiff import GeoRaster, gdal_driver
    from saccade.rasters.slide import SlideRaster, is_slide

    if is_slide(path, tiff=False):
        return SlideRaster(path)
    if driver := gdal_driver(path, kind):
        if kind != "bmp":
            load("rasterio", "geo", path, "georeferenced rasters")
        try:
            return GeoRaster(path, driver)
        except FileProblem as problem:
            if kind not in _WITHOUT_GDAL:
                raise
            try:
                return _open_photo(path, kind, place)
            except FileProblem:
                raise problem from None
    what, fix = unread_format(path)
    known = (
        "known: PNG, JPEG, WebP, GIF, BMP, AVIF, JPEG XL, TIFF, Zarr; with openslide-python and "
        "openslide-bin whole slides; with rasterio JPEG 2000, VRT and more"
    )
    raise FileProblem(path, "an image", what or "none of the formats known", fix or known)
