"""A store of compressed tiles that grows row by row and survives a killed program.

A row of tiles counts only once its bytes, and after them its line of the journal, are on the disk. What a
killed run had begun of a further row is cut off when the spool is opened again, so that going on gives the
very bytes of an unbroken run.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from saccade.errors import FileProblem
from saccade.rasters.alone import lock


class Spool:
    """``folder`` holds about.json (what is being written), tiles (their bytes), journal (their lengths).

    Raises:
        FileProblem: another program writes it, or ``resume`` meets a spool of something else.
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
        lock(self._tiles, self.folder, "an output that no other program writes")
        text = json.dumps(about, sort_keys=True)
        card = self.folder / "about.json"
        if resume and card.exists():
            if card.read_text() != text:
                fix = "use the same options, or leave --resume out to start again"
                raise FileProblem(self.folder, "a run with the same options to resume", "other options", fix)
            self._recover()
        self.cut(len(self.rows))
        card.write_text(text)

    def _recover(self) -> None:
        """Take the rows whose journal entry is whole and whose tiles are there."""
        length = os.fstat(self._tiles.fileno()).st_size
        record = struct.Struct(f"<{self.per_row}QI")
        at, journal = 0, self._journal.read()
        for start in range(0, len(journal) - record.size + 1, record.size):
            *lengths, check = record.unpack_from(journal, start)
            if check != zlib.crc32(journal[start : start + record.size - 4]) or at + sum(lengths) > length:
                break
            self.rows.append(_places(at, lengths))
            at += sum(lengths)

    def append(self, tiles: Sequence[bytes]) -> None:
        """One more row of tiles, safe on the disk when this returns."""
        start = self._end()
        lengths = [len(tile) for tile in tiles]
        entry = struct.pack(f"<{self.per_row}Q", *lengths)
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
