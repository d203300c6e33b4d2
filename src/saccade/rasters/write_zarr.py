"""OME-Zarr (version 0.4, which most tools read) from stored tiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from saccade.rasters.extras import load
from saccade.rasters.output import Output
from saccade.rasters.tiles import TileStore


def write_zarr(path: Path, levels: Sequence[TileStore], output: Output) -> None:
    """A folder with one array a level, one chunk a tile; CRS and transform as attributes."""
    zarr: Any = load("zarr", "zarr", path, "Zarr")
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    several = output.channels > 1
    for number, level in enumerate(levels):
        lead, chunk = ((output.channels,), (1,)) if several else ((), ())
        array = group.create_array(
            str(number),
            shape=(*lead, *level.size),
            chunks=(*chunk, output.tile, output.tile),
            dtype=output.dtype,
            chunk_key_encoding={"name": "v2", "separator": "/"},
            fill_value=0,
        )
        for row in range(level.count[0]):
            rows = slice(row * output.tile, min((row + 1) * output.tile, level.size[0]))
            for channel in range(output.channels):
                array[(channel, rows) if several else rows] = level.band(row, channel)
    group.attrs.update(_attributes(levels, output))


def _attributes(levels: Sequence[TileStore], output: Output) -> dict[str, Any]:
    axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}] if output.channels > 1 else []
    y, x = output.pixel_size.microns if output.pixel_size else (1.0, 1.0)
    unit = {"unit": "micrometer"} if output.pixel_size else {}
    axes += [{"name": name, "type": "space", **unit} for name in "yx"]
    lead = [1.0] * (len(axes) - 2)
    sets = [
        {
            "path": str(number),
            "coordinateTransformations": [{"type": "scale", "scale": [*lead, y * 2**number, x * 2**number]}],
        }
        for number in range(len(levels))
    ]
    kind = "mode" if output.kind == "labels" else "mean"
    about: dict[str, Any] = {
        "multiscales": [{"version": "0.4", "name": output.kind, "axes": axes, "datasets": sets, "type": kind}]
    }
    if output.kind == "labels":
        about["image-label"] = _classes(output)
    if output.crs or output.transform:
        about["geo"] = {"crs": output.crs, "transform": output.transform}
    if output.nodata is not None:
        about["nodata"] = output.nodata
    return about


def _classes(output: Output) -> dict[str, Any]:
    about: dict[str, Any] = {"version": "0.4"}
    if output.palette is not None:
        about["colors"] = [
            {"label-value": index, "rgba": [*map(int, colour), 255]}
            for index, colour in enumerate(output.palette)
        ]
    if output.names is not None:
        about["properties"] = [
            {"label-value": index, "class": name} for index, name in enumerate(output.names)
        ]
    return about
