"""What a file is by its first bytes, the optional library that reads it, and what its decoder says."""

from __future__ import annotations

import errno
import importlib
import logging
import re
import stat
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np

from saccade.errors import FileProblem, SaccadeError
from saccade.rasters.codecs import MISSING

_PACKAGES = {"slides": "openslide-python openslide-bin"}
"""What to install for an extra, where it is not called as the module is."""


def load(module: str, extra: str, path: Path, kind: str) -> ModuleType:
    """``module``, or FileProblem that names what to install; a checkout has no index to take extras from."""
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:  # openslide's C library is a file of its own
        raise FileProblem(
            path,
            f"the libraries that read and write {kind}",
            f"none ({error})",
            f"pip install {_PACKAGES.get(extra, module.partition('.')[0])} (the extra {extra!r} of saccade)",
        ) from None


_CAUGHT = threading.local()
DAMAGE = "a damaged or truncated file"


class _Listener(logging.Filter):
    """Keeps the records of a decoder's log from the user while this thread is reading for us."""

    def filter(self, record: logging.LogRecord) -> bool:
        messages = getattr(_CAUGHT, "messages", None)
        if messages is None:
            return True
        messages.append(record.getMessage())
        return False


_LISTENER = _Listener()


@contextmanager
def reading(path: Path, expected: str) -> Iterator[list[str]]:
    """Run decoders: their errors become ``FileProblem(path, expected, ...)``, their log stays silent.

    Yields the list that what they logged is put into.
    """
    outer = getattr(_CAUGHT, "messages", None)
    messages: list[str] = []
    _CAUGHT.messages = messages
    try:
        with np.errstate(all="ignore"):
            yield messages
    except SaccadeError:
        raise
    except MemoryError:
        raise FileProblem(path, expected, "an image too large for the memory left") from None
    except OSError as error:
        raise FileProblem(path, expected, _words(error)) from error
    except (*_DECODER_ERRORS,) as error:
        raise FileProblem(path, expected, decoder_words(error)) from error
    finally:
        _CAUGHT.messages = outer


def listen(logger: str) -> None:
    """Make ``reading`` hear this logger."""
    named = logging.getLogger(logger)
    if _LISTENER not in named.filters:
        named.addFilter(_LISTENER)


_DECODER_ERRORS = (
    ValueError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError, RuntimeError, SyntaxError,
    AssertionError, ImportError, struct.error, zlib.error,
)  # fmt: skip

_UNSUPPORTED = re.compile(
    r"not supported|unsupported|not implemented|missing codec|not (?:yet )?handled|cannot handle|no codec|"
    r"unknown compression|not available|could not import|requires the|unexpected compression",
    re.IGNORECASE,
)


def decoder_words(error: BaseException) -> str:
    """What a decoder's error says of the file: that it is damaged, or that the decoder does not know it."""
    first = (str(error).strip().splitlines() or [""])[0][:160]
    if isinstance(error, NotImplementedError | ImportError) or _UNSUPPORTED.search(first):
        more = "; pip install imagecodecs" if MISSING else ""
        return f"what its decoder does not support ({first or type(error).__name__}{more})"
    return DAMAGE


_SYSTEM = {
    errno.ENOENT: "no such file",
    errno.EACCES: "a file that may not be read (permission denied)",
    errno.EISDIR: "a folder",
    errno.EIO: "a disk that fails to read (input/output error)",
    errno.EMFILE: "too many files open at once",
    errno.ENAMETOOLONG: "a name that is too long for the file system",
    errno.ELOOP: "a link that leads to itself",
}


def _words(error: OSError) -> str:
    return _SYSTEM.get(error.errno or 0) or decoder_words(error)


Kind = Literal[
    "png", "jpeg", "webp", "gif", "bmp", "avif", "jpegxl", "jpeg2000", "tiff", "vrt", "zarr", "other"
]
PHOTOS: tuple[Kind, ...] = ("png", "jpeg", "webp", "gif", "avif", "jpegxl")

_SUFFIXES: dict[str, tuple[str, ...]] = {
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif"),
    "webp": (".webp",),
    "gif": (".gif",),
    "avif": (".avif",),
    "jpegxl": (".jxl",),
    "tiff": (".tif", ".tiff", ".btf", ".svs", ".ndpi", ".scn", ".bif", ".tf8", ".svslide", ".vmu"),
}


