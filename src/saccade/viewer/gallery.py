"""The images of a viewer and what lies over each: from files and folders that were named on the command
line."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from saccade.data.classes import BACKGROUND, QUIET, ClassTable, default_colours
from saccade.errors import FileProblem
from saccade.figures import IGNORED, hex_colour
from saccade.rasters import Raster, as_rgb, open_raster
from saccade.rasters.bands import look_windows
from saccade.rasters.colour import colour_channels
from saccade.rasters.picture import seen_alone
from saccade.viewer.planes import ErrorPlane, Plane, PointPlane, RasterPlane, degrees
from saccade.viewer.tiles import depth

Kind = Literal["image", "classes", "degrees", "errors", "points", "picture"]

SHOWN = {"labels": 0.5, "truth": 0.5}
"""How opaque a layer is at first, of those that are shown at first besides the image."""


@dataclass(frozen=True)
class Layer:
    """Something that lies over an image, or the image itself.

    Attributes:
        name: as users read it, unique within an image.
        kind: what its tiles are: colours ("image", "picture"), class indices, degrees 0 to 254, errors,
            points.
        plane: draws it.
        low, high: what the least and the greatest degree mean.
    """

    name: str
    kind: Kind
    plane: Plane
    low: str = ""
    high: str = ""


@dataclass(frozen=True)
class Legend:
    """Names and colours of the values of labels.

    Attributes:
        colours: (256, 3).
        names: of those values that have one.
        unknown: the values that mean nothing.
        background: what errors are told apart by: missed (another class is true) or invented.
        quiet: the value that is not drawn until somebody asks for it; None where all are.
    """

    colours: NDArray[np.uint8]
    names: Mapping[int, str] = field(default_factory=dict)
    unknown: frozenset[int] = frozenset({255})
    background: int = 0
    quiet: int | None = None

    @classmethod
    def of(cls, table: ClassTable, *, ids: bool = False) -> Legend:
        """Of the values in mask files; with ``ids`` of the ids 0..K-1."""
        values = range(len(table)) if ids else table.indices
        colours = np.broadcast_to(IGNORED, (256, 3)).astype(np.uint8)
        names = {}
        for value, name, colour in zip(values, table.names, table.colours, strict=True):
            if value < 256:
                colours[value], names[value] = colour, name
        unknown = (
            {255} if ids else {value for value in table.ignored_values if value < 256} | ({255} - set(names))
        )
        quiet = next((value for value, name in names.items() if name.strip().lower() in BACKGROUND), None)
        return cls(
            colours, names, frozenset(unknown), min(names, default=0) if quiet is None else quiet, quiet
        )

    @classmethod
    def guessed(cls, palette: NDArray[np.uint8] | None, two: bool) -> Legend:
        """By the palette of the file; without one 0 is a quiet background. ``two``: 0 and 255 are all it
        holds."""
        colours = np.array([QUIET, *default_colours(255)], np.uint8)
        if palette is not None:
            colours[: len(palette)] = palette[:256]
        if two:
            return cls(colours, unknown=frozenset(), quiet=0)
        colours[255] = IGNORED
        return cls(colours, quiet=0)

    def to_json(self) -> dict[str, Any]:
        return {
            "colours": [hex_colour(colour) for colour in self.colours],
            "names": {str(value): name for value, name in self.names.items()},
            "unknown": sorted(self.unknown),
            "quiet": self.quiet,
        }


@dataclass(frozen=True)
class Opened:
    """An image that is open.

    Attributes:
        size: (H, W).
        layers: the image first.
        legend: of its labels and truth; None without them.
        facts: names and values about it.
        notices: a line each.
        crs, transform, pixel_metres: where it lies and (y, x) metres a pixel; None where that is not known.
        held: bytes that stay in memory.
        labels, truth: what areas and errors are counted in.
    """

    size: tuple[int, int]
    layers: tuple[Layer, ...]
    legend: Legend | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    crs: str | None = None
    transform: tuple[float, ...] | None = None
    pixel_metres: tuple[float, float] | None = None
    unit: str = ""
    held: int = 0
    labels: Raster | None = None
    truth: Raster | None = None
    close: Callable[[], None] = lambda: None

    def to_json(self) -> dict[str, Any]:
        """What the page is told."""
        return {
            "size": self.size,
            "depth": depth(self.size),
            "layers": [
                {
                    "name": layer.name,
                    "kind": layer.kind,
                    "least": int(np.log2(max(layer.plane.step, 1.0))),
                    "opacity": SHOWN.get(layer.name, 1.0 if layer.kind in ("image", "points") else 0.7),
                    "shown": layer.kind == "image" or layer.name == "labels",
                    "low": layer.low,
                    "high": layer.high,
                }
                for layer in self.layers
            ],
            "legend": None if self.legend is None else self.legend.to_json(),
            "facts": dict(self.facts),
            "notices": list(self.notices),
            "crs": self.crs,
            "transform": self.transform,
            "pixel_metres": self.pixel_metres,
            "unit": self.unit,
            "counts": self.labels is not None or self.truth is not None,
        }


@dataclass(frozen=True)
class Entry:
    """One image of the list: its name, its score (None without one), and what opens it."""

    name: str
    open: Callable[[], Opened]
    score: float | None = None


@dataclass(frozen=True)
class Gallery:
    """All that may be looked at, the worst first where there are scores."""

    entries: tuple[Entry, ...]
    title: str = ""
    score: str = ""

    @classmethod
    def sorted(cls, entries: Sequence[Entry], title: str, score: str) -> Gallery:
        known = [entry for entry in entries if entry.score is not None]
        rest = [entry for entry in entries if entry.score is None]
        ranked = sorted(known, key=lambda entry: (entry.score or 0.0, entry.name))
        return cls((*ranked, *rest), title, score)


@dataclass(frozen=True)
class Files:
    """The files that lie over one image; None for those that there are none of."""

    labels: Path | None = None
    truth: Path | None = None
    density: Path | None = None
    uncertainty: Path | None = None
    samples: Path | None = None
    scores: Path | None = None


def file_entry(
    name: str,
    image: Path,
    files: Files,
    table: ClassTable | None = None,
    value_range: tuple[float, float] | None = None,
    score: float | None = None,
) -> Entry:
    """An image file with files over it."""
    return Entry(name, lambda: open_files(image, files, table, value_range), score)


def open_files(
    image: Path,
    files: Files,
    table: ClassTable | None = None,
    value_range: tuple[float, float] | None = None,
    truth: Raster | None = None,
) -> Opened:
    """Opens an image and what lies over it; ``truth``: true labels that are open already.

    Raises:
        FileProblem: a file cannot be read, or labels are of another size than the image.
    """
    with ExitStack() as stack:
        raster = stack.enter_context(open_raster(image))
        colours, about = as_colours(raster, value_range)
        size = raster.size
        layers = [Layer("image", "image", RasterPlane(colours, size))]
        held, opened = raster.info.resident, {}
        for name, path in (("labels", files.labels), ("truth", truth or files.truth)):
            if path is not None:
                source = stack.enter_context(open_raster(path) if isinstance(path, Path) else path)
                require_labels(source, size)
                opened[name], held = source, held + source.info.resident
                layers.append(Layer(name, "classes", RasterPlane(source, size, values=True)))
        legend = _legend(list(opened.values()), table) if opened else None
        if len(opened) == 2 and legend is not None:
            planes = {layer.name: layer.plane for layer in layers}
            wrong = ErrorPlane(planes["truth"], planes["labels"], legend.unknown, legend.background)
            layers.append(Layer("errors", "errors", wrong))
        for name, low, high in (("uncertainty", "certain", "uncertain"), ("density", "sparse", "dense")):
            path = getattr(files, name)
            if path is not None:
                source = stack.enter_context(open_raster(path))
                layers.append(degree_layer(name, source, size, low, high))
                held += source.info.resident
        if files.scores is not None and (points := points_of(files.scores)) is not None:
            layers.append(Layer("samples", "points", PointPlane(points)))
        elif files.samples is not None:
            source = stack.enter_context(open_raster(files.samples))
            layers.append(Layer("samples", "picture", RasterPlane(as_rgb(source), size)))
            held += source.info.resident
        notices = (*other_notices(colours, about), *about)
        for layer in layers:
            if isinstance(layer.plane, RasterPlane):
                stack.callback(layer.plane.close)
        return Opened(
            size=size,
            layers=tuple(layers),
            legend=legend,
            facts=facts_of(raster),
            notices=notices,
            crs=system_of(raster),
            transform=raster.transform,
            pixel_metres=None if raster.pixel_size is None else raster.pixel_size.metres,
            unit=map_unit(raster),
            held=held,
            labels=opened.get("labels"),
            truth=opened.get("truth"),
            close=stack.pop_all().close,
        )


def degree_layer(name: str, raster: Raster, size: tuple[int, int], low: str, high: str) -> Layer:
    """A layer of degrees; a coloured picture of them as a picture."""
    if raster.channels >= 3:
        return Layer(name, "picture", RasterPlane(as_rgb(raster), size))
    return Layer(name, "degrees", degrees(raster, size), low, high)


def require_labels(raster: Raster, size: tuple[int, int]) -> None:
    """Raises FileProblem where a raster holds no class indices of an image of ``size``."""
    if raster.size != size or raster.channels != 1 or raster.dtype.kind not in "uib":
        expected = f"class indices of {size[0]}x{size[1]}, the size of the image"
        got = f"{raster.channels} channels of {raster.dtype}, {raster.size[0]}x{raster.size[1]}"
        raise FileProblem(raster.path, expected, got)


def as_colours(raster: Raster, value_range: tuple[float, float] | None) -> tuple[Raster, tuple[str, ...]]:
    """A file as it is shown, and a line that says how: bands as they are usually drawn."""
    if value_range is None and raster.info.meaning == "bands":
        shown = seen_alone(raster)
        return shown, (shown.told,)
    limits, about = shown_range(raster, value_range)
    return as_rgb(raster, value_range=limits), about


def shown_range(
    raster: Raster, value_range: tuple[float, float] | None
) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """The values that are black and white on the screen, and a line that says so: where nobody named them and
    samples are no bytes, the 1st and 99th of a hundred of what is seen, for satellites fill a tenth of 16
    bits."""
    if value_range is not None or raster.dtype == np.uint8 or raster.info.meaning == "palette":
        return value_range, ()
    if raster.dtype == bool:
        return (0.0, 1.0), ()
    values = _seen(raster)
    values = values[np.isfinite(values)]
    if not values.size:
        return (0.0, 1.0), ("no value is a number: all is black",)
    low, high = np.quantile(values.astype(np.float64), (0.01, 0.99)).tolist()
    if not low < high:
        low, high = float(values.min()), float(values.max())
    if not low < high:
        high = low + 1.0
    line = f"{raster.dtype} shown from {low:g} (black) to {high:g} (white); --value-range LOW,HIGH for others"
    return (low, high), (line,)


def other_notices(raster: Raster, about: tuple[str, ...]) -> tuple[str, ...]:
    """The notices of a raster but for the range of its samples, where ``about`` tells that."""
    return tuple(line for line in raster.notices if not (about and "scaled to 8 bits" in line))


def _seen(raster: Raster) -> NDArray[Any]:
    """Colours of the coarsest level, or of nine windows of it where it is large."""
    number = len(raster.levels) - 1
    windows = look_windows(raster.levels[number].size)
    used = list(colour_channels(raster.info))
    return np.concatenate(
        [raster.read(window, number)[..., used][raster.valid(window, number)].ravel() for window in windows]
    )


def facts_of(raster: Raster) -> dict[str, str]:
    """What a user wants to know of a file, in words."""
    info = raster.info
    height, width = raster.size
    facts = {"size": f"{height} x {width} pixels (rows x columns)"}
    bands = f"{info.channels} of {info.dtype}" if info.channels > 1 else f"1 of {info.dtype}"
    facts["bands"] = f"{bands} ({info.meaning.replace('_', ' ')})"
    if len(info.levels) > 1:
        downsamples = ", ".join(f"{level.downsample[0]:g}" for level in info.levels)
        facts["levels"] = f"{len(info.levels)} (reduced by {downsamples})"
    else:
        facts["levels"] = "1: no overviews in the file"
    if info.pixel_size is not None:
        y, x = info.pixel_size.microns if info.pixel_size.unit == "micron" else info.pixel_size.metres
        unit = "µm" if info.pixel_size.unit == "micron" else "m"
        facts["pixel size"] = f"{y:.4g} x {x:.4g} {unit}"
    if info.crs is not None:
        facts["reference system"] = system_of(raster) or ""
    if info.nodata is not None:
        facts["nodata"] = f"{info.nodata:g}"
    return facts


def system_of(raster: Raster) -> str | None:
    """The name of the reference system of a raster; None without one."""
    if raster.crs is None:
        return None
    from saccade.rasters.georeference import system_name

    return system_name(raster.crs)


def map_unit(raster: Raster) -> str:
    """ "°" for systems of latitude and longitude, else "m" or nothing."""
    if raster.crs is None:
        return ""
    try:
        from rasterio.crs import CRS
        from rasterio.errors import RasterioError
    except ImportError:
        return ""
    try:
        system = CRS.from_user_input(raster.crs)
    except (RasterioError, ValueError):
        return ""
    return "°" if system.is_geographic else ""


def _legend(rasters: Sequence[Raster], table: ClassTable | None) -> Legend:
    if table is not None:
        return Legend.of(table)
    palette = next((r.info.palette for r in rasters if r.info.palette is not None), None)
    two = palette is None and all(_is_black_and_white(raster) for raster in rasters)
    legend = Legend.guessed(palette, two)
    nodata = {int(r.nodata) for r in rasters if r.nodata is not None and 0 <= r.nodata <= 255}
    return replace(legend, unknown=legend.unknown | nodata)


def _is_black_and_white(raster: Raster) -> bool:
    """Whether 0 and 255 are all that is seen, and both are."""
    if raster.dtype != np.uint8 or raster.nodata is not None:
        return False
    return set(np.unique(_seen(raster)).tolist()) == {0, 255}


def points_of(scores: Path) -> NDArray[np.float64] | None:
    """Sample positions (N, 2), (x, y) in pixels, of what ``predict --save scores`` wrote as NPZ; None of
    others.

    Raises:
        FileProblem: a damaged file.
    """
    if scores.suffix != ".npz":
        return None
    try:
        with np.load(scores, allow_pickle=False) as arrays:
            grid, size = np.asarray(arrays["grid"], np.float32), arrays["size"]
            regions = arrays["regions"] if "regions" in arrays else np.array([[0, size[0], 0, size[1]]])
            grids = grid.reshape(len(regions), -1, 2)
    except (OSError, ValueError, KeyError) as error:
        raise FileProblem(scores, "scores as saccade predict writes them", "something else") from error
    return positions(grids, regions)


def positions(grids: NDArray[np.floating], regions: NDArray[np.integer]) -> NDArray[np.float64]:
    """Grids (V, ..., 2) in [-1, 1] over regions (V, 4: top, bottom, left, right) as (N, 2), (x, y) in pixels
    of the image, where the centre of the first is 0.5."""
    flat = (grids.reshape(len(grids), -1, 2).astype(np.float64) + 1) / 2
    top, bottom, left, right = regions.astype(np.float64).T[:, :, None]
    x = left + 0.5 + flat[..., 0] * (right - left - 1)
    y = top + 0.5 + flat[..., 1] * (bottom - top - 1)
    return np.stack([x, y], -1).reshape(-1, 2)


class Shelf:
    """The images that are open: those used last, within ``limit`` bytes that they hold, at most ``most``.

    An image in use is never closed under whoever uses it.
    """

    def __init__(self, gallery: Gallery, limit: int = 1 << 29, most: int = 6) -> None:
        self.gallery, self.limit, self.most = gallery, limit, most
        self._open: OrderedDict[int, Opened] = OrderedDict()
        self._users: dict[int, int] = {}
        self._opening: dict[int, threading.Lock] = {}
        self._lock = threading.Lock()

    @contextmanager
    def use(self, number: int) -> Iterator[Opened]:
        """The image of that number, opened where it is not; raises what opening it raises."""
        with self._lock:
            opening = self._opening.setdefault(number, threading.Lock())
        with opening:
            with self._lock:
                opened = self._open.get(number)
                if opened is not None:
                    self._take(number, opened)
            if opened is None:
                opened = self.gallery.entries[number].open()
                with self._lock:
                    self._open[number] = opened
                    self._take(number, opened)
        try:
            yield opened
        finally:
            with self._lock:
                self._users[id(opened)] -= 1
                closing = self._evicted()
            for one in closing:
                one.close()

    def _take(self, number: int, opened: Opened) -> None:
        self._open.move_to_end(number)
        self._users[id(opened)] = self._users.get(id(opened), 0) + 1

    def _evicted(self) -> list[Opened]:
        """Those that nobody uses and that are too many."""
        closing = []
        for number in list(self._open)[:-1]:
            held = sum(entry.held for entry in self._open.values())
            if len(self._open) <= self.most and held <= self.limit:
                break
            if not self._users.get(id(self._open[number])):
                closing.append(self._open.pop(number))
                self._users.pop(id(closing[-1]), None)
        return closing

    def close(self) -> None:
        """Closes all; nothing may be in use."""
        with self._lock:
            opened = list(self._open.values())
            self._open.clear()
        for image in opened:
            image.close()
