"""PNG, JPEG, WebP and other formats without windows, decoded whole when first read and kept."""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from saccade.errors import FileProblem, FinalProblem
from saccade.geometry import Window
from saccade.rasters.claims import jpeg2000_size, jpegxl_size, require_honest_size
from saccade.rasters.codecs import imagecodecs
from saccade.rasters.decoders import misnamed, reading
from saccade.rasters.raster import Level, Meaning, Raster, RasterInfo, measured, orient, oriented_pair
from saccade.rasters.tiff import TiffRaster
from saccade.rasters.tiff_description import nodata_of, said_beside

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
    packed: int = 1  # pixels that are stored in a byte

    @property
    def pixel_bytes(self) -> float:
        return self.channels * (1 if self.white <= 255 else 2) / self.packed


def jpeg_header(path: Path) -> Header:
    """As Pillow reads it; imagecodecs reads what Pillow does not: 12 and 16 bits, arithmetic coding."""
    try:
        image = _opened(JpegImageFile, path)
    except (SyntaxError, OSError, KeyError):
        return _rare_jpeg_header(path)
    with image:
        return Header(
            (image.height, image.width),
            len(image.getbands()),
            _MEANINGS.get(image.mode, "grey"),
            lambda: _pixels(JpegImageFile, path),
            orientation=_orientation(image),
        )


def _rare_jpeg_header(path: Path) -> Header:
    process, bits, size, channels, exif = _jpeg_frame(path)
    if bits == 8 and process in _USUAL_PROCESSES:
        raise ValueError("Pillow refuses it, and would read it if it were whole")
    meaning: Meaning = "grey" if channels == 1 else "rgb" if channels == 3 else "bands"
    return Header(
        size,
        channels,
        meaning,
        lambda: _rare_jpeg(path, bits),
        white=2**bits - 1,
        orientation=_exif_orientation(exif),
    )


_USUAL_PROCESSES = (0, 1, 2)


def _jpeg_frame(path: Path) -> tuple[int, int, tuple[int, int], int, bytes]:
    """Coding process (the n of SOFn), bits a sample, (h, w), channels, and EXIF of a JPEG."""
    exif = b""
    with path.open("rb") as file:
        file.seek(2)
        while len(head := file.read(4)) == 4:
            marker, length = head[1], int.from_bytes(head[2:], "big")
            body = file.read(length - 2)
            if head[0] != 0xFF or len(body) < length - 2 or marker == 0xDA:
                break
            if marker == 0xE1 and body.startswith(b"Exif\0\0"):
                exif = body
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                bits, height, width, channels = struct.unpack(">BHHB", body[:6])
                return marker - 0xC0, bits, (height, width), channels, exif
    raise ValueError("no frame header")


def _rare_jpeg(path: Path, bits: int) -> np.ndarray:
    data = path.read_bytes()
    if b"\xff\xd9" not in data:
        raise ValueError("no end of image")
    try:
        return imagecodecs.jpeg8_decode(data)
    except RuntimeError:
        try:
            return imagecodecs.jpegsof3_decode(data)
        except RuntimeError:
            got = f"a JPEG of {bits} bits in a coding that no decoder here reads"
            raise FileProblem(path, "a JPEG image", got, "convert it to PNG or TIFF") from None


_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_MEANINGS: dict[int, Meaning] = {0: "grey", 2: "rgb", 3: "palette", 4: "grey", 6: "rgb"}


