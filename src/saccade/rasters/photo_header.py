"""What a PNG or JPEG says before it is decoded.

Pillow's format classes are used directly: ``PIL.Image.open`` would add its limit on the number of pixels.
"""

from __future__ import annotations

import struct
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from saccade.rasters.raster import Meaning

ORIENTATION = 0x0112
_MEANINGS: dict[str, Meaning] = {"P": "palette", "RGB": "rgb", "RGBA": "rgb", "CMYK": "cmyk"}
_WARNING_FILTERS_ARE_GLOBAL = threading.Lock()


@dataclass(frozen=True)
class Header:
    """Stored size (h, w), what the samples are, and how to decode them to (h, w) or (h, w, C)."""

    size: tuple[int, int]
    channels: int
    meaning: Meaning
    decode: Callable[[], np.ndarray]
    white: int = 255
    alpha: bool = False
    palette: np.ndarray | None = None
    orientation: int = 1
    notices: tuple[str, ...] = ()


def jpeg_header(path: Path) -> Header:
    image = _opened(JpegImageFile, path)
    with image:
        return Header(
            (image.height, image.width),
            len(image.getbands()),
            _MEANINGS.get(image.mode, "grey"),
            lambda: _pixels(JpegImageFile, path),
            orientation=_orientation(image),
        )


def png_header(path: Path) -> Header:
    image = _opened(PngImageFile, path)
    with image:
        depth, colour = _png_depth(path)
        deep_colour = depth == 16 and colour != 0
        steps = (255 // (2**depth - 1)) if depth < 8 and colour == 0 else 1
        return Header(
            (image.height, image.width),
            len(image.getbands()),
            _MEANINGS.get(image.mode, "grey"),
            (lambda: imagecodecs.png_decode(path.read_bytes()))
            if deep_colour
            else lambda: _pixels(PngImageFile, path, steps),
            white=2**depth - 1 if colour == 0 or depth == 16 else 255,
            alpha=image.mode in ("LA", "RGBA"),
            palette=_palette(image),
            orientation=_orientation(image, _late_exif(path)),
            notices=("transparency dropped",) if "transparency" in image.info else (),
        )


def _opened(form: type[ImageFile.ImageFile], path: Path) -> ImageFile.ImageFile:
    with _WARNING_FILTERS_ARE_GLOBAL, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return form(path)


def _pixels(form: type[ImageFile.ImageFile], path: Path, steps: int = 1) -> np.ndarray:
    """The stored samples; Pillow spreads grey of 1, 2 or 4 bits over 0..255 in ``steps``, undone here."""
    with _opened(form, path) as image:
        image.load()
        pixels = np.asarray(image)
    if pixels.dtype == bool:
        return pixels.astype(np.uint8)
    return pixels // np.uint8(steps) if steps > 1 else pixels


def _palette(image: ImageFile.ImageFile) -> np.ndarray | None:
    colours = image.getpalette("RGB") if image.mode == "P" else None
    return None if colours is None else np.array(colours, np.uint8).reshape(-1, 3)


def _png_depth(path: Path) -> tuple[int, int]:
    """(bits a sample, colour type: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA)."""
    with path.open("rb") as file:
        start = file.read(26)
    return start[24], start[25]


def _late_exif(path: Path) -> bytes:
    """The eXIf chunk wherever it stands: Pillow finds one behind the pixels only by decoding them."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            if name == b"eXIf":
                return file.read(min(length, 1 << 20))
            file.seek(length + 4, 1)
    return b""


def _orientation(image: ImageFile.ImageFile, exif: bytes = b"") -> int:
    try:
        if exif:
            known = Image.Exif()
            known.load(exif)
        else:
            known = Image.Image.getexif(image)
        return int(known.get(ORIENTATION, 1))
    except (ValueError, TypeError, LookupError, SyntaxError, OSError, struct.error):
        return 1
