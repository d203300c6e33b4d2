"""An area of interest: bounds, or the polygons of a file, on any image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saccade.data.coco import CocoFile
from saccade.data.label_drawing import on_image, open_vectors
from saccade.data.placing import about, no_place, place_vectors
from saccade.data.polygons import inside_polygon, polygon_window
from saccade.data.vectors import VECTOR_SUFFIXES, Box, Corners, Vectors
from saccade.errors import FileProblem, InvalidInput
from saccade.geometry import Window
from saccade.rasters import Raster

Polygons = tuple[tuple[Corners, ...], ...]


@dataclass(frozen=True)
class Area:
    """A region on one image.

    Attributes:
        window: the pixels around it.
        polygons: rings in pixels of the image.
    """

    window: Window
    polygons: Polygons

    def scaled(self, full: tuple[int, int], size: tuple[int, int]) -> Area:
        """The same on an image of ``full`` (H, W) that is read at another size; at least a pixel."""
        if full == size:
            return self
        scale = np.array([size[1] / full[1], size[0] / full[0]])
        polygons = tuple(tuple(ring * scale for ring in rings) for rings in self.polygons)
        down, across = size[0] / full[0], size[1] / full[1]
        top, left = int(self.window.top * down), int(self.window.left * across)
        bottom = min(size[0], max(top + 1, int(np.ceil(self.window.bottom * down))))
        right = min(size[1], max(left + 1, int(np.ceil(self.window.right * across))))
        return Area(Window(top, bottom, left, right), polygons)

    def fills(self, window: Window) -> bool:
        """Whether the region is a rectangle that holds every pixel of a window."""
        corners = np.concatenate(self.polygons[0])
        sides = len(np.unique(corners[:, 0])), len(np.unique(corners[:, 1]))
        return len(self.polygons) == 1 and sides == (2, 2) and window == self.window

    def inside(self, window: Window) -> NDArray[np.bool_]:
        """(h, w) of a window of the image: True where the centre of a pixel is in the region."""
        mask = np.zeros(window.size, np.bool_)
        shift = np.array([window.left, window.top])
        for rings in self.polygons:
            part, inside = inside_polygon(window.size, [ring - shift for ring in rings])
            mask[part] |= inside
        return mask


@dataclass(frozen=True)
class Region:
    """What a user names as ``--region``.

    Attributes:
        text: as it was named.
        bounds: least x and y, greatest x and y; None for a file.

    Examples:
        >>> from saccade.data.region import Region
        >>> Region.parse("500000,5299000,501000,5300000").bounds
        (500000.0, 5299000.0, 501000.0, 5300000.0)
    """

    text: str
    bounds: Box | None = None

    @classmethod
    def parse(cls, text: str) -> Region:
        """Four numbers with commas, or the path of a vector file.

        Raises:
            InvalidInput: neither, or bounds without an area.
        """
        words = str(text).split(",")
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            numbers = []
        if len(numbers) == 4 and np.isfinite(numbers).all():
            left, low, right, high = numbers
            if left >= right or low >= high:
                raise InvalidInput("--region", "XMIN,YMIN,XMAX,YMAX with an area", repr(text))
            return cls(text, (left, low, right, high))
        path = Path(str(text))
        if path.suffix.lower() not in VECTOR_SUFFIXES:
            expected = f"XMIN,YMIN,XMAX,YMAX, or a file ({' '.join(VECTOR_SUFFIXES)})"
            raise InvalidInput("--region", expected, repr(text))
        return cls(text)

    @cached_property
    def _vectors(self) -> Vectors:
        file = open_vectors(Path(self.text))
        if isinstance(file, CocoFile):
            raise FileProblem(
                file.path, "polygons of a region", "COCO JSON, whose polygons are of single images"
            )
        if not len(file.numbers):
            raise FileProblem(file.path, "polygons of a region", "none")
        return file

    def on(self, raster: Raster) -> Area:
        """The region on an image.

        Bounds are in its map coordinates, or in pixels where it has no place; polygons are brought to it as
        labels are.

        Raises:
            FileProblem: the file cannot be read, or no pixel of the image is in the region.
        """
        polygons = self._of_bounds(raster) if self.bounds is not None else self._of_file(raster)
        parts = _windows(polygons, raster.size)
        if not parts:
            raise self._outside(raster)
        window = Window(
            min(part.top for part in parts), max(part.bottom for part in parts),
            min(part.left for part in parts), max(part.right for part in parts),
        )  # fmt: skip
        return Area(window, polygons)

    def meets(self, raster: Raster) -> bool:
        """Whether a pixel of an image is in the region; raises FileProblem where its file cannot be read."""
        polygons = self._of_bounds(raster) if self.bounds is not None else self._of_file(raster, none=True)
        return bool(_windows(polygons, raster.size))

    def _of_bounds(self, raster: Raster) -> Polygons:
        assert self.bounds is not None
        left, low, right, high = self.bounds
        ring = np.array([(left, low), (right, low), (right, high), (left, high), (left, low)], np.float64)
        if raster.transform is not None:
            a, b, c, d, e, f = raster.transform
            ring = (ring - (c, f)) @ np.linalg.inv(np.array([[a, b], [d, e]])).T
        return ((ring,),)

    def _of_file(self, raster: Raster, *, none: bool = False) -> Polygons:
        vectors = self._vectors
        meaning = place_vectors(vectors, raster)
        if meaning is None:
            if none:
                return ()
            raise no_place(vectors, raster)
        shapes = [on_image(feature, meaning, vectors.path) for feature in vectors.features(meaning.box)]
        return tuple(rings for shape in shapes for rings in shape.polygons)

    def _outside(self, raster: Raster) -> FileProblem:
        what = "bounds" if self.bounds is not None else self.text
        where = "in its map coordinates" if raster.transform is not None else "in pixels"
        found = f"{self.text} ({where})" if self.bounds is not None else "none of its pixels"
        return FileProblem(raster.path, f"a region ({what}) that meets {about(raster)}", found)


def _windows(polygons: Polygons, size: tuple[int, int]) -> list[Window]:
    """The pixels around each polygon that covers any."""
    windows = (polygon_window(size, rings) for rings in polygons)
    return [window for window in windows if window is not None]
