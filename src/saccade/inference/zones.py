"""Areas by class in each polygon of a vector file: what a GIS calls zonal statistics, exact in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data.label_drawing import open_vectors, outlines_on
from saccade.data.polygons import inside_polygon
from saccade.data.vectors import Vectors
from saccade.errors import FileProblem
from saccade.rasters import Raster

NAMES = ("name", "Name", "NAME", "label", "id", "fid", "classification")
"""Attributes by which a zone is named, the first that it has."""


@dataclass(frozen=True)
class Zone:
    """A feature on an image: a pixel belongs to it where its centre lies in any of its polygons.

    Attributes:
        number: its place among the polygons of the file, from 1, whatever the format.
        name: by the first of :data:`NAMES` that it has, else "".
        polygons: the rings of each, (n, 2) corners (x, y) in pixels of the image.
        counts: (65536,) pixels of each label so far.
    """

    number: int
    name: str
    polygons: tuple[tuple[NDArray[np.float64], ...], ...]
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(65536, np.int64), repr=False)

    def count(self, labels: NDArray[np.integer], top: int) -> None:
        """Adds a strip of rows (n, W) that begins at the row ``top``."""
        inside: NDArray[np.bool_] | None = None
        for rings in self.polygons:
            low, high = rings[0][:, 1].min(), rings[0][:, 1].max()
            if high <= top or low >= top + len(labels):
                continue
            part, within = inside_polygon(labels.shape, [ring - (0, top) for ring in rings])
            if inside is None and len(self.polygons) == 1:
                self._add(labels[part][within])
                return
            inside = np.zeros(labels.shape, np.bool_) if inside is None else inside
            inside[part] |= within
        if inside is not None:
            self._add(labels[inside])

    def _add(self, labels: NDArray[np.integer]) -> None:
        seen = np.bincount(labels)
        self.counts[: len(seen)] += seen


def zones_on(path: Path, raster: Raster) -> list[Zone]:
    """The features of a file that meet an image; [] where none does.

    Raises:
        FileProblem: no vector file of polygons, or one whose place on the image is not known.
    """
    vectors = open_vectors(path)
    if not isinstance(vectors, Vectors):
        raise FileProblem(path, "polygons of zones", "COCO annotations", "save them as GeoJSON")
    place = {number: place for place, number in enumerate(vectors.numbers.tolist(), 1)}
    return [
        Zone(place[feature.number], _name(feature.attributes), polygons)
        for feature, polygons in outlines_on(vectors, raster)
    ]


def _name(attributes: Any) -> str:
    return next((str(attributes[name]) for name in NAMES if attributes.get(name) is not None), "")


def counted(zones: Sequence[Zone], labels: NDArray[np.integer], top: int) -> None:
    """Adds a strip of labels (n, W) to every zone."""
    for zone in zones:
        zone.count(labels, top)
