"""Whole slides with polygons or label rasters beside them, as the PCa-Histo set of ICLR 2022."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from saccade.data.classes import read_classes
from saccade.data.coco import CocoFile
from saccade.data.dataset import Format, Item, Listing
from saccade.data.folder import files, match
from saccade.data.label_drawing import Seen, VectorFile, draw_labels, open_vectors, remarks_on
from saccade.data.label_rule import LabelRule, read_label_rule
from saccade.data.options import DataOptions
from saccade.data.placing import no_place, place_vectors
from saccade.data.splits import SPLITS, Splits, read_splits, seeded_splits, stems_in, wanted_splits
from saccade.data.vectors import VECTOR_SUFFIXES, belongs_to_vectors
from saccade.errors import Fault, FileProblem
from saccade.geometry import Window
from saccade.rasters import RGB, Raster, as_rgb, open_raster, thumbnail
from saccade.rasters.bands import BandRaster, as_bands, whole
from saccade.rasters.part import PartRaster
from saccade.rasters.reduce import reduced_pixels


def nearest_labels(path: Path, full: tuple[int, int], size: tuple[int, int]) -> NDArray[np.integer]:
    """The indices at the centres of ``size`` (h, w) pixels: uint8 or uint16.

    Args:
        path: a label raster of the proportions of the slide.
        full: (H, W) of the slide.
        size: what is wanted.

    Raises:
        FileProblem: it cannot be read, holds colours or fractions, or has other proportions.
    """
    with open_raster(path, place=False) as raster:
        require_indices(raster, full)
        if size[0] <= raster.size[0] and size[1] <= raster.size[1]:
            return thumbnail(_Indices(raster), size)[..., 0]
        pixels = raster.read()[..., 0]
    rows, columns = (
        ((np.arange(side) + 0.5) * has / side).astype(int)
        for side, has in zip(size, pixels.shape, strict=True)
    )
    return pixels[np.ix_(rows, columns)]


def require_indices(raster: Raster, full: tuple[int, int]) -> None:
    """Raises FileProblem for colours or fractions, and for other proportions than those of a slide (H, W)."""
    if raster.channels != 1 or raster.dtype.name not in ("uint8", "uint16"):
        got = f"{raster.channels} channels of {raster.dtype}"
        raise FileProblem(raster.path, "one channel of class indices, uint8 or uint16", got)
    if not _same_proportions(raster.size, full):
        expected = f"the proportions of its slide, {full[0]} x {full[1]} (rows x columns)"
        raise FileProblem(raster.path, expected, f"{raster.size[0]} x {raster.size[1]}")


def indices_in(raster: Raster, window: Window, full: tuple[int, int]) -> NDArray[np.integer]:
    """The indices at the centres of the pixels of a window of a slide of ``full`` (H, W)."""
    if raster.size == full:
        return raster.read(window)[..., 0]
    rows, columns = (
        ((np.arange(first, last) + 0.5) * has / of).astype(int)
        for first, last, has, of in zip(
            (window.top, window.left), (window.bottom, window.right), raster.size, full, strict=True
        )
    )
    top, left = int(rows[0]), int(columns[0])
    around = Window(top, int(rows[-1]) + 1, left, int(columns[-1]) + 1)
    return raster.read(around)[..., 0][np.ix_(rows - top, columns - left)]


def _same_proportions(size: tuple[int, int], full: tuple[int, int]) -> bool:
    """Whether ``size`` may be ``full`` reduced by one factor, each side rounded by up to a pixel."""
    times = full[0] / size[0]
    return abs(full[1] / times - size[1]) <= 1 + full[1] / full[0]


class _Indices(Raster):
    """The full resolution of a label raster as what it is: the coarser levels of a file may be means."""

    def __init__(self, raster: Raster) -> None:
        super().__init__(replace(raster.info, meaning="palette", levels=raster.levels[:1]))
        self._raster = raster

    def _read(self, window: Window, level: int) -> np.ndarray:
        return self._raster.read(window, level)

    def close(self) -> None:
        self._raster.close()


def label_files(paths: Sequence[Path]) -> list[Path]:
    """Those that are labels themselves, and no part of a Shapefile or a raster beside them."""
    return [path for path in paths if not belongs_to_vectors(path) and not _beside_raster(path)]


def _beside_raster(path: Path) -> bool:
    return path.name.lower().endswith((".aux.xml", ".tfw", ".pgw", ".ovr"))


def kind_faults(labels: dict[str, list[Path]]) -> list[Fault]:
    """Of label files by stem: what is of no format that labels have, and what there are several of."""
    kinds = (*VECTOR_SUFFIXES, *RASTERS)
    expected = "one of the formats " + ", ".join(kind[1:] for kind in kinds)
    faults = [
        Fault(path, expected, f"a {path.suffix or 'bare'} file")
        for some in labels.values()
        for path in some
        if path.suffix.lower() not in kinds
    ]
    return faults + [
        Fault(some[0], "one annotation of a slide", " and ".join(path.name for path in some))
        for some in labels.values()
        if len(some) > 1
    ]


RASTERS = (".png", ".tif", ".tiff")
_WHOLE = {"train": 200, "val": 27, "test": 39}


class Slides(Format):
    """``slides/NAME.*`` of any format that Saccade reads, ``annotations/NAME.geojson`` (QuPath's or any other
    polygons, in pixels of the full resolution or in the slide's map coordinates) or ``annotations/NAME.png``
    or ``.tif`` (class indices, of the slide's proportions), ``classes.json``, and ``splits.json``. Polygons
    may be a GeoPackage, Shapefile, FlatGeobuf or COCO JSON too.

    Slides do not fit in memory: each is read reduced so far that it has at most ``max_pixels`` pixels, or at
    ``mpp`` microns a pixel where that is coarser, by area averaging; labels are those at the centres of the
    reduced pixels. What no polygon covers has index 0; where several do, the last in the file counts, unless
    ``classes.json`` says otherwise. Without ``splits.json`` slides are split by seed 0 in the shares of ICLR
    2022: 200 train, 27 val, 39 test.
    """

    name = "slides"
    title = "a folder of whole slides"
    looks_for = "slides/, annotations/, classes.json"

    zero: ClassVar[bool] = True
    """Whether index 0 is where no polygon is, unless ``classes.json`` says otherwise."""

    what: ClassVar[str] = "a slide"
    where: ClassVar[str] = "slides"
    """An image and its folder, in messages."""

    windowed: ClassVar[bool] = True

    _unlabelled: tuple[str, ...] = ()
    """Stems of images without labels, which is told of each."""

    _rule: LabelRule | None = None
    _shared: VectorFile | None = None

    def __init__(self, options: DataOptions | None = None) -> None:
        super().__init__(options)
        self._seen: dict[str, Seen] = {}
        self._lock = threading.Lock()

    @classmethod
    def recognises(cls, root: Path) -> bool:
        parts = (
            (root / "slides").is_dir(),
            (root / "annotations").is_dir(),
            (root / "classes.json").exists(),
        )
        return sum(parts) >= 2 and (all(parts[:2]) or not (root / "images").is_dir())

    def find(self, root: Path, splits: tuple[str, ...] | None) -> Listing:
        classes, faults = read_classes(root / "classes.json")
        if classes is not None:
            self._rule, rule_faults = read_label_rule(root / "classes.json", classes, zero=self.zero)
            faults += [*rule_faults, *self._without_zero(root)]
            classes = self._rule.classes
        items, unmatched = self._pairs(root)
        stems, missing = self._splits(root, list(items), splits)
        faults += [*unmatched, *missing]
        listed = {n: [items[s] for s in some if s in items] for n, some in stems.items()}
        return Listing(classes, listed, faults)

    def _without_zero(self, root: Path) -> list[Fault]:
        """Index 0 is where no polygon is, so that it has to mean something."""
        if self._rule is None or self._rule.unlabelled in self._rule.classes.allowed_values:
            return []
        expected = 'a class or ignore_index 0, for what is not annotated, or "unlabelled"'
        return [Fault(root / "classes.json", expected, "none")]

    def _pairs(self, root: Path) -> tuple[dict[str, Item], list[Fault]]:
        folders = root / "slides", root / "annotations"
        if absent := [self.missing(folder, "a folder") for folder in folders if not folder.is_dir()]:
            return {}, absent
        zarr = [path for path in sorted(folders[0].glob("*.zarr")) if path.is_dir()]
        slides = {path.stem: path for path in [*files(folders[0], "*"), *zarr]}
        notes: dict[str, list[Path]] = {}
        for path in label_files(files(folders[1], "*")):
            notes.setdefault(path.stem, []).append(path)
        wanted = stems_in(root / "splits.json")
        if wanted is not None:  # a slide of no split needs no annotation
            slides = {stem: path for stem, path in slides.items() if stem in notes or stem in wanted}
        faults = kind_faults(notes)
        annotations = {stem: some[0] for stem, some in notes.items()}
        items, unmatched = match(
            self, slides, annotations, lambda s: f"annotations/{s}.geojson (or .gpkg, .shp, .png, .tif)",
            lambda s: f"slides/{s}.*",
        )  # fmt: skip
        return items, [*faults, *unmatched]

    def _splits(
        self, root: Path, stems: list[str], names: tuple[str, ...] | None
    ) -> tuple[dict[str, tuple[str, ...]], list[Fault]]:
        path = root / "splits.json"
        in_windows = self.options.window is not None
        if not path.exists() and in_windows and len(stems) < len(SPLITS):
            splits: Splits = dict.fromkeys(SPLITS, tuple(stems))
            faults: list[Fault] = []
        elif not path.exists():
            splits = {name: tuple(some) for name, some in seeded_splits(stems, _WHOLE).items()}
            faults = []
        else:
            splits, faults = read_splits(path, shared=in_windows)
            known = {*stems, *self._unlabelled}
            unknown = [s for some in splits.values() for s in some if s not in known]
            faults += [Fault(path, f"{self.what} {s!r} in {self.where}/", "no such file") for s in unknown]
        if names is None:
            return splits, faults
        splits, missing = wanted_splits(splits, names, path)
        return splits, faults or missing

    def missing(self, path: Path, expected: str, found: str = "nothing there") -> Fault:
        return Fault(path, expected, found)

    def image(self, item: Item) -> RGB:
        with self._opened(item) as raster:
            size = self.reduced(raster)
            if size == raster.size:
                pixels = whole(raster) if isinstance(raster, BandRaster) else raster.read()
                return RGB(pixels, raster.notices)
            times = raster.size[0] / size[0]
            notice = f"slide read at 1/{times:.3g} of its rows and columns"
            return RGB(reduced_pixels(raster.for_samples, size), (*raster.notices, notice))

    def _opened(self, item: Item) -> Raster:
        if self.bands is not None:
            return as_bands(open_raster(item.image), self.bands, like=self.like)
        return as_rgb(open_raster(item.image), value_range=self.options.value_range)

    def values(self, item: Item) -> NDArray[np.integer]:
        with open_raster(item.image) as raster:
            size = self.reduced(raster)
            if item.mask.suffix.lower() in RASTERS:
                return nearest_labels(item.mask, raster.size, size)
            if self._rule is None:
                return np.zeros(size, np.uint8)
            shared = self._shared
            file = shared if shared is not None else open_vectors(item.mask, self._rule.layer)
            is_shared = shared is not None
            labels, seen = draw_labels(file, raster, item.stem, size, self._rule, shared=is_shared)
        with self._lock:
            self._seen[item.stem] = seen
        return labels

    def open_labels(self, path: Path) -> Raster | VectorFile:
        if path.suffix.lower() in RASTERS:
            return open_raster(path, place=False)
        return open_vectors(path, self._layer) if self._shared is None else self._shared

    @property
    def _layer(self) -> str | None:
        return None if self._rule is None else self._rule.layer

    def check_labels(self, item: Item, raster: Raster, labels: Raster | VectorFile) -> None:
        if isinstance(labels, Raster):
            require_indices(labels, raster.size)
            return
        if isinstance(labels, CocoFile):
            fix = "save its polygons as GeoPackage or GeoJSON"
            raise FileProblem(labels.path, "polygons that can be read in windows", "COCO JSON", fix)
        if self._rule is not None:
            self._rule.attributes_of(labels)
        if self._shared is None and labels.bounds is not None and place_vectors(labels, raster) is None:
            raise no_place(labels, raster)

    def values_in(self, item: Item, part: PartRaster, labels: Raster | VectorFile) -> NDArray[np.integer]:
        assert item.window is not None and self._rule is not None
        if isinstance(labels, Raster):
            return indices_in(labels, item.window, part.whole_size)
        drawn, seen = draw_labels(labels, part, item.stem, item.window.size, self._rule, shared=True)
        with self._lock:
            # A polygon without a pixel in a window may have some in the next.
            self._seen[item.stem] = replace(seen, missed=0, beyond=0)
        return drawn

    def remarks(self) -> list[str]:
        if self._rule is None:
            return []
        return remarks_on(list(self._seen.values()), self._rule, shared=self._shared is not None)

    def reduced(self, raster: Raster) -> tuple[int, int]:
        """(H, W) that a slide is read at.

        Raises:
            FileProblem: ``mpp`` is asked of a slide that does not say how large its pixels are.
        """
        height, width = raster.size
        times = max(1.0, math.sqrt(height * width / self.options.max_pixels))
        if self.options.mpp is not None:
            if raster.pixel_size is None:
                fix = "leave out data.mpp, or set the file's resolution"
                raise FileProblem(raster.path, "microns a pixel, for data.mpp", "none", fix)
            times = max(times, self.options.mpp / max(raster.pixel_size.microns))
        return max(1, math.floor(height / times)), max(1, math.floor(width / times))
