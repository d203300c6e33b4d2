"""What the header of an image claims, held against the bytes that are there, before anything is listed or
allocated for it: a file of a few bytes may claim more pixels than there is memory."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from saccade.errors import FinalProblem
from saccade.runtime.addresses import Address

HONEST_BYTES = 1 << 28
"""Decoded bytes that any file may claim."""
MOST_EXPANSION = 2048
"""Decoded bytes for one byte of a photograph: deflate reaches 1032, and what reaches more is a blank."""
HONEST_PIECES = 1 << 20
"""Tiles, or rows of them, that any file may claim; more where it has bytes for them."""
LEAST_PIECE = 8
"""Bytes that a tile takes in the tables of a file at least."""
MOST_SIDE = 2**31 - 1
MOST_PIXELS = 1 << 44


def require_honest_size(path: Path, size: tuple[int, int], pixel_bytes: float) -> None:
    """Refuses a photograph that would be decoded whole into far more bytes than its file can hold.

    Args:
        path: of the file.
        size: (h, w) that it claims.
        pixel_bytes: of a pixel once unpacked; 1/8 where eight of them are stored in a byte.

    Raises:
        FinalProblem: for a size that its bytes cannot hold.
    """
    there = os.path.getsize(path)
    claimed = size[0] * size[1] * pixel_bytes
    if min(size) < 1 or claimed > max(HONEST_BYTES, MOST_EXPANSION * there):
        raise FinalProblem(path, "an image whose header is true", f"{_told(size)} in {there:,} bytes")


def require_honest_pieces(
    path: Path, levels: Iterable[tuple[tuple[int, int], tuple[int, int]]], files: Iterable[Path]
) -> None:
    """Refuses an image of more pieces than its files can hold, or of more pixels than any instrument takes.

    Args:
        path: of the image.
        levels: (h, w) of each level, and of the pieces that it is read in.
        files: that hold its pixels.

    Raises:
        FinalProblem: for claims that cannot be true.
    """
    for size, piece in levels:
        if max(size) > MOST_SIDE or size[0] * size[1] > MOST_PIXELS:
            raise FinalProblem(path, f"at most {MOST_PIXELS:,} pixels", _told(size))
        count = -(-size[0] // max(1, piece[0])) * -(-size[1] // max(1, piece[1]))
        if count > HONEST_PIECES and not _hold(files, (count - HONEST_PIECES) * LEAST_PIECE):
            got = f"{_told(size)} in {count:,} tiles, which it has no bytes for"
            raise FinalProblem(path, "an image whose header is true", got)
        # A piece is unpacked whole; one byte a pixel is the least.
        unpacked = min(piece[0], size[0]) * min(piece[1], size[1])
        if unpacked > HONEST_BYTES and not _hold(files, unpacked // MOST_EXPANSION):
            got = f"{_told(size)} in tiles or strips of {unpacked:,} pixels, which it has no bytes for"
            raise FinalProblem(path, "an image whose header is true", got)


def _told(size: tuple[int, int]) -> str:
    return f"a header that claims {size[1]:,} x {size[0]:,} pixels"


def _hold(files: Iterable[Path], claimed: int) -> bool:
    """Whether files, or folders of them, are of so many bytes together."""
    for path in files:
        if isinstance(path, Address):
            return True  # a TIFF has its tables read, and of a Zarr nobody there counts the bytes
        inner = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
        for file in inner if path.is_dir() else (path,):
            try:
                claimed -= os.path.getsize(file)
            except OSError:
                continue
            if claimed <= 0:
                return True
    return claimed <= 0


MOST_TAGS = 4096


def require_sound_chain(path: Path, file: IO[bytes]) -> None:
    """Refuses a TIFF whose chain of pages leads back into itself: it would be followed without end.

    Args:
        path: of the file.
        file: open, at any place.

    Raises:
        FinalProblem: for such a chain.
    """
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return
    big = struct.unpack(f"{order}H", head[2:4])[0] == 43
    number, tag, link = ("Q", 20, "Q") if big else ("H", 12, "I")
    width = struct.calcsize(link)
    offset = int.from_bytes(head[8:16] if big else head[4:8], "little" if order == "<" else "big")
    seen: set[int] = set()
    while offset:
        if offset in seen:
            got = f"one whose chain of {len(seen):,} pages leads back into itself"
            raise FinalProblem(path, "a TIFF image", got)
        seen.add(offset)
        file.seek(offset)
        start = file.read(struct.calcsize(number))
        if len(start) < struct.calcsize(number):
            return
        tags = struct.unpack(f"{order}{number}", start)[0]
        if tags > MOST_TAGS:
            return
        file.seek(tags * tag, os.SEEK_CUR)
        following = file.read(width)
        if len(following) < width:
            return
        offset = struct.unpack(f"{order}{link}", following)[0]


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(h, w) in the frame header of a JPEG stream; None where there is none."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
        at += 2 + length
    return None


def jpeg2000_size(data: bytes) -> tuple[int, int] | None:
    """(h, w) of a JPEG 2000 codestream, alone or in its box; None where there is none."""
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0 or len(data) < at + 24:
        return None
    width, height, left, top = struct.unpack(">4I", data[at + 8 : at + 24])
    return max(0, height - top), max(0, width - left)


def jpegxl_size(data: bytes) -> tuple[int, int] | None:
    """(h, w) in the SizeHeader (ISO/IEC 18181-1, D.2) of a JPEG XL codestream; None where there is none."""
    start = _jpegxl_codestream(data)
    if start is None:
        return None
    bits, at = int.from_bytes(data[start : start + 16], "little"), 0

    def take(count: int) -> int:
        nonlocal at
        at += count
        return bits >> (at - count) & (1 << count) - 1

    def side(small: bool) -> int:
        return (take(5) + 1) * 8 if small else take((9, 13, 18, 30)[take(2)]) + 1

    small = bool(take(1))
    height = side(small)
    ratio = take(3)
    if not ratio:
        return height, side(small)
    above, below = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
    return height, height * above // below


def _jpegxl_codestream(data: bytes) -> int | None:
    """Where the SizeHeader begins, alone or in the boxes of a container."""
    if data.startswith(b"\xff\x0a"):
        return 2
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = at + 8
        if length == 1:
            length, body = int.from_bytes(data[body : body + 8], "big"), body + 8
        body += 4 * (kind == b"jxlp")  # the number of the part
        if kind in (b"jxlc", b"jxlp") and data[body : body + 2] == b"\xff\x0a":
            return body + 2
        if length < 8:
            return None
        at += length
    return None
