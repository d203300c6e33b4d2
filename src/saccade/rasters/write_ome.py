"""Pyramidal TIFF and OME-TIFF from tiles that are already compressed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tifffile import TiffWriter

from saccade.rasters.output import Output
from saccade.rasters.tiles import TileStore

CLASSIC_LIMIT = 2**32 - 2**26


def write_tiff(path: Path, levels: Sequence[TileStore], output: Output) -> None:
    """Level 0 with the coarser ones as SubIFDs; OME metadata except for float16, which OME does not know."""
    ome = output.dtype != "float16"
    several = output.channels > 1
    planes: dict[str, Any] = {"planarconfig": "separate"} if several and not ome else {}
    large = sum(level.spool.total for level in levels) > CLASSIC_LIMIT
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
    about["UUID"] = str(uuid.uuid5(uuid.NAMESPACE_OID, name))
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
