"""What was found, in numbers: tables of classes and of objects of an image, and which objects count."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data.classes import BACKGROUND, ClassTable
from saccade.errors import InvalidInput, nearest_name
from saccade.geometry import Window
from saccade.inference.tables import Column, table_file
from saccade.inference.zones import Zone, counted
from saccade.rasters import PixelSize, Raster
from saccade.rasters.polygons import BAND_PIXELS
from saccade.rasters.regions import Region, RegionCounter

MOST_CERTAIN, UNLABELLED_DOUBT = 254, 255
"""The scale of the uncertainty: 0 to 254, and the value of a pixel without a label."""

ROWS_AT_ONCE, PIXELS_AT_ONCE = 64, 1 << 20

_DOUBT = (((255 - np.arange(256)) * MOST_CERTAIN + 127) // 255).astype(np.uint8)
"""The uncertainty of each margin, of 255."""


def _pixel_sides(raster: Raster, unit: str, option: str) -> tuple[float, float]:
    """(y, x) of a pixel: microns for um and um2, metres for m and m2; raises InvalidInput without a scale."""
    size = raster.pixel_size
    if size is None:
        expected = "in pixels for an image without a scale"
        raise InvalidInput(option, expected, f"{unit} for {raster.path}", "give pixels")
    return size.microns if unit.startswith("u") else size.metres


_AREA = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?(?:e[0-9]+)?)\s*(px|um2|µm2|µm²|m2|m²)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class LeastArea:
    """An area below which an object does not count: in pixels, square microns or square metres.

    Examples:
        >>> from saccade.inference import LeastArea
        >>> LeastArea.parse("50"), LeastArea.parse("2.5 m2")
        (LeastArea(value=50.0, unit='px'), LeastArea(value=2.5, unit='m2'))
    """

    value: float = 0.0
    unit: str = "px"

    @classmethod
    def parse(cls, text: str, option: str = "--min-area") -> LeastArea:
        """``50``, ``50px``, ``50um2``, ``2.5m2``, or ``all``; raises InvalidInput for anything else."""
        match = _AREA.fullmatch(text)
        if text.strip().lower() == "all":
            return cls(inf)
        if match is None:
            raise InvalidInput(option, "an area such as 50 (pixels), 50um2 or 2.5m2", repr(text))
        unit = (match[2] or "px").lower().replace("µ", "u").replace("²", "2")
        return cls(float(match[1]), unit)

    def pixels(self, raster: Raster, option: str = "--min-area") -> float:
        """The same in pixels of an image.

        Raises:
            InvalidInput: when the image does not know its scale.
        """
        if self.unit == "px":
            return self.value
        y, x = _pixel_sides(raster, self.unit, option)
        return self.value / (y * x)


_LENGTH = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(px|um|µm|m)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Tolerance:
    """How far outlines may move where they are simplified: in pixels, microns or metres.

    Examples:
        >>> from saccade.inference.objects import Tolerance
        >>> Tolerance.parse("1.5um")
        Tolerance(value=1.5, unit='um')
    """

    value: float = 0.0
    unit: str = "px"

    @classmethod
    def parse(cls, text: str) -> Tolerance:
        """``2``, ``2px``, ``1.5um``, ``3m``; raises InvalidInput for anything else."""
        match = _LENGTH.fullmatch(text)
        if match is None:
            raise InvalidInput("--simplify", "a length such as 2 (pixels), 1.5um or 3m", repr(text))
        return cls(float(match[1]), (match[2] or "px").lower().replace("µ", "u"))

    def pixels(self, raster: Raster) -> float:
        """The same in pixels of an image.

        Raises:
            InvalidInput: when the image does not know its scale.
        """
        if self.unit == "px":
            return self.value
        y, x = _pixel_sides(raster, self.unit, "--simplify")
        return self.value / sqrt(y * x)


@dataclass(frozen=True)
class ObjectChoice:
    """Which objects are written, as polygons and as rows of a table, and how they are drawn.

    Attributes:
        classes: names of the classes whose objects count; None: all but one that is named as a background.
        least: objects that are smaller are left out, and smaller holes of polygons.
        fill: holes of polygons that are smaller are filled too.
        simplify: how far their outlines may move.

    Examples:
        >>> from saccade.data import ClassTable
        >>> from saccade.inference import ObjectChoice
        >>> table = ClassTable(("background", "boat"), (0, 1), ((0, 0, 0), (255, 255, 255)))
        >>> ObjectChoice().left_out(table), ObjectChoice(("background",)).left_out(table)
        ({0}, {1})
    """

    classes: tuple[str, ...] | None = None
    least: LeastArea = field(default_factory=LeastArea)
    fill: LeastArea = field(default_factory=LeastArea)
    simplify: Tolerance = field(default_factory=Tolerance)

    def check(self, raster: Raster) -> None:
        """Raises InvalidInput for lengths and areas that an image without a scale cannot have."""
        self.least.pixels(raster, "--min-area")
        self.fill.pixels(raster, "--fill-holes")
        self.simplify.pixels(raster)

    def left_out(self, table: ClassTable) -> set[int]:
        """The indices of the classes whose objects do not count.

        Raises:
            InvalidInput: for a name that is no class.
        """
        for name in self.classes or ():
            if name not in table.names:
                fix = nearest_name(name, table.names)
                raise InvalidInput("--classes", f"among {', '.join(table.names)}", repr(name), fix)
        named = dict(zip(table.names, table.indices, strict=True))
        if self.classes is not None:
            return {index for name, index in named.items() if name not in self.classes}
        around = {index for name, index in named.items() if name.strip().lower() in BACKGROUND}
        return around if len(around) < len(named) else set()


@dataclass(frozen=True)
class Scale:
    """Lengths of a pixel along y and x, and the unit: "um" or "m" where the image has a scale, else "px"."""

    y: float
    x: float
    unit: str

    @classmethod
    def of(cls, size: PixelSize | None) -> Scale:
        if size is None:
            return cls(1.0, 1.0, "px")
        return cls(size.y, size.x, "um" if size.unit == "micron" else "m")


_AREAS = (Column("pixels", "count"), Column("share", "real"), Column("area", "real"), Column("unit", "text"))
_CLASS = (Column("class", "text"), Column("index", "count"))
CLASS_COLUMNS = (Column("image", "text"), *_CLASS, *_AREAS)
ZONE_COLUMNS = (
    Column("image", "text"), Column("zone", "count"), Column("name", "text"), *_CLASS, *_AREAS,
)  # fmt: skip
OBJECT_COLUMNS = (
    Column("image", "text"), Column("object", "count"), *_CLASS,
    Column("pixels", "count"), Column("area", "real"), Column("perimeter", "real"), Column("unit", "text"),
    Column("x", "real", ".3f"), Column("y", "real", ".3f"),
    Column("left", "count"), Column("top", "count"), Column("right", "count"), Column("bottom", "count"),
    Column("map_x", "real", ".12g"), Column("map_y", "real", ".12g"), Column("confidence", "real", ".4f"),
)  # fmt: skip


@dataclass(frozen=True)
class TableWriter:
    """Writes the tables of one image, read once from its labels, strip by strip.

    Attributes:
        image: as 8-bit RGB, whose name, scale and place the tables tell.
        name: of the image, in the first column.
        table: the classes.
        fill_value: of an unlabelled pixel.
        choice: which objects count; the table of classes holds all.
    """

    image: Raster
    name: str
    table: ClassTable
    fill_value: int
    choice: ObjectChoice

    def write(
        self, classes: Path, objects: Path, labels: Raster, uncertainty: Raster | None, *, overwrite: bool
    ) -> None:
        """Classes and objects, CSV or Parquet by their suffixes; ``uncertainty`` (H, W, 1) gives the
        confidence of each object.

        Raises:
            FileProblem: a file exists without ``overwrite``, or cannot be written; ``labels`` is damaged.
        """
        counts = np.zeros(65536, np.int64)
        left_out, least = self.choice.left_out(self.table), self.choice.least.pixels(self.image)
        counter = RegionCounter(labels.size[1], {*left_out, self.fill_value})
        with table_file(objects, OBJECT_COLUMNS, overwrite=overwrite) as rows:
            number = 0
            for region in self._regions(counter, labels, uncertainty, counts):
                if region.pixels >= least:
                    number += 1
                    rows.add(self._object(number, region, uncertainty is not None))
        with table_file(classes, CLASS_COLUMNS, overwrite=overwrite) as rows:
            for areas in self._classes(counts):
                rows.add((self.name, *areas))

    def write_zones(self, path: Path, labels: Raster, zones: Sequence[Zone], *, overwrite: bool) -> None:
        """The areas of classes in each zone, in the order of their file.

        Raises:
            FileProblem: as :meth:`write`.
        """
        for window in _bands(labels):
            counted(zones, labels.read(window)[..., 0], window.top)
        with table_file(path, ZONE_COLUMNS, overwrite=overwrite) as rows:
            for zone in zones:
                for areas in self._classes(zone.counts):
                    rows.add((self.name, zone.number, zone.name, *areas))

    def _regions(
        self,
        counter: RegionCounter,
        labels: Raster,
        uncertainty: Raster | None,
        counts: NDArray[np.int64],
    ) -> Iterator[Region]:
        for window in _bands(labels):
            strip = labels.read(window)[..., 0]
            doubt = None if uncertainty is None else uncertainty.read(window)[..., 0]
            for some in np.array_split(strip.ravel(), strip.size // PIXELS_AT_ONCE + 1):
                seen = np.bincount(some)  # makes eight bytes of each
                counts[: len(seen)] += seen
            yield from counter.push(strip, doubt)
        yield from counter.finish()

    def _classes(self, counts: NDArray[np.int64]) -> Iterator[Sequence[Any]]:
        """Class, index, pixels, share, area and unit of each class; last what has no label."""
        scale, known = Scale.of(self.image.pixel_size), int(counts[list(self.table.indices)].sum())
        for name, index in zip(self.table.names, self.table.indices, strict=True):
            pixels = int(counts[index])
            share = pixels / known if known else None
            yield name, index, pixels, share, pixels * scale.y * scale.x, scale.unit
        missing = int(counts.sum()) - known
        if missing:
            yield "unlabelled", self.fill_value, missing, None, missing * scale.y * scale.x, scale.unit

    def _object(self, number: int, region: Region, is_sure: bool) -> Sequence[Any]:
        scale, (x, y) = Scale.of(self.image.pixel_size), region.centroid
        place: tuple[float | None, float | None] = (None, None)
        if self.image.transform is not None:
            a, b, c, d, e, f = self.image.transform
            place = (a * x + b * y + c, d * x + e * y + f)
        return (
            self.name, number, self.table.names[self.table.indices.index(region.label)], region.label,
            region.pixels, region.pixels * scale.y * scale.x,
            region.level * scale.x + region.upright * scale.y, scale.unit,
            x, y, *region.box, *place,
            1 - region.uncertainty / MOST_CERTAIN if is_sure else None,
        )  # fmt: skip


def _bands(labels: Raster) -> Iterator[Window]:
    """Rows of whole tiles that are read together, from the top."""
    height, width = labels.size
    tall = labels.levels[0].tile[0]
    step = tall * max(1, BAND_PIXELS // (tall * width))
    for top in range(0, height, step):
        yield Window(top, min(top + step, height), 0, width)


def uncertainty_of(scores: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """How uncertain labels are: 254 times one less the margin of the two best classes; 255 without a label.

    Args:
        scores: (rows, W, K) each class's share of 255.
        labels: (rows, W) ids, 255 without one.
    """
    doubt = np.zeros(labels.shape, np.uint8)
    for top in range(0, len(scores) if scores.shape[2] > 1 else 0, ROWS_AT_ONCE):
        some = slice(top, top + ROWS_AT_ONCE)
        best = np.partition(scores[some], scores.shape[2] - 2, axis=2)
        doubt[some] = _DOUBT[best[..., -1] - best[..., -2]]
    doubt[labels == 255] = UNLABELLED_DOUBT
    return doubt
