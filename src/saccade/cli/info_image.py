"""What ``saccade info`` says about an image."""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan
from typing import Any

from saccade.rasters import RasterInfo


def image_facts(info: RasterInfo) -> dict[str, Any]:
    """The JSON object of an image; sizes are [rows, columns]."""
    size = info.pixel_size
    return {
        "kind": "image",
        "path": str(info.path),
        "size": list(info.levels[0].size),
        "channels": info.channels,
        "meaning": info.meaning,
        "alpha": info.alpha,
        "dtype": str(info.dtype),
        "levels": [
            {"size": list(level.size), "downsample": list(level.downsample), "tile": list(level.tile)}
            for level in info.levels
        ],
        "pixel_size": None if size is None else {"y": size.y, "x": size.x, "unit": size.unit},
        "crs": info.crs,
        "transform": None if info.transform is None else list(info.transform),
        "nodata": str(info.nodata) if info.nodata is not None and isnan(info.nodata) else info.nodata,
        "notices": list(info.notices),
    }


def image_lines(facts: dict[str, Any]) -> Iterator[str]:
    """The same for people; sizes are width x height."""
    rows, columns = facts["size"]
    yield f"{facts['path']}: an image"
    yield f"  size        {columns} x {rows} pixels (width x height), {rows * columns / 1e6:.3g} megapixels"
    opacity = ", the last is opacity" if facts["alpha"] else ""
    channels = facts["channels"]
    yield f"  channels    {channels} ({facts['meaning'].replace('_', ' ')}{opacity}), {facts['dtype']}"
    yield f"  levels      {len(facts['levels'])}"
    if len(facts["levels"]) > 1:
        for number, level in enumerate(facts["levels"]):
            yield f"    {number}: {level['size'][1]} x {level['size'][0]}, 1/{level['downsample'][0]:.4g}"
    if (tile := facts["levels"][0]["tile"]) != facts["size"]:
        yield f"  tiles       {tile[1]} x {tile[0]}"
    yield f"  pixel size  {_pixel_size(facts['pixel_size'])}"
    yield f"  CRS         {facts['crs'] or 'none'}"
    if facts["transform"] is not None:
        a, b, c, d, e, f = facts["transform"]
        yield f"  transform   x = {a:g} col + {b:g} row + {c:.10g}, y = {d:g} col + {e:g} row + {f:.10g}"
    if facts["nodata"] is not None:
        yield f"  no data     {facts['nodata']}"
    for notice in facts["notices"]:
        yield f"  notice      {notice}"


def _pixel_size(size: dict[str, Any] | None) -> str:
    if size is None:
        return "not given"
    unit = "microns" if size["unit"] == "micron" else "metres"
    return f"{size['x']:.6g} x {size['y']:.6g} {unit} per pixel"
