"""``info``: the function behind the command of this name; what an image or a data set is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saccade.errors import DataFaults, FileProblem, UsageError
from saccade.runtime.addresses import Address, path_of
from saccade.runtime.progress import Voice

if TYPE_CHECKING:
    from saccade.data import DataFolder
    from saccade.rasters import Raster, RasterInfo


@dataclass(frozen=True)
class Info:
    """What an image or a data set is; shows itself as ``saccade info`` does.

    Attributes:
        facts: by name, of plain values, as ``--json`` prints them; sizes are [rows, columns].
    """

    facts: Mapping[str, Any]

    def lines(self) -> list[str]:
        """The same for people; sizes are rows x columns."""
        return list((image_lines if self.facts["kind"] == "image" else data_lines)(dict(self.facts)))

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def info(
    path: Path | str,
    *,
    data_format: str | None = None,
    crop: str | None = None,
    options: Mapping[str, Any] | Iterable[str] = (),
    progress: bool | None = None,
) -> Info:
    """What an image or a data set is, as ``saccade info`` tells it.

    Args:
        path: of an image or its address (``https://``, ``s3://``, ...), or the folder of a data set.
        data_format, crop, options: how a folder is read; ``options={"data.bands": ...}``.
        progress: whether to say what goes on; default on a terminal or in a notebook.

    Raises:
        FileProblem: for a path that is neither, or an image that cannot be read.
        DataFaults: with every fault of a data set.
        UsageError: for options of data where an image is.

    Examples:
        >>> import saccade
        >>> from saccade.data.scenes import make_scenes
        >>> data = make_scenes("sea", count=(4, 2, 2), size=(32, 48))
        >>> saccade.info(data).facts["splits"]["train"]["images"]
        4
        >>> print(saccade.info(data / "images" / "scene_000.jpg").lines()[1])
          size        32 x 48 pixels (rows x columns), 0.00154 megapixels
    """
    from saccade.rasters.decoders import is_zarr
    from saccade.rasters.open import split_image_number
    from saccade.rasters.stac import is_item

    where = path_of(os.fspath(path))
    if not isinstance(where, Address) and not is_item(where):
        if not os.path.lexists(split_image_number(where)[0]):
            raise FileProblem(where, "an image, or the folder of a data set", "no such file or folder")
        if os.path.isdir(where) and not is_zarr(where):
            return _of_data(where, {"data_format": data_format, "crop": crop, "options": options}, progress)
    if data_format or crop or options:
        raise UsageError(f"{where} is an image, which has no options of a data set")
    from saccade.rasters import open_raster

    with open_raster(where) as raster:
        return Info(image_facts(raster.info) | value_facts(raster))


def _of_data(root: Path, how: Mapping[str, Any], progress: bool | None) -> Info:
    from saccade.data import open_data
    from saccade.training.options import data_options, overrides_of

    options = data_options(overrides_of(how))
    with Voice(progress).progress("checking", None, "images") as shown:
        return Info(data_facts(open_data(root, options, on_progress=shown.update)))


def image_facts(info: RasterInfo) -> dict[str, Any]:
    """The JSON object of an image; sizes are [rows, columns]."""
    size = info.pixel_size
    return {
        "kind": "image",
        "path": str(info.path),
        "size": list(info.levels[0].size),
        "channels": info.channels,
        "bands": list(info.bands),
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
    """The same for people; sizes are rows x columns."""
    rows, columns = facts["size"]
    yield f"{facts['path']}: an image"
    yield f"  size        {rows} x {columns} pixels (rows x columns), {rows * columns / 1e6:.3g} megapixels"
    opacity = ", the last is opacity" if facts["alpha"] else ""
    channels = facts["channels"]
    yield f"  channels    {channels} ({facts['meaning'].replace('_', ' ')}{opacity}), {facts['dtype']}"
    if any(facts["bands"]):
        yield f"  bands       {', '.join(name or '-' for name in facts['bands'])}"
    yield f"  levels      {len(facts['levels'])}"
    if len(facts["levels"]) > 1:
        for number, level in enumerate(facts["levels"]):
            yield f"    {number}: {level['size'][0]} x {level['size'][1]}, 1/{level['downsample'][0]:.4g}"
    if (tile := facts["levels"][0]["tile"]) != facts["size"]:
        yield f"  tiles       {tile[0]} x {tile[1]}"
    yield f"  pixel size  {_pixel_size(facts['pixel_size'])}"
    yield f"  CRS         {facts['crs'] or 'none'}"
    if facts["transform"] is not None:
        a, b, c, d, e, f = facts["transform"]
        yield f"  transform   x = {a:g} col + {b:g} row + {c:.10g}, y = {d:g} col + {e:g} row + {f:.10g}"
    if facts["nodata"] is not None:
        yield f"  no data     {facts['nodata']}"
    for notice in facts["notices"]:
        yield f"  notice      {notice}"
    yield from value_lines(facts)
    if "training" in facts:
        yield f"  training    {facts['training']}"


def value_facts(raster: Raster) -> dict[str, Any]:
    """What values an image has, by band, on a level or in windows that are cheap to read; and what training
    would do with them."""
    import numpy as np

    from saccade.data.bands import is_photograph
    from saccade.rasters.bands import BandRaster, Bands, look
    from saccade.rasters.picture import percentiles, usual_picture

    if raster.info.meaning == "palette":
        return {"values": [], "training": "the colours of its palette, as 8-bit RGB"}
    bands = Bands.of(raster.info)
    seen = look(BandRaster(raster, [number - 1 for number in bands.numbers]))
    low, high = percentiles(seen)
    rows = []
    for place, name in enumerate(bands.names):
        values = seen[np.isfinite(seen[:, place]), place]
        some = bool(values.size)
        rows.append(
            {
                "band": name,
                "least": float(values.min()) if some else None,
                "most": float(values.max()) if some else None,
                "low": low[place] if some else None,
                "high": high[place] if some else None,
                "measured": values.size / max(1, len(seen)),
            }
        )
    if is_photograph(raster.info):
        training = "8-bit RGB, normalised as ImageNet"
    else:
        training = f"{bands.told()} as they are, normalised with mean and deviation of the training pixels"
        drawn = ", ".join(bands.names[n] for n in usual_picture(bands.names) if n >= 0)
        training += f"; pictures of {drawn}"
    return {"values": rows, "training": training}


def value_lines(facts: dict[str, Any]) -> Iterator[str]:
    """The values of each band for people."""
    rows = facts.get("values") or []
    if not rows:
        return
    width = max(4, *(len(row["band"]) for row in rows))
    yield f"  values      {'band':<{width}} {'least':>9} {'2 %':>9} {'98 %':>9} {'most':>9}  measured"
    for row in rows:
        cells = [row[name] for name in ("least", "low", "high", "most")]
        shown = " ".join(f"{'-' if value is None else format(value, '.5g'):>9}" for value in cells)
        yield f"              {row['band']:<{width}} {shown}  {percent(row['measured'])}"


def _pixel_size(size: dict[str, Any] | None) -> str:
    if size is None:
        return "not given"
    unit = "microns" if size["unit"] == "micron" else "metres"
    return f"{size['x']:.6g} x {size['y']:.6g} {unit} per pixel"


def data_facts(folder: DataFolder) -> dict[str, Any]:
    """The JSON object of a sound data folder; sizes are [rows, columns], shares are of the scored pixels."""
    total = folder.class_counts()
    scored = max(1, int(total.sum()))
    rows = zip(folder.classes.indices, folder.classes.names, folder.classes.colours, total, strict=True)
    return {
        "kind": "data folder",
        "format": folder.format.name,
        "path": str(folder.path),
        "window": None if (side := folder.options.window_size) is None else list(side),
        "windows_an_epoch": None if folder.draws is None else folder.draws.number,
        "splits": {name: _split_facts(folder, name) for name in folder.splits},
        "classes": [
            {"index": i, "name": name, "colour": list(colour), "pixels": int(n), "share": int(n) / scored}
            for i, name, colour, n in rows
        ],
        "ignore_index": folder.classes.file_ignore_index,
        "ignored_values": list(folder.classes.ignored_values),
        "bands": _band_facts(folder),
        "ignored_pixels": sum(fact.ignored for fact in folder.facts.values()),
        "notices": list(folder.notices),
        "faults": [],
    }


def _band_facts(folder: DataFolder) -> dict[str, Any] | None:
    """What images are read as, with the scale of the training images, or of all where none are for that."""
    split = "train" if folder.splits.get("train") else None
    bands = folder.scaled_bands(split)
    return None if bands is None else bands.to_dict()


def fault_facts(path: Path, faults: DataFaults) -> dict[str, Any]:
    """The JSON object of a data folder with faults."""
    rows = [{"path": str(f.path), "expected": f.expected, "found": f.found} for f in faults.faults]
    return {"kind": "data folder", "path": str(path), "faults": rows}


def _split_facts(folder: DataFolder, name: str) -> dict[str, Any]:
    counts = folder.class_counts(name)
    scored = max(1, int(counts.sum()))
    return {
        "images": len(folder.split(name)),
        "sizes": [{"size": list(size), "images": n} for size, n in folder.sizes(name).most_common()],
        "share": {
            class_name: int(count) / scored
            for class_name, count in zip(folder.classes.names, counts, strict=True)
        },
    }


def data_lines(facts: dict[str, Any]) -> Iterator[str]:
    """The same for people; sizes are rows x columns."""
    splits = facts["splits"]
    from saccade.data import FORMATS

    yield f"{facts['path']}: {FORMATS[facts['format']].title}, without faults"
    parts = ", ".join(f"{split['images']} {name}" for name, split in splits.items())
    count = sum(split["images"] for split in splits.values())
    if facts["window"] is None:
        yield f"  images   {count}: {parts}"
    else:
        each = f"; {n} are drawn an epoch" if (n := facts["windows_an_epoch"]) else ""
        yield f"  windows  {count} of {facts['window'][0]} x {facts['window'][1]} pixels: {parts}{each}"
    yield f"  sizes    {_sizes(splits)}"
    ignored = facts["ignored_values"]
    values = f"ignored value{'s' if len(ignored) > 1 else ''}: {', '.join(map(str, ignored)) or 'none'}"
    yield f"  classes  {len(facts['classes'])}; {values}"
    yield from _band_lines(facts["bands"])
    yield ""
    yield from _table(facts)
    if facts["ignored_pixels"]:
        scored = sum(row["pixels"] for row in facts["classes"])
        share = facts["ignored_pixels"] / (scored + facts["ignored_pixels"])
        yield f"  ignored: {percent(share)} of all pixels"
    if facts["notices"]:
        yield ""
    for notice in facts["notices"]:
        yield f"  notice: {notice}"


def _band_lines(bands: dict[str, Any] | None) -> Iterator[str]:
    if bands is None:
        yield "  bands    8-bit RGB, normalised as ImageNet"
        return
    names = bands["names"]
    drawn = ", ".join(names[n] for n in bands["picture"] if n >= 0)
    yield f"  bands    {len(names)} of {bands['dtype']}, as they are; pictures of {drawn}"
    width = max(4, *map(len, names))
    yield f"           {'band':<{width}} {'mean':>9} {'deviation':>9} {'2 %':>9} {'98 %':>9}"
    for row in zip(names, *(bands[key] for key in ("mean", "std", "low", "high")), strict=True):
        yield f"           {row[0]:<{width}} " + " ".join(f"{value:>9.5g}" for value in row[1:])


def _sizes(splits: dict[str, Any]) -> str:
    counts: dict[tuple[int, int], int] = {}
    for split in splits.values():
        for row in split["sizes"]:
            key = (row["size"][0], row["size"][1])
            counts[key] = counts.get(key, 0) + row["images"]
    common = sorted(counts.items(), key=lambda pair: -pair[1])
    shown = ", ".join(f"{rows} x {columns} ({n})" for (rows, columns), n in common[:4])
    return shown + (f" and {len(common) - 4} more sizes" if len(common) > 4 else "") + " (rows x columns)"


def _table(facts: dict[str, Any]) -> Iterator[str]:
    names = list(facts["splits"])
    width = max(len("class"), *(len(row["name"]) for row in facts["classes"]))
    yield f"  index  {'class':<{width}}  {'share':>8}" + "".join(f"  {name:>8}" for name in names)
    for row in facts["classes"]:
        cells = [row["share"], *(facts["splits"][name]["share"][row["name"]] for name in names)]
        yield f"  {row['index']:>5}  {row['name']:<{width}}" + "".join(f"  {percent(c):>8}" for c in cells)


def percent(share: float) -> str:
    """A share as a percentage with three digits that count: "67.2 %", "1.26 %", "0.004 %"."""
    value = share * 100
    if value == 0 or value >= 99.95:
        return f"{value:.0f} %"
    places = 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{places}f} %" if value >= 0.0005 else "<0.001 %"
