"""Planes: what can lie over an image (its colours, class indices, degrees, samples, errors), drawn patch by
patch.

A plane covers the whole image, whatever its own number of pixels, and is read at the level that suits the
patch.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saccade.errors import FileProblem
from saccade.geometry import Window
from saccade.rasters.array import ArrayRaster
from saccade.rasters.raster import Level, Raster
from saccade.viewer.reduced import FACTOR, ReducedCopy
from saccade.viewer.tiles import Patch

PATIENCE = 0.12
"""Seconds that a patch waits for the reduced copy before it is shown in part."""

MOST_READ = 1 << 24
"""Pixels that a patch reads where they lie, however much they are reduced: all of a photograph."""

NOTHING = 255
"""The value of a pixel of a plane of degrees that has none."""


@dataclass(frozen=True)
class Drawn:
    """(h, w, 3) colours, (h, w, 4) colours with opacity, or (h, w) values; not ``complete``: more will
    come."""

    pixels: NDArray[np.uint8]
    complete: bool = True


class Plane(ABC):
    """Draws patches of an image of ``size``; from several threads at once.

    Attributes:
        step: pixels of the image that a pixel of the plane spans: finer tiles show no more.
    """

    step: float = 1.0

    @abstractmethod
    def draw(self, patch: Patch) -> Drawn: ...


class RasterPlane(Plane):
    """Colours or values of a raster over an image of ``size``.

    Args:
        raster: 8-bit RGB (:func:`saccade.rasters.as_rgb`) for colours; one channel of whole numbers for
            values.
        size: (H, W) of the image that it covers.
        values: whether it is of values: they are taken nearest, and those beyond 254 are 255.
    """

    def __init__(self, raster: Raster, size: tuple[int, int], *, values: bool = False) -> None:
        self.raster, self.values = raster, values
        self._scale = raster.size[0] / size[0], raster.size[1] / size[1]
        self.step = max(1.0, min(1 / self._scale[0], 1 / self._scale[1]))
        self._gaps = not values and raster.info.masked
        self._copies: dict[int, ReducedCopy] = {}
        self._lock = threading.Lock()

    def draw(self, patch: Patch) -> Drawn:
        (down, across), window = self._scale, patch.window
        box = window.top * down, window.bottom * down, window.left * across, window.right * across
        step = max((box[1] - box[0]) / patch.size[0], (box[3] - box[2]) / patch.size[1])
        fine = [n for n, level in enumerate(self.raster.levels) if max(level.downsample) <= step * 1.01]
        number = fine[-1] if fine else 0
        level = self.raster.levels[number]
        read, place = _pixels_of(box, level)
        if step / max(level.downsample) > FACTOR * 1.01 and read.height * read.width > MOST_READ:
            return self._from_copy(number, box, patch.size)
        return Drawn(self._resized(self._read(read, number), place, patch.size))

    def close(self) -> None:
        """Frees what it holds but the raster, which is another's."""
        with self._lock:
            for copy in self._copies.values():
                copy.close()
            self._copies.clear()

    def _from_copy(self, number: int, box: tuple[float, ...], size: tuple[int, int]) -> Drawn:
        level = self.raster.levels[number]
        with self._lock:
            if number not in self._copies:
                channels = 1 if self.values else 4 if self._gaps else 3

                def read(window: Window) -> NDArray[np.uint8]:
                    return self._read(window, number, opacity=self._gaps)

                self._copies[number] = ReducedCopy(level, read, channels, self.raster.path)
            copy = self._copies[number]
        inner = tuple(side / level.downsample[k // 2] for k, side in enumerate(box))
        step = max((inner[1] - inner[0]) / size[0], (inner[3] - inner[2]) / size[1])
        reduced = [n for n, one in enumerate(copy.levels) if one.downsample[0] <= step * 1.01][-1]
        read_window, place = _pixels_of(inner, copy.levels[reduced])
        complete = copy.ready(read_window, reduced, PATIENCE)
        pixels = copy.read(read_window, reduced)
        return Drawn(self._resized(pixels, place, size), complete)

    def _read(self, window: Window, level: int, *, opacity: bool = False) -> NDArray[np.uint8]:
        block = self.raster.read(window, level)
        if self.values:
            return as_bytes(block[..., 0])
        if not self._gaps and not opacity:
            return block
        valid = self.raster.valid(window, level) if self._gaps else np.ones(window.size, bool)
        if valid.all() and not opacity:
            return block
        return np.dstack([block, valid.astype(np.uint8) * 255])

    def _resized(
        self, pixels: NDArray[np.uint8], place: tuple[float, ...], size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        top, bottom, left, right = place
        if self.values:
            return pixels[
                np.ix_(
                    _centres(top, bottom, size[0], len(pixels)),
                    _centres(left, right, size[1], pixels.shape[1]),
                )
            ]
        if pixels.shape[:2] == size:
            return pixels
        larger = bottom - top < size[0] and right - left < size[1]
        how = Image.Resampling.NEAREST if larger else Image.Resampling.BOX
        image = Image.fromarray(np.ascontiguousarray(pixels))
        return np.asarray(image.resize(size[::-1], how, (left, top, right, bottom)))


def _pixels_of(box: tuple[float, ...], level: Level) -> tuple[Window, tuple[float, ...]]:
    """The whole pixels of a level that hold ``box`` (top, bottom, left, right; of the full raster), and where
    in them the box lies."""
    edges, places = [], []
    for axis in (0, 1):
        side = level.size[axis]
        low, high = (box[2 * axis + end] / level.downsample[axis] for end in (0, 1))
        first = min(max(int(np.floor(low + 1e-6)), 0), side - 1)
        last = min(max(int(np.ceil(high - 1e-6)), first + 1), side)
        edges += [first, last]
        start = min(max(low - first, 0.0), last - first - 1e-3)
        places += [start, min(max(high - first, start + 1e-3), float(last - first))]
    return Window(*edges), tuple(places)


def _centres(low: float, high: float, count: int, side: int) -> NDArray[np.int64]:
    """The pixels at the centres of ``count`` shares of [low, high)."""
    places = low + (np.arange(count) + 0.5) * (high - low) / count
    return np.clip(places.astype(np.int64), 0, side - 1)


def as_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Whole numbers as bytes: what is below 0 or above 254 is 255."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8)
    return np.where((values < 0) | (values > 254), 255, values).astype(np.uint8)


MOST_DEGREES = 1 << 24
"""Pixels of a raster of floats that are kept in memory to be scaled."""


def degrees(raster: Raster, size: tuple[int, int]) -> RasterPlane:
    """A plane of degrees 0 to 254 of one band: bytes as they are; anything else from its least to its
    greatest value, by the square root, so that moderate densities show beside high ones.

    Raises:
        FileProblem: more than one band, or too many values to scale.
    """
    if raster.channels != 1:
        raise FileProblem(raster.path, "one band", f"{raster.channels} bands")
    if raster.dtype == np.uint8:
        return RasterPlane(raster, size, values=True)
    if raster.size[0] * raster.size[1] > MOST_DEGREES:
        got = f"{raster.dtype}, {raster.size[0]}x{raster.size[1]}"
        raise FileProblem(raster.path, f"8 bits, or at most {MOST_DEGREES} values", got)
    values = raster.read()[..., 0].astype(np.float64)
    return RasterPlane(ArrayRaster(raster.path, scaled_degrees(values)), size, values=True)


def scaled_degrees(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Values (h, w) from least to greatest as 0 to 254 by the square root; 255 where one is no number."""
    known = np.isfinite(values)
    least = values[known].min() if known.any() else 0.0
    span = (values[known].max() - least) if known.any() else 0.0
    shares = np.sqrt(np.where(known, values - least, 0) / span) if span > 0 else np.zeros(values.shape)
    return np.where(known, np.rint(shares * 254), NOTHING).astype(np.uint8)


class ErrorPlane(Plane):
    """Where labels differ from the truth: 0 right, 1 missed, 2 invented (the truth is the background), 255
    where the truth is not known."""

    def __init__(self, truth: Plane, labels: Plane, unknown: frozenset[int], background: int) -> None:
        self.truth, self.labels, self.unknown, self.background = truth, labels, unknown, background

    def draw(self, patch: Patch) -> Drawn:
        truth, labels = self.truth.draw(patch), self.labels.draw(patch)
        errors = verdicts(truth.pixels, labels.pixels, self.unknown, self.background)
        return Drawn(errors, truth.complete and labels.complete)


def verdicts(
    truth: NDArray[np.uint8], labels: NDArray[np.uint8], unknown: frozenset[int], background: int
) -> NDArray[np.uint8]:
    """(h, w): 0 right, 1 missed, 2 invented, 255 not known."""
    verdict = np.where(truth == labels, 0, np.where(truth == background, 2, 1)).astype(np.uint8)
    verdict[np.isin(truth, list(unknown))] = NOTHING
    return verdict


class PointPlane(Plane):
    """Sample positions as dots of 3 x 3 pixels of the screen: 0 dark edge, 254 the dot, 255 nothing."""

    def __init__(self, points: NDArray[np.floating]) -> None:
        """``points`` (N, 2), (x, y) in pixels of the image, where the centre of the first is 0.5."""
        self._places = points[np.argsort(points[:, 1], kind="stable")]

    def draw(self, patch: Patch) -> Drawn:
        window, (rows, columns) = patch.window, patch.size
        margin = 2 * patch.step
        first, last = np.searchsorted(self._places[:, 1], (window.top - margin, window.bottom + margin))
        near = self._places[first:last]
        near = near[(near[:, 0] > window.left - margin) & (near[:, 0] < window.right + margin)]
        x = np.floor((near[:, 0] - window.left) * columns / window.width).astype(np.int64)
        y = np.floor((near[:, 1] - window.top) * rows / window.height).astype(np.int64)
        out = np.full((rows + 8, columns + 8), NOTHING, np.uint8)
        for reach, value in ((2, 0), (1, 254)):
            for down in range(-reach, reach + 1):
                for right in range(-reach, reach + 1):
                    out[np.clip(y + down + 4, 0, rows + 7), np.clip(x + right + 4, 0, columns + 7)] = value
        return Drawn(out[4:-4, 4:-4])
