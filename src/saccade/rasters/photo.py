"""PNG, JPEG and WebP: formats without windows, decoded whole when first read and kept."""

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

from saccade.geometry import Window
from saccade.rasters.decoders import misnamed, reading
from saccade.rasters.raster import Level, Meaning, Raster, RasterInfo, orient, oriented_pair

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


def webp_header(path: Path) -> Header:
    """Raises ValueError, struct.error: the chunks are not those of a still or animated WebP."""
    data = path.read_bytes()
    chunks = dict(_chunks(data))
    size, alpha = _size(chunks)
    if "ANIM" in chunks:
        notices: tuple[str, ...] = ("an animation: its first frame is taken",)
    else:
        notices = ()
    exif = Image.Exif()
    if "EXIF" in chunks:
        exif.load(chunks["EXIF"])
    return Header(
        size,
        4 if alpha else 3,
        "rgb",
        lambda: _decode(path, alpha),
        alpha=alpha,
        orientation=exif.get(ORIENTATION, 1),
        notices=notices,
    )


def _chunks(data: bytes) -> list[tuple[str, bytes]]:
    found, at = [], 12
    while at + 8 <= len(data):
        name, length = struct.unpack("<4sI", data[at : at + 8])
        found.append((name.decode("ascii").strip(), data[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    return found[::-1]


def _size(chunks: dict[str, bytes]) -> tuple[tuple[int, int], bool]:
    if "VP8X" in chunks:
        body = chunks["VP8X"]
        width, height = (int.from_bytes(body[i : i + 3], "little") + 1 for i in (4, 7))
        return (height, width), bool(body[0] & 0x10)
    if "VP8L" in chunks:
        bits = struct.unpack("<I", chunks["VP8L"][1:5])[0]
        return ((bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1), bool(bits >> 28 & 1)
    width, height = struct.unpack("<HH", chunks["VP8"][6:10])
    return (height & 0x3FFF, width & 0x3FFF), False


def _decode(path: Path, alpha: bool) -> np.ndarray:
    return imagecodecs.webp_decode(path.read_bytes(), hasalpha=alpha)


_KINDS: dict[str, tuple[str, Callable[[Path], Header]]] = {
    "png": ("a PNG image", png_header),
    "jpeg": ("a JPEG image", jpeg_header),
    "webp": ("a WebP image", webp_header),
}


class PhotoRaster(Raster):
    """A PNG, JPEG or WebP image as it is shown (EXIF orientation applied)."""

    def __init__(self, path: Path, kind: str) -> None:
        self._expected, read_header = _KINDS[kind]
        with reading(path, self._expected):
            header = read_header(path)
            super().__init__(_info(path, kind, header))
        self._header = header
        self.orientation = header.orientation
        self._pixels: np.ndarray | None = None
        self._lock = threading.Lock()

    def _read(self, window: Window, level: int) -> np.ndarray:
        with self._lock:
            if self._pixels is None:
                self._require_memory(self.info.resident)
                with reading(self.path, self._expected):
                    self._pixels = self._decode()
            pixels = self._pixels
        return pixels[window.slices].copy()

    def _decode(self) -> np.ndarray:
        pixels = self._header.decode()
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        if pixels.shape != (*self._header.size, self.channels):
            raise ValueError("the pixels are not what the header promised")
        return orient(pixels.astype(self.dtype, copy=False), self._header.orientation)

    def close(self) -> None:
        self._pixels = None


def _info(path: Path, kind: str, header: Header) -> RasterInfo:
    size = oriented_pair(header.size, header.orientation)
    dtype = np.dtype(np.uint8 if header.white <= 255 else np.uint16)
    return RasterInfo(
        path,
        (Level.of(size, size, (256, 256)),),
        dtype,
        header.channels,
        header.meaning,
        white=header.white,
        alpha=header.alpha,
        palette=header.palette,
        notices=(*misnamed(path, kind), *header.notices),
        resident=size[0] * size[1] * header.channels * dtype.itemsize,
    )
