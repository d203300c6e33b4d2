"""``open_raster``: any image on disk, by its content."""

from __future__ import annotations

from pathlib import Path

from saccade.errors import FileProblem
from saccade.rasters.raster import Raster
from saccade.rasters.sniff import sniff


def open_raster(path: Path | str) -> Raster:
    """Open an image of any format that Saccade reads; the content decides, not the name.

    Raises:
        FileProblem: missing, empty, damaged, of an unknown format, or of one whose library is not installed.
    """
    path = Path(path)
    kind = sniff(path)
    if kind in ("png", "jpeg", "webp"):
        from saccade.rasters.photo import PhotoRaster

        return PhotoRaster(path, kind)
    if kind == "tiff":
        from saccade.rasters.tiff import TiffRaster

        return TiffRaster(path)
    raise FileProblem(
        path, "an image of a known format", "none of them", "known: PNG, JPEG, WebP, TIFF, OME-TIFF"
    )