def png_header(path: Path) -> Header:
    """By the chunks that hold the image; profiles and texts beside them, however large, are passed over."""
    chunks = _png_chunks(path)
    if "CgBI" in chunks:
        fix = "turn it into a real PNG: pngcrush -revert-iphone-optimizations IN OUT"
        raise FileProblem(path, "a PNG image", "Apple's variant for iPhones (CgBI)", fix)
    width, height, depth, colour = struct.unpack(">IIBB", chunks["IHDR"][:10])
    deep_colour = depth == 16 and colour != 0
    steps = (255 // (2**depth - 1)) if depth < 8 and colour == 0 else 1
    notices = ("transparency dropped",) if "tRNS" in chunks else ()
    return Header(
        (height, width),
        _PNG_CHANNELS[colour],
        _PNG_MEANINGS[colour],
        (lambda: imagecodecs.png_decode(_bare_png(path, transparency=False)))
        if deep_colour
        else lambda: _png_pixels(path, steps),
        white=2**depth - 1 if colour == 0 or depth == 16 else 255,
        alpha=colour in (4, 6),
        palette=np.frombuffer(chunks["PLTE"], np.uint8).reshape(-1, 3).copy()
        if colour == 3 and "PLTE" in chunks
        else None,
        orientation=_png_orientation(path, chunks.get("eXIf", b"")),
        packed=max(1, 8 // depth) if depth else 1,
        notices=(*notices, *(("an animation: its first frame is taken",) if "acTL" in chunks else ())),
    )


def _png_pixels(path: Path, steps: int) -> np.ndarray:
    try:
        return _pixels(PngImageFile, path, steps)
    except (SyntaxError, ValueError, OSError, struct.error, zlib.error):
        return _pixels(PngImageFile, io.BytesIO(_bare_png(path)), steps)


def _png_orientation(path: Path, exif: bytes) -> int:
    if exif:
        return _exif_orientation(exif)
    try:
        with _opened(PngImageFile, path) as image:
            return _orientation(image)
    except (SyntaxError, ValueError, OSError, struct.error, zlib.error):
        return 1


_IMAGE_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
_KEPT_CHUNKS = {"IHDR", "PLTE", "tRNS", "eXIf", "acTL", "CgBI"}


def _png_chunks(path: Path) -> dict[str, bytes]:
    """The chunks that say what the image is; the last of each name. eXIf may stand behind the pixels."""
    chunks = {}
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            text = name.decode("latin-1")
            if text in _KEPT_CHUNKS:
                chunks[text] = file.read(min(length, 1 << 20))
                file.seek(length - len(chunks[text]) + 4, 1)
            else:
                file.seek(length + 4, 1)
            if name == b"IEND":
                break
    return chunks


def _bare_png(path: Path, *, transparency: bool = True) -> bytes:
    """The file without the chunks at which decoders stumble, although they hold no pixels."""
    kept = [b"\x89PNG\r\n\x1a\n"]
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            if name == b"IEND":
                break
            if name in _IMAGE_CHUNKS and (transparency or name != b"tRNS"):
                kept += [head, body := file.read(length + 4)]
                if len(body) < length + 4:
                    raise ValueError("the file ends inside a chunk")
            else:
                file.seek(length + 4, 1)
    return b"".join([*kept, b"\0\0\0\0IEND\xaeB`\x82"])


def pillow_header(form: str) -> Callable[[Path], Header]:
    """For formats that Pillow alone reads, by its name of the format."""

    def header(path: Path) -> Header:
        with _by_pillow(path, form) as image:
            palette = image.getpalette("RGB") if image.mode == "P" else None
            notices = []
            if getattr(image, "is_animated", False):
                notices.append("an animation: its first frame is taken")
            if "transparency" in image.info:
                notices.append("transparency dropped")
            return Header(
                (image.height, image.width),
                len(image.getbands()),
                _MEANINGS.get(image.mode, "grey"),
                lambda: _pillow_pixels(path, form),
                white=1 if image.mode == "1" else 255,
                alpha=image.mode in ("LA", "RGBA"),
                palette=None if palette is None else np.array(palette, np.uint8).reshape(-1, 3),
                orientation=_orientation(image),
                notices=tuple(notices),
            )

    return header


def _by_pillow(path: Path, form: str) -> Image.Image:
    try:
        return Image.open(path, formats=(form,))
    except Image.DecompressionBombError as error:
        got = f"a header that claims more ({str(error).partition(',')[0]})"
        raise FinalProblem(path, f"at most {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels", got) from None


def _pillow_pixels(path: Path, form: str) -> np.ndarray:
    with _by_pillow(path, form) as image:
        return np.asarray(image).astype(np.uint8, copy=False)


def decoded_header(
    decode: Callable[[bytes], np.ndarray], size_of: Callable[[bytes], tuple[int, int] | None]
) -> Callable[[Path], Header]:
    """For formats whose header only their decoder reads: the pixels are decoded when the file is opened,
    once ``size_of`` has told that there are not too many."""

    def header(path: Path) -> Header:
        data = path.read_bytes()
        size = size_of(data)
        if size is None:
            raise ValueError("no size in its header")
        require_honest_size(path, size, 1)
        pixels = decode(data)
        pixels = pixels[0] if pixels.ndim == 4 else pixels
        if pixels.dtype.name not in ("uint8", "uint16"):
            got = f"{pixels.dtype} samples"
            raise FileProblem(path, "samples of 8 or 16 bits", got, "convert it to TIFF")
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        return Header(
            (pixels.shape[0], pixels.shape[1]),
            channels,
            "grey" if channels < 3 else "rgb" if channels < 5 else "bands",
            lambda: pixels,
            white=int(np.iinfo(pixels.dtype).max),
            alpha=channels in (2, 4),
        )

    return header


def _opened(form: type[ImageFile.ImageFile], path: Path | io.BytesIO) -> ImageFile.ImageFile:
    with _WARNING_FILTERS_ARE_GLOBAL, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return form(path)


def _pixels(form: type[ImageFile.ImageFile], path: Path | io.BytesIO, steps: int = 1) -> np.ndarray:
    """The stored samples; Pillow spreads grey of 1, 2 or 4 bits over 0..255 in ``steps``, undone here."""
    with _opened(form, path) as image:
        image.load()
        pixels = np.asarray(image)
    if pixels.dtype == bool:
        return pixels.astype(np.uint8)
    return pixels // np.uint8(steps) if steps > 1 else pixels


def _orientation(image: Image.Image) -> int:
    try:
        return int(Image.Image.getexif(image).get(ORIENTATION, 1))
    except (ValueError, TypeError, LookupError, SyntaxError, OSError, struct.error):
        return 1


def _exif_orientation(exif: bytes) -> int:
    known = Image.Exif()
    try:
        known.load(exif)
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
    return Header(
        size,
        4 if alpha else 3,
        "rgb",
        lambda: _decode(path, alpha),
        alpha=alpha,
        orientation=_exif_orientation(chunks["EXIF"]) if "EXIF" in chunks else 1,
        notices=notices,
    )


def _chunks(data: bytes) -> list[tuple[str, bytes]]:
    chunks, at = [], 12
    while at + 8 <= len(data):
        name, length = struct.unpack("<4sI", data[at : at + 8])
        chunks.append((name.decode("ascii").strip(), data[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    return chunks[::-1]


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
    "gif": ("a GIF image", pillow_header("GIF")),
    "bmp": ("a BMP image", pillow_header("BMP")),
    "avif": ("an AVIF image", pillow_header("AVIF")),
    "jpegxl": ("a JPEG XL image", decoded_header(lambda data: imagecodecs.jpegxl_decode(data), jpegxl_size)),
    "jpeg2000": (
        "a JPEG 2000 image",
        decoded_header(lambda data: imagecodecs.jpeg2k_decode(data), jpeg2000_size),
    ),
}


class PhotoRaster(Raster):
    """A PNG, JPEG, WebP, GIF, BMP, AVIF or JPEG XL image as it is shown (EXIF orientation applied)."""

    def __init__(self, path: Path, kind: str) -> None:
        self._expected, read_header = _KINDS[kind]
        with reading(path, self._expected):
            header = read_header(path)
            require_honest_size(path, header.size, header.pixel_bytes)
            super().__init__(_info(path, kind, header))
        self._header = header
        self.orientation = header.orientation
        self._pixels: np.ndarray | None = None
        self._mask_beside = path.with_name(path.name + ".msk")
        self._mask: np.ndarray | None = None
        self._lock = threading.Lock()

    def _read(self, window: Window, level: int) -> np.ndarray:
        with self._lock:
            if self._pixels is None:
                self._require_memory(self.info.resident)
                with reading(self.path, self._expected):
                    self._pixels = self._decode()
            pixels = self._pixels
        return pixels[window.slices].copy()

    def _valid(self, window: Window, level: int) -> np.ndarray:
        if not os.path.isfile(self._mask_beside):
            return super()._valid(window, level)
        with self._lock:
            if self._mask is None:
                self._mask = orient(_read_mask(self._mask_beside, self._header.size), self.orientation)
        return measured(self._read(window, level), self.info, by_mask=True) & self._mask[window.slices]

    def has_gaps(self) -> bool:
        """By the pixels, which are decoded whole anyway: many photographs are opaque throughout."""
        return self.info.masked and not bool(self.valid().all())

    def _decode(self) -> np.ndarray:
        pixels = self._header.decode()
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        if pixels.shape != (*self._header.size, self.channels):
            raise ValueError("the pixels are not what the header promised")
        return orient(pixels.astype(self.dtype, copy=False), self._header.orientation)

    @property
    def turned(self) -> bool:
        """Whether the stored rows are shown in another order."""
        return self._header.orientation not in (0, 1)

    def close(self) -> None:
        self._pixels = None


def _read_mask(path: Path, size: tuple[int, int]) -> np.ndarray:
    """(h, w) bool of the file of GDAL that says which stored pixels were measured."""
    with TiffRaster(path) as raster:
        if raster.size != size:
            raise FileProblem(path, f"a mask of {size[1]} x {size[0]} pixels", f"{raster.size[::-1]}")
        return np.asarray(raster.read().any(axis=2))


def _info(path: Path, kind: str, header: Header) -> RasterInfo:
    size = oriented_pair(header.size, header.orientation)
    dtype = np.dtype(np.uint8 if header.white <= 255 else np.uint16)
    nodata = nodata_of([None] * header.channels, said_beside(path))
    has_nodata = nodata["nodata"] is not None or bool(nodata["nodata_of_bands"])
    return RasterInfo(
        path,
        (Level.of(size, size, (256, 256)),),
        dtype,
        header.channels,
        header.meaning,
        white=header.white,
        alpha=header.alpha,
        masked=header.alpha or has_nodata or os.path.isfile(f"{path}.msk"),
        palette=header.palette,
        notices=(*misnamed(path, kind), *header.notices),
        resident=size[0] * size[1] * header.channels * dtype.itemsize,
        **nodata,
    )
