"""Connected regions of equal label, measured row by row: area, outline, centroid, box, uncertainty."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saccade.rasters import _region_kernels as kernels
from saccade.rasters._kernels import find_all

BATCH = 256
"""Rows after which regions that are complete are given."""

MOST_PARTS = 1 << 16
"""Numbers in use after which they are given sooner, so that labels like noise stay in memory."""


@dataclass(frozen=True)
class Region:
    """An 8-connected region of one label; pixel (i, j) spans x in [j, j + 1], y in [i, i + 1].

    Attributes:
        label: its class index.
        pixels: how many.
        level, upright: pixel edges of its outline (holes too) that lie along x, and along y.
        centroid: (x, y) the mean of the centres of its pixels.
        box: (left, top, right, bottom) pixel edges.
        uncertainty: mean of what was given for its pixels.
    """

    label: int
    pixels: int
    level: int
    upright: int
    centroid: tuple[float, float]
    box: tuple[int, int, int, int]
    uncertainty: float


class RegionCounter:
    """Takes the rows of a label map from the top and gives the regions that are complete.

    Holds two rows and what is open: as connected_objects of the metrics, connected over sides and corners.

    Args:
        width: W.
        skip: labels that form no region.
    """

    def __init__(self, width: int, skip: Collection[int] = ()) -> None:
        self._row = 0
        self._kept = np.ones(65536, bool)
        self._kept[list(skip)] = False
        self._above = np.full(width, kernels.NOTHING, np.int64)
        self._parts = np.full(width, kernels.NOTHING, np.int64)
        self._no_doubt = np.zeros(width, np.uint8)
        room = MOST_PARTS + 3 * width
        self._parent, self._counts = np.zeros(room, np.int64), np.zeros((room, 12), np.int64)
        self._count = 0

    def push(
        self, rows: NDArray[np.integer], uncertainty: NDArray[np.uint8] | None = None
    ) -> Iterator[Region]:
        """The next rows (n, W) of labels, and what is to be averaged (n, W); regions that they complete, in
        an order that does not depend on n."""
        for number, labels in enumerate(rows):
            row = np.where(self._kept[labels], labels.astype(np.int64), kernels.NOTHING)
            self._push_row(row, self._no_doubt if uncertainty is None else uncertainty[number])
            if self._row % BATCH == 0 or self._count > MOST_PARTS + len(row):
                yield from self._complete()

    def finish(self) -> Iterator[Region]:
        """The rest, once all rows were given."""
        self._push_row(np.full(len(self._above), kernels.NOTHING, np.int64), self._no_doubt)
        yield from self._complete()

    def _push_row(self, row: NDArray[np.int64], doubt: NDArray[np.uint8]) -> None:
        parts = np.empty_like(self._parts)
        state = self._parent, self._counts, self._count
        self._count = kernels.count_row(self._row, self._above, self._parts, row, parts, *state, doubt)
        self._above, self._parts = row, parts
        self._row += 1

    def _complete(self) -> Iterator[Region]:
        """Regions that the last row no longer touches; the numbers of the others start again."""
        kernels.gather_counts(self._parent, self._counts, self._count)
        roots = find_all(self._parent, np.arange(self._count))
        touched = self._parts >= 0
        alive = np.unique(roots[self._parts[touched]])
        own = np.flatnonzero(roots == np.arange(self._count))
        done = self._counts[np.setdiff1d(own, alive, assume_unique=True)]
        self._counts[: len(alive)] = self._counts[alive]
        self._parts[touched] = np.searchsorted(alive, roots[self._parts[touched]])
        self._count = len(alive)
        self._parent[: self._count] = np.arange(self._count)
        order = np.lexsort((done[:, kernels.FIRST], done[:, kernels.TOP]))
        yield from map(_region, done[order].tolist())


def _region(counts: list[int]) -> Region:
    label, pixels, twice_x, twice_y, level, upright, left, top, right, bottom, _, doubt = counts
    centroid = twice_x / (2 * pixels), twice_y / (2 * pixels)
    return Region(label, pixels, level, upright, centroid, (left, top, right, bottom), doubt / pixels)
