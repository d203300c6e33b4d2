"""What image files are called, for folders that are looked through; what a file is, its content says."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp")
IMAGE_SUFFIXES = (
    *PHOTO_SUFFIXES, ".tif", ".tiff", ".btf", ".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu",
    ".svslide", ".tf8", ".jif", ".gif", ".avif", ".jxl", ".jp2", ".j2k", ".j2c", ".jpc", ".jpx", ".jpf",
    ".heic", ".heif", ".dcm", ".zvi", ".czi", ".vrt", ".img", ".ntf", ".nitf", ".bmp", ".dib", ".zarr",
)  # fmt: skip
"""Of images in a folder that is predicted."""
DATA_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
"""Of images in a data folder."""
OWN_SUFFIXES: list[str] = []
"""Of formats of the user's own, in either: see :func:`saccade.rasters.open.register_format`."""


def has_suffix(path: Path, suffixes: Iterable[str]) -> bool:
    """Whether a file is called as images are, by some suffixes or those of the user's own formats.

    Examples:
        >>> from pathlib import Path
        >>> from saccade.rasters.suffixes import DATA_SUFFIXES, has_suffix
        >>> has_suffix(Path("leaf.PNG"), DATA_SUFFIXES), has_suffix(Path("slide.svs"), DATA_SUFFIXES)
        (True, False)
    """
    return path.suffix.lower() in (*suffixes, *OWN_SUFFIXES)