def sniff(path: Path) -> Kind:
    """The kind of the file's content.

    Raises:
        FileProblem: missing, not readable, a plain folder, or empty.
    """
    with reading(path, "an image"):
        mode = _mode(path)
        if stat.S_ISDIR(mode):
            if is_zarr(path):
                return "zarr"
            fix = "name the images inside it"
            raise FileProblem(path, "an image", "a folder without Zarr metadata", fix)
        if not stat.S_ISREG(mode):
            raise FileProblem(path, "an image", "a pipe, socket or device, and no file")
        with path.open("rb") as file:
            start = file.read(4096)
    if not start:
        raise FileProblem(path, "an image", "an empty file (0 bytes)")
    return kind_of_bytes(start)


def is_zarr(path: Path) -> bool:
    """Whether a folder is one image, or a group of images, in the Zarr format."""
    return any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zarray", ".zattrs"))


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise FileProblem(path, "an image", f"a link to {path.readlink()}, which is not there") from None
        raise
    except ValueError:
        raise FileProblem(repr(str(path)), "an image", "a name with a character that no file has") from None


_MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"\xff\x0a", "jpegxl"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "jpegxl"),
    (b"\0\0\0\x0cjP  ", "jpeg2000"),
    (b"\xff\x4f\xff\x51", "jpeg2000"),
    (b"BM", "bmp"),
)


def kind_of_bytes(start: bytes) -> Kind:
    """The kind of a file by its first bytes."""
    for magic, kind in _MAGIC:
        if start.startswith(magic):
            return kind
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "webp"
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if start[4:8] == b"ftyp" and start[8:12] in (b"avif", b"avis"):
        return "avif"
    return "vrt" if b"<VRTDataset" in start and _is_text(start) else "other"


def _is_text(start: bytes) -> bool:
    return start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<"


_NAMED: tuple[tuple[int, bytes, str, str], ...] = (
    (4, b"ftyp", "an HEIC or HEIF image", "convert it to PNG: magick IN OUT.png"),
    (0, b"%PDF", "a PDF document", "save its images as PNG: pdftoppm -png IN OUT"),
    (0, b"PK\3\4", "a ZIP archive", "unpack it"),
    (0, b"\x1f\x8b", "a file packed with gzip", "unpack it: gunzip FILE"),
    (0, b"\x89HDF", "an HDF5 file", "save the image in it as TIFF or Zarr"),
    (0, b"CDF", "a netCDF file", "save the image in it as TIFF or Zarr"),
    (0, b"8BPS", "a Photoshop document", "save it as TIFF or PNG"),
    (0, b"v/1\x01", "an OpenEXR image", "convert it to TIFF"),
    (0, b"version https://git-lfs", "a Git LFS pointer in place of the file", "fetch it: git lfs pull"),
    (0, b"<svg", "an SVG drawing", "save it as PNG"),
    (0, b"<!doctype html", "a web page, maybe an error in place of the image", "fetch it again"),
    (0, b"<html", "a web page, maybe an error in place of the image", "fetch it again"),
    (0, b"ZISRAW", "a CZI image", "convert it to OME-TIFF: bfconvert IN OUT.ome.tif"),
    (
        128,
        b"DICM",
        "a DICOM file",
        "install openslide-python and openslide-bin for slides, else convert it to TIFF",
    ),
)


def unread_format(path: Path) -> tuple[str, str]:
    """What a file is that nothing here reads, and the way out; empty texts where that is not known."""
    with reading(path, "an image"), path.open("rb") as file:
        return named_format(file.read(256))


def named_format(start: bytes) -> tuple[str, str]:
    """The same by the first bytes."""
    return next(
        (
            (what, fix)
            for at, magic, what, fix in _NAMED
            if start[at : at + len(magic)].lower() == magic.lower()
        ),
        ("", ""),
    )


def misnamed(path: Path, kind: str) -> tuple[str, ...]:
    """A notice where the extension promises another of the known formats than the content is."""
    suffix = path.suffix.lower()
    owner = next((name for name, suffixes in _SUFFIXES.items() if suffix in suffixes), kind)
    if owner == kind:
        return ()
    return (
        f"{path.name} is named as {owner.upper()} but holds {kind.upper()}; it is read as {kind.upper()}",
    )
