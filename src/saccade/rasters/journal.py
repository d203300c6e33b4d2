"""What an output holds, and its tiles and coarser levels in a journal that survives a killed program."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

import numpy as np

from saccade.errors import FileProblem, InvalidInput
from saccade.geometry import require_size
from saccade.rasters._kernels import most_frequent
from saccade.rasters.codecs import imagecodecs
from saccade.rasters.raster import PixelSize, Raster
from saccade.runtime.files import lock
from saccade.runtime.threads import run_bands

Kind = Literal["labels", "scores", "density"]
_DTYPES = {
    "labels": ("uint8", "uint16"),
    "scores": ("uint8", "uint16", "float16", "float32"),
    "density": ("uint8", "uint16", "float16", "float32"),
}


@dataclass(frozen=True)
class Output:
    """One output raster.

    Attributes:
        size: (H, W).
        kind: "labels" (class indices: coarser levels hold the most frequent index, never a mean), "scores" or
            "density" (coarser levels hold means).
        dtype: of the samples: uint8 or uint16; for scores and density float16 or float32 too.
        channels: C; 1 for labels and density.
        tile: rows and columns of a tile, a multiple of 16.
        palette: (red, green, blue) of each index, for labels of uint8.
        names: of the classes, or of the channels of scores.
        nodata: the value that means "nothing was measured here".
        pixel_size, crs, transform: as ``RasterInfo``.

    Raises:
        InvalidInput: a value that does not fit the others.

    Examples:
        >>> from saccade.rasters import Output, PixelSize
        >>> Output((1000, 3000), tile=512, pixel_size=PixelSize(0.5, 0.5, "micron")).tiles
        (2, 6)
    """

    size: tuple[int, int]
    kind: Kind = "labels"
    dtype: str = "uint8"
    channels: int = 1
    tile: int = 512
    palette: tuple[tuple[int, int, int], ...] | None = None
    names: tuple[str, ...] | None = None
    nodata: float | None = None
    pixel_size: PixelSize | None = None
    crs: str | None = None
    transform: tuple[float, float, float, float, float, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", require_size(self.size))
        object.__setattr__(self, "dtype", np.dtype(self.dtype).name)
        if self.kind not in _DTYPES:
            raise InvalidInput("kind", "labels, scores or density", repr(self.kind))
        if self.dtype not in _DTYPES[self.kind]:
            raise InvalidInput(f"dtype of {self.kind}", " or ".join(_DTYPES[self.kind]), self.dtype)
        if self.channels < 1 or (self.kind != "scores" and self.channels != 1):
            raise InvalidInput(f"channels of {self.kind}", "1 (several only for scores)", self.channels)
        if self.tile < 16 or self.tile % 16:
            raise InvalidInput("tile", "a multiple of 16", self.tile)
        if self.palette is not None:
            self._check_palette()

    def _check_palette(self) -> None:
        colours = np.asarray(self.palette)
        if self.dtype != "uint8" or self.kind != "labels":
            raise InvalidInput("palette", "given only for labels of uint8", f"{self.kind} of {self.dtype}")
        if colours.ndim != 2 or colours.shape[1] != 3 or len(colours) > 256 or colours.dtype.kind not in "ui":
            raise InvalidInput("palette", "at most 256 rows (red, green, blue)", f"{colours.shape}")
        if colours.min() < 0 or colours.max() > 255:
            raise InvalidInput("palette", "values from 0 to 255", f"{colours.min()} to {colours.max()}")

    @classmethod
    def like(cls, raster: Raster, kind: Kind = "labels", **options: Any) -> Output:
        """An output of the size, scale and place of ``raster``."""
        place = {"pixel_size": raster.pixel_size, "crs": raster.crs, "transform": raster.transform}
        return cls(raster.size, kind, **(place | options))

    @property
    def tiles(self) -> tuple[int, int]:
        """(rows, columns) of tiles."""
        return -(-self.size[0] // self.tile), -(-self.size[1] // self.tile)

    def colour_table(self) -> np.ndarray | None:
        """(256, 3) uint8, black beyond the palette; None without one."""
        if self.palette is None:
            return None
        table = np.zeros((256, 3), np.uint8)
        table[: len(self.palette)] = self.palette
        return table

    def as_json(self) -> dict[str, Any]:
        """Plain values, equal for equal outputs."""
        fields_of = {field.name: getattr(self, field.name) for field in fields(self)}
        return fields_of | {"pixel_size": None if self.pixel_size is None else asdict(self.pixel_size)}


def halve(pixels: np.ndarray, kind: Kind) -> np.ndarray:
    """(h, w) to (ceil(h / 2), ceil(w / 2)); an odd last row or column stands for itself twice."""
    if any(side % 2 for side in pixels.shape):
        pixels = np.pad(pixels, [(0, side % 2) for side in pixels.shape], mode="edge")
    if kind == "labels":
        out = np.empty((pixels.shape[0] // 2, pixels.shape[1] // 2), pixels.dtype)
        most_frequent(np.ascontiguousarray(pixels), out)
        return out
    mean = pixels.reshape(pixels.shape[0] // 2, 2, -1, 2).mean((1, 3), dtype=np.float32)
    return (np.rint(mean) if pixels.dtype.kind in "ui" else mean).astype(pixels.dtype)


class TileJournal:
    """``folder`` holds about.json (what is being written), tiles (their bytes), journal (their lengths).

    Raises:
        FileProblem: another program writes it, or ``resume`` meets a journal of something else.
    """

    def __init__(self, folder: Path, about: dict[str, Any], per_row: int, *, resume: bool = False) -> None:
        self.folder, self.per_row = folder, per_row
        self.rows: list[list[tuple[int, int]]] = []
        folder.mkdir(exist_ok=True)
        self._tiles = _open(folder / "tiles")
        self._journal = _open(folder / "journal")
        try:
            self._begin(about, resume)
        except BaseException:
            self.close()
            raise

    def _begin(self, about: dict[str, Any], resume: bool) -> None:
        # The tiles themselves are held, not the folder: their file is open as long as anything is written.
        lock(self._tiles, self.folder, "an output that no other program writes")
        text = json.dumps(about, sort_keys=True)
        manifest = self.folder / "about.json"
        if resume and manifest.exists():
            if manifest.read_bytes() != text.encode():
                fix = "use the same options, or leave --resume out to start again"
                raise FileProblem(self.folder, "a run with the same options to resume", "other options", fix)
            self._recover()
        # Emptied first: were the new description there before, a program that is killed now would leave tiles
        # of other options under it.
        self.cut(len(self.rows))
        manifest.write_text(text)

    def _recover(self) -> None:
        """Take the rows whose journal entry is whole and whose tiles are there."""
        length = os.fstat(self._tiles.fileno()).st_size
        record = struct.Struct(f"<{self.per_row}QI")
        at, journal = 0, self._journal.read()
        # Whole records only, up to the first that is torn: after it nothing tells where the next one begins.
        for start in range(0, len(journal) - record.size + 1, record.size):
            *lengths, check = record.unpack_from(journal, start)
            # Both: a disk may have kept the entry and lost the tiles, whatever order they were written in.
            if check != zlib.crc32(journal[start : start + record.size - 4]) or at + sum(lengths) > length:
                break
            self.rows.append(_places(at, lengths))
            at += sum(lengths)

    def append(self, tiles: Sequence[bytes]) -> None:
        """One more row of tiles, safe on the disk when this returns."""
        start = self._end()
        lengths = [len(tile) for tile in tiles]
        entry = struct.pack(f"<{self.per_row}Q", *lengths)
        # The tiles reach the disk before the entry that vouches for them: a program that is killed in between
        # leaves bytes that no entry names, and the next row is written over them.
        self._tiles.seek(start)
        self._tiles.writelines(tiles)
        _flush(self._tiles)
        self._journal.seek(len(self.rows) * (len(entry) + 4))
        self._journal.write(entry + struct.pack("<I", zlib.crc32(entry)))
        _flush(self._journal)
        self.rows.append(_places(start, lengths))

    def cut(self, rows: int) -> None:
        """Forget all but the first ``rows`` rows of tiles."""
        del self.rows[rows:]
        # The journal first: entries must never vouch for bytes that are gone.
        for file, end in ((self._journal, rows * (8 * self.per_row + 4)), (self._tiles, self._end())):
            file.truncate(end)
            file.seek(end)

    def _end(self) -> int:
        return sum(self.rows[-1][-1]) if self.rows else 0

    @property
    def total(self) -> int:
        """Bytes of all tiles together."""
        return self._end()

    def read(self, row: int, number: int) -> bytes:
        """The bytes of one tile; any number of threads may read."""
        offset, length = self.rows[row][number]
        # A position of its own in each call, since threads share the one of the file.
        if hasattr(os, "pread"):
            return os.pread(self._tiles.fileno(), length, offset)
        with (self.folder / "tiles").open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def close(self) -> None:
        """Rows that count are on the disk; what a full disk refused of another is not written once more."""
        for file in (self._tiles, self._journal):
            with suppress(OSError):
                file.close()


def _open(path: Path) -> BinaryIO:
    # "r+" wants a file, and "a" would write at the end wherever one seeks to.
    path.touch()
    return path.open("r+b")


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _places(start: int, lengths: Sequence[int]) -> list[tuple[int, int]]:
    places = []
    for length in lengths:
        places.append((start, length))
        start += length
    return places


EFFORT = 6


Packed = int | bytes
"""A tile, deflated; of one that holds a single value, that value."""


class TilePacker:
    """Deflates tiles of (tile, tile) samples of one channel each.

    A row of tiles holds all columns of the first channel, then of the second, and so on.
    """

    def __init__(self, output: Output, size: tuple[int, int]) -> None:
        self.output, self.size = output, size
        self.dtype = np.dtype(output.dtype)
        self.count = -(-size[0] // output.tile), -(-size[1] // output.tile)
        self._plain: dict[int, bytes] = {}
        self._values: dict[bytes, int] = {}

    @property
    def per_row(self) -> int:
        """Tiles in a row, of all channels."""
        return self.count[1] * self.output.channels

    def packed_row(self, strip: np.ndarray) -> list[Packed]:
        """A row of tiles from its pixels (rows, W, C)."""
        side = self.output.tile

        def packed(number: int) -> Packed:
            channel, column = divmod(number, self.count[1])
            return self._packed(strip[:, column * side : (column + 1) * side, channel])

        return _spread(packed, self.per_row)

    def _packed(self, pixels: np.ndarray) -> Packed:
        whole = pixels.shape == (self.output.tile, self.output.tile)
        # Most tiles of a label map are of one class, and compressing one takes longer than comparing it.
        if whole and self.dtype.kind == "u" and (pixels == pixels[0, 0]).all():
            return int(pixels[0, 0])
        tile = np.zeros((self.output.tile, self.output.tile), self.dtype)
        tile[: pixels.shape[0], : pixels.shape[1]] = pixels
        return self._deflated(tile)

    def pack(self, pixels: np.ndarray) -> bytes:
        """A tile, filled up with zeros at the right and below, deflated."""
        return self.deflated(self._packed(pixels))

    def deflated(self, packed: Packed) -> bytes:
        """The bytes of a tile."""
        return self._plain_tile(packed) if isinstance(packed, int) else packed

    def _plain_tile(self, value: int) -> bytes:
        if value not in self._plain:
            tile = np.full((self.output.tile, self.output.tile), value, self.dtype)
            self._plain[value] = self._deflated(tile)
            self._values[self._plain[value]] = value
        return self._plain[value]

    def _deflated(self, tile: np.ndarray) -> bytes:
        return bytes(imagecodecs.deflate_encode(tile.tobytes(), level=EFFORT))


class TileStore(TilePacker):
    """One level: the tiles of a packer in a journal."""

    def __init__(self, folder: Path, output: Output, size: tuple[int, int], *, resume: bool = False) -> None:
        super().__init__(output, size)
        about: dict[str, Any] = {"output": output.as_json(), "size": size, "effort": EFFORT}
        self.journal = TileJournal(folder, about, self.per_row, resume=resume)

    def append(self, strip: np.ndarray) -> None:
        """The next row of tiles from its pixels (rows, W, C)."""
        self.append_packed(self.packed_row(strip))

    def append_packed(self, row: Sequence[Packed]) -> None:
        """The next row of tiles, as a packer elsewhere gave them."""
        self.journal.append([self.deflated(tile) for tile in row])

    def tile(self, row: int, column: int, channel: int = 0) -> np.ndarray:
        """The pixels of a tile that lie inside the image."""
        return self._inflated(self._stored(row, column, channel), row, column)

    def _stored(self, row: int, column: int, channel: int) -> bytes:
        return self.journal.read(row, channel * self.count[1] + column)

    def _inflated(self, stored: bytes, row: int, column: int) -> np.ndarray:
        side = self.output.tile
        try:
            data = imagecodecs.deflate_decode(stored, out=side * side * self.dtype.itemsize)
            tile = np.frombuffer(data, self.dtype).reshape(side, side)
        except (imagecodecs.DeflateError, ValueError):
            fix = "remove the folder, and begin anew"
            raise FileProblem(
                self.journal.folder, "tiles as they were written", "a damaged one", fix
            ) from None
        return tile[: self.size[0] - row * side, : self.size[1] - column * side]

    def row_of_tiles(self, row: int, channel: int = 0) -> np.ndarray:
        """The pixels of a whole row of tiles: (rows, W)."""
        return np.concatenate([self.tile(row, column, channel) for column in range(self.count[1])], axis=1)

    def packed(self, channel: int) -> Iterator[bytes]:
        """The tiles of a channel as they are stored, row by row."""
        for row in range(self.count[0]):
            for column in range(self.count[1]):
                yield self._stored(row, column, channel)

    def lengths(self, channel: int) -> Iterator[int]:
        """How long each tile of a channel is as stored, row by row."""
        for row in self.journal.rows:
            yield from (length for _, length in row[channel * self.count[1] : (channel + 1) * self.count[1]])

    def halved(self, folder: Path) -> TileStore:
        """The next coarser level, made tile by tile from four tiles of this one."""
        size = (self.size[0] + 1) // 2, (self.size[1] + 1) // 2
        coarse = TileStore(folder, self.output, size)
        for row in range(coarse.count[0]):
            self._halve_row(row, coarse)
        return coarse

    def _halve_row(self, row: int, coarse: TileStore) -> None:
        def made(number: int) -> bytes:
            channel, column = divmod(number, coarse.count[1])
            return self._halved_tile(coarse, row, column, channel)

        coarse.journal.append(_spread(made, coarse.journal.per_row))

    def _halved_tile(self, coarse: TileStore, row: int, column: int, channel: int) -> bytes:
        """A tile of the coarser level; four plain ones of one value need not be decoded."""
        rows = range(2 * row, min(2 * row + 2, self.count[0]))
        columns = range(2 * column, min(2 * column + 2, self.count[1]))
        four = {(i, j): self._stored(i, j, channel) for i in rows for j in columns}
        first = four[rows[0], columns[0]]
        # Equal bytes are equal tiles, since every plain tile was packed by the same call.
        if len(four) == 4 and first in self._values and all(stored == first for stored in four.values()):
            return coarse._plain_tile(self._values[first])
        half = self.output.tile // 2
        out = np.zeros((2 * half, 2 * half), self.dtype)
        for (i, j), stored in four.items():
            small = halve(self._inflated(stored, i, j), self.output.kind)
            top, left = (i - rows[0]) * half, (j - columns[0]) * half
            out[top : top + small.shape[0], left : left + small.shape[1]] = small
        size = coarse.size[0] - row * 2 * half, coarse.size[1] - column * 2 * half
        return coarse.pack(out[: size[0], : size[1]])

    def close(self) -> None:
        self.journal.close()


_T = TypeVar("_T")


def _spread(make: Callable[[int], _T], count: int) -> list[_T]:
    """What ``make`` gives of 0 .. ``count`` - 1, computed in threads."""
    tiles: list[Any] = [None] * count

    def fill(first: int, last: int) -> None:
        tiles[first:last] = map(make, range(first, last))

    run_bands(fill, count)
    return tiles
