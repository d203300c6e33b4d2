"""WebP: the header from its RIFF chunks, the pixels from imagecodecs (no limit on their number)."""

from __future__ import annotations

import struct
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image

from saccade.rasters.photo_header import ORIENTATION, Header


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
