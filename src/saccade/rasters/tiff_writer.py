"""Cloud Optimized GeoTIFF, pyramidal TIFF and OME-TIFF from tiles that are already compressed."""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from tifffile import TiffWriter

from saccade.rasters.decoders import load
from saccade.rasters.journal import Output, TileStore
from saccade.runtime.files import encodable

_GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737, 42113)
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 12: 8, 16: 8}
_GHOST = "LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nKNOWN_INCOMPATIBLE_EDITION=NO\n "


@dataclass(frozen=True)
class Form:
    """The widths of classic TIFF or BigTIFF: header, directory, entry."""

    large: bool

    @property
    def header(self) -> int:
        return 16 if self.large else 8

    @property
    def offset(self) -> str:
        return "Q" if self.large else "I"

    @property
    def inline(self) -> int:
        return 8 if self.large else 4

    def begin(self, first: int) -> bytes:
        return (
            struct.pack("<2sHHHQ", b"II", 43, 8, 0, first)
            if self.large
            else struct.pack("<2sHI", b"II", 42, first)
        )

    def directory_size(self, tags: dict[int, tuple[int, bytes]]) -> int:
        count, entry = (8, 20) if self.large else (2, 12)
        beyond = sum(_even(len(data)) for _, data in tags.values() if len(data) > self.inline)
        return _even(count + entry * len(tags) + self.inline) + beyond

    def directory(self, tags: dict[int, tuple[int, bytes]], at: int, following: int) -> bytes:
        """The bytes of a directory that stands at ``at``; values that do not fit an entry follow it."""
        head = struct.pack("<Q" if self.large else "<H", len(tags))
        rest = at + _even(len(head) + (20 if self.large else 12) * len(tags) + self.inline)
        beyond = b""
        for code, (kind, data) in sorted(tags.items()):
            head += struct.pack(f"<HH{self.offset}", code, kind, len(data) // _SIZES[kind])
            if len(data) <= self.inline:
                head += data.ljust(self.inline, b"\0")
            else:
                head += struct.pack(f"<{self.offset}", rest + len(beyond))
                beyond += data.ljust(_even(len(data)), b"\0")
        head += struct.pack(f"<{self.offset}", following)
        return head.ljust(_even(len(head)), b"\0") + beyond


def write_cog(path: Path, levels: Sequence[TileStore], output: Output) -> None:
    """Levels, finest first, as one COG with the CRS, transform, nodata and colour table of ``output``."""
    # At most 16 bytes a tile in the tables, whichever form it will be: the choice comes before them.
    tables = 16 * sum(level.journal.per_row * level.count[0] for level in levels)
    form = Form(sum(level.journal.total for level in levels) + tables > CLASSIC_LIMIT)
    geo = _geo_tags(output, path)
    ghost = f"GDAL_STRUCTURAL_METADATA_SIZE={len(_GHOST):06d} bytes\n{_GHOST}".encode()
    first = _even(form.header + len(ghost))
    directories = [_tags(level, output, geo, number) for number, level in enumerate(levels)]
    starts = np.cumsum([first] + [form.directory_size(_with_tables(d, s, form, 0)) for d, s in
                                  zip(directories, levels, strict=True)])  # fmt: skip
    place = int(starts[-1])
    places = {}
    # The coarsest level lies first, as COG has it: whoever reads over a network sees the whole image early.
    for number in reversed(range(len(levels))):
        places[number] = place
        place += levels[number].journal.total
    with path.open("wb") as file:
        file.write((form.begin(first) + ghost).ljust(first, b"\0"))
        for number, level in enumerate(levels):
            following = int(starts[number + 1]) if number + 1 < len(levels) else 0
            tags = _with_tables(directories[number], level, form, places[number])
            file.write(form.directory(tags, int(starts[number]), following))
        for level in reversed(levels):
            for channel in range(output.channels):
                file.writelines(level.packed(channel))


def _with_tables(
    tags: dict[int, tuple[int, bytes]], level: TileStore, form: Form, place: int
) -> dict[int, tuple[int, bytes]]:
    """The tags with where each tile starts, the first at ``place``, and how long it is."""
    lengths = np.array(
        [length for channel in range(level.output.channels) for length in level.lengths(channel)]
    )
    offsets = place + np.cumsum(lengths) - lengths
    kind, width = (16, "<u8") if form.large else (4, "<u4")
    return tags | {324: (kind, offsets.astype(width).tobytes()), 325: (4, lengths.astype("<u4").tobytes())}


def _tags(
    level: TileStore, output: Output, geo: dict[int, tuple[int, bytes]], number: int
) -> dict[int, tuple[int, bytes]]:
    """Everything but the tables of tiles, as (type, bytes) by code."""
    bits, channels = 8 * level.dtype.itemsize, output.channels
    table = output.colour_table()
    tags = {
        254: _longs(1 if number else 0),
        256: _longs(level.size[1]),
        257: _longs(level.size[0]),
        258: _shorts(*[bits] * channels),
        259: _shorts(8),
        262: _shorts(1 if table is None else 3),
        277: _shorts(channels),
        284: _shorts(2 if channels > 1 else 1),
        322: _shorts(output.tile),
        323: _shorts(output.tile),
        339: _shorts(*[3 if level.dtype.kind == "f" else 1] * channels),
    }
    if channels > 1:
        tags[338] = _shorts(*[0] * (channels - 1))
    if table is not None:
        tags[320] = _shorts(*(table.T.astype(int) * 257).ravel().tolist())
    if number:
        return tags | {code: value for code, value in geo.items() if code == 42113}
    if output.names is not None and output.kind == "scores":
        tags[42112] = _descriptions(output.names)
    return tags | geo


def _geo_tags(output: Output, path: Path) -> dict[int, tuple[int, bytes]]:
    """The tags in which GDAL itself says CRS, transform and nodata, taken from a file of one pixel."""
    rasterio: Any = load("rasterio", "geo", path, "georeferenced rasters")
    kind = {"float16": "float32"}.get(output.dtype, output.dtype)
    profile = {"driver": "GTiff", "height": 1, "width": 1, "count": 1, "dtype": kind, "nodata": output.nodata}
    transform = None if output.transform is None else rasterio.Affine(*output.transform)
    # GDAL writes keys and citations of some thousand systems; what it says of one pixel holds for all.
    with rasterio.MemoryFile() as memory:
        with memory.open(crs=output.crs, transform=transform, **profile) as file:
            file.write(np.zeros((1, 1, 1), kind))
        return {code: value for code, value in _entries(bytes(memory.getbuffer())) if code in _GEO_TAGS}


def _entries(data: bytes) -> list[tuple[int, tuple[int, bytes]]]:
    """The tags of the first directory of a classic little-endian TIFF."""
    at = struct.unpack_from("<I", data, 4)[0]
    entries = []
    for number in range(struct.unpack_from("<H", data, at)[0]):
        code, kind, count = struct.unpack_from("<HHI", data, at + 2 + 12 * number)
        length = count * _SIZES.get(kind, 0)
        start = at + 2 + 12 * number + 8
        if length > 4:
            start = struct.unpack_from("<I", data, start)[0]
        entries.append((code, (kind, data[start : start + length])))
    return entries


def _descriptions(names: Sequence[str]) -> tuple[int, bytes]:
    """Names of the bands, escaped twice: GDAL undoes it twice."""
    items = "".join(
        f'<Item name="DESCRIPTION" sample="{number}" role="description">{escape(escape(name))}</Item>'
        for number, name in enumerate(names)
    )
    return 2, f"<GDALMetadata>{items}</GDALMetadata>\0".encode()


def _shorts(*values: int) -> tuple[int, bytes]:
    return 3, struct.pack(f"<{len(values)}H", *values)


def _longs(*values: int) -> tuple[int, bytes]:
    return 4, struct.pack(f"<{len(values)}I", *values)


def _even(length: int) -> int:
    return length + length % 2


CLASSIC_LIMIT = 2**32 - 2**26


def write_tiff(path: Path, levels: Sequence[TileStore], output: Output) -> None:
    """Level 0 with the coarser ones as SubIFDs; OME metadata except for float16, which OME does not know."""
    ome = output.dtype != "float16"
    several = output.channels > 1
    planes: dict[str, Any] = {"planarconfig": "separate"} if several and not ome else {}
    large = sum(level.journal.total for level in levels) > CLASSIC_LIMIT
    with TiffWriter(path, bigtiff=large, ome=ome) as file:
        for number, level in enumerate(levels):
            place: dict[str, Any] = {"subfiletype": 1} if number else {"subifds": len(levels) - 1}
            file.write(
                _segments(level),
                shape=(output.channels, *level.size) if several else level.size,
                dtype=output.dtype,
                tile=(output.tile, output.tile),
                compression="adobe_deflate",
                metadata=_metadata(output) if ome and number == 0 else None,
                software="saccade",
                **_colours(output),
                **_resolution(output, level),
                **place,
                **planes,
            )


def _segments(level: TileStore) -> Iterator[bytes]:
    for channel in range(level.output.channels):
        yield from level.packed(channel)


def _colours(output: Output) -> dict[str, Any]:
    table = output.colour_table()
    if table is None:
        return {"photometric": "minisblack"}
    # 257, not 256: 255 is to become 65535, full brightness of 16 bits.
    return {"photometric": "palette", "colormap": table.T.astype(np.uint16) * 257}


def _resolution(output: Output, level: TileStore) -> dict[str, Any]:
    """Pixels a centimetre, which tools without OME read."""
    if output.pixel_size is None:
        return {}
    y, x = output.pixel_size.microns
    rows, columns = (full / part for full, part in zip(output.size, level.size, strict=True))
    return {"resolution": (1e4 / (x * columns), 1e4 / (y * rows)), "resolutionunit": "CENTIMETER"}


def _metadata(output: Output) -> dict[str, Any]:
    """OME's fields; its identifier depends on the output alone, so that resuming gives the same bytes."""
    name = json.dumps(output.as_json(), sort_keys=True)
    about: dict[str, Any] = {"axes": "CYX" if output.channels > 1 else "YX", "Name": output.kind}
    about["UUID"] = str(uuid.uuid5(uuid.NAMESPACE_OID, encodable(name)))
    if output.pixel_size is not None:
        y, x = output.pixel_size.microns
        about |= {
            "PhysicalSizeX": x,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": y,
            "PhysicalSizeYUnit": "µm",
        }
    if output.names is not None and output.kind == "scores":
        about["Channel"] = {"Name": list(output.names)}
    return about
