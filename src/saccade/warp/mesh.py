"""The mesh of a grid in pixel coordinates, and its rasterising, window by window; torch is not needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from saccade.errors import InvalidInput
from saccade.geometry import require_size
from saccade.runtime.threads import run_bands
from saccade.warp import _label_kernels as labels
from saccade.warp import _value_kernels as plain
from saccade.warp._mesh_kernels import BLOCK, HUGE, MANY, survey, winners
from saccade.warp._value_kernels import bin_nodes

if TYPE_CHECKING:
    from torch import Tensor

NODES_PER_BIN = 4
NO_BINS = (np.zeros(2, np.int64), np.zeros(0, np.int32), 1.0, 1)


@dataclass(frozen=True)
class Mesh:
    """Nodes of one grid: x, y (h, w) float64, in pixels of an image of ``size`` (H, W)."""

    x: np.ndarray
    y: np.ndarray
    size: tuple[int, int]

    @classmethod
    def of(cls, grid: Tensor | np.ndarray, size: tuple[int, int]) -> Mesh:
        """The mesh of one grid (h, w, 2)."""
        places = places_of(grid if isinstance(grid, np.ndarray) else as_array(grid.double()), size)
        return cls(np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1]), size)

    def reaches_borders(self) -> bool:
        """Whether the outermost nodes lie on the image border, so that the mesh leaves no pixel out."""
        height, width = self.size
        ends = ((self.y[0], 0), (self.y[-1], height - 1), (self.x[:, 0], 0), (self.x[:, -1], width - 1))
        return all(bool((nodes == border).all()) for nodes, border in ends)

    def covers(self) -> bool:
        """Whether the triangles cover the image: borders reached, and an area to cover."""
        return min(self.size) > 1 and self.reaches_borders()

    @cached_property
    def heights(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y and (2, h) the least and the greatest y of each row of nodes."""
        return self.x, self.y, np.stack([self.y.min(1), self.y.max(1)])

    @cached_property
    def bins(self) -> tuple[np.ndarray, np.ndarray, float, int]:
        """Nodes by square bins, as ``nearest_kernels`` search them."""
        height, width = self.size
        side = max(1.0, math.sqrt(height * width * NODES_PER_BIN / self.x.size))
        across, down = int((width - 1) / side) + 1, int((height - 1) / side) + 1
        starts, order = bin_nodes(self.x.ravel(), self.y.ravel(), side, across, down)
        return starts, order, side, across

    def with_bins_if_needed(self, run: Callable[[Any, np.ndarray], None]) -> None:
        """Calls ``run(bins, missed)``: without bins where no pixel should need them, else with them."""
        missed = np.zeros(1, np.uint8)
        if self.reaches_borders():
            run(NO_BINS, missed)
            if not missed[0]:
                return
        run(self.bins, missed)


def as_array(values: Tensor | np.ndarray) -> np.ndarray:
    """The same memory; of a tensor on the CPU too."""
    return values if isinstance(values, np.ndarray) else values.detach().numpy()


def places_of(grid: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Grid coordinates (..., 2) as float64 pixel coordinates inside an image of ``size`` (H, W)."""
    sides = np.array([size[1] - 1, size[0] - 1], np.float64)
    return np.minimum(np.maximum((grid.astype(np.float64) + 1) * 0.5 * sides, 0), sides)


def require_window(window: Sequence[int] | None, size: Sequence[int]) -> tuple[int, int, int, int]:
    """(top, bottom, left, right), in pixels, bottom and right excluded; the whole image for None.

    Raises:
        InvalidInput: when it is not four whole numbers inside the image with at least one pixel.
    """
    height, width = require_size(size)
    if window is None:
        return 0, height, 0, width
    expected = f"(top, bottom, left, right) with 0 <= top < bottom <= {height}, 0 <= left < right <= {width}"
    try:
        top, bottom, left, right = (side.__index__() for side in window)
    except (TypeError, ValueError, AttributeError):
        raise InvalidInput("window", expected, repr(window)) from None
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
        raise InvalidInput("window", expected, tuple(window), "cut it to the image first")
    return top, bottom, left, right


MOST_TRACED = 0.3
"""Where more triangles than this share have three classes to choose from, painting all is quicker."""

SMALLEST_BAND = 1 << 14
"""Pixels worth a thread of their own."""

Window = tuple[int, int, int, int]
"""(top, bottom, left, right) in pixels, bottom and right excluded."""


class MeshRasteriser:
    """Values at the nodes of one mesh, from which any window of the image is painted.

    Args:
        values: (C, h, w) floating; for labels the scores of C classes.
        mesh: (h, w) nodes; neither side of 1, see :func:`saccade.warp.mesh.with_area`.
    """

    def __init__(self, values: Tensor | np.ndarray, mesh: Mesh) -> None:
        self.values, self.mesh = values, mesh

    def interpolate(self, out: np.ndarray, place: Window) -> None:
        """Values of all pixels of a window into ``out`` (C, rows, columns), of their own type."""
        values = as_array(self.values)
        source = np.ascontiguousarray(values).reshape(len(values), -1)

        def run(bins: Any, missed: np.ndarray) -> None:
            by_rows(plain.interpolated, place, source, out, place, self.mesh.heights, bins, missed)

        self.mesh.with_bins_if_needed(run)

    def label(self, out: np.ndarray, place: Window, hole: int, *, linear: bool = True) -> None:
        """The class of highest score of all pixels of a window into ``out`` (rows, columns) of whole numbers.

        Args:
            hole: a number of its type that is no class.
            linear: interpolate the scores; else every pixel takes the class of its nearest node.

        Raises:
            InvalidInput: when a score is NaN.
        """
        nodes = (self.mesh.x, self.mesh.y, self._best)
        if not linear:
            by_rows(labels.labelled_nearest, place, out, place, nodes, self.mesh.bins)
            return
        kinds, spans, folded = self._survey
        if self._traced:
            cells = (self._readable, kinds, spans, folded)
            by_rows(labels.labelled_covering, place, out, place, nodes, *cells)
        else:
            cells_and_hole = (self._readable, kinds, spans, hole)
            by_rows(labels.labelled_anyhow, place, out, place, nodes, self.mesh.bins, *cells_and_hole)

    @cached_property
    def _best(self) -> np.ndarray:
        """(h, w) int32: the class of highest score at each node."""
        best, faults = np.empty(self.mesh.x.shape, np.int32), np.zeros(1, np.uint8)
        run_bands(winners, len(best), self._readable, best, faults, smallest=self._smallest)
        if faults[0]:
            raise InvalidInput("scores", "numbers", "NaN among them", "find where the network makes them")
        return best

    @cached_property
    def _survey(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which classes each triangle has, what blocks of cells span, which rows of pixels lie in folds."""
        mesh = self.mesh
        rows, columns = len(mesh.x) - 1, mesh.x.shape[1] - 1
        kinds, spans = np.empty((rows, columns, 2), np.uint8), np.empty((rows, -(-columns // BLOCK), 3))
        folded, nodes = np.zeros(mesh.size[0], np.uint8), (mesh.x, mesh.y, self._best)
        run_bands(survey, rows, nodes, self._readable, kinds, spans, folded, smallest=self._smallest)
        return kinds, spans, folded

    @cached_property
    def _traced(self) -> bool:
        return self.mesh.covers() and bool((self._survey[0] == MANY).mean() < MOST_TRACED)

    @cached_property
    def _readable(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """Scores as ``score_kernels`` read them: values, table of what they mean, strides, classes."""
        scores = self.values
        if isinstance(scores, np.ndarray):
            held = np.ascontiguousarray(scores)
            strides = np.array(held.strides, np.int64) // held.itemsize
            return held.reshape(-1), np.empty(0, np.float32), strides, len(held)
        import torch

        from saccade.warp.tensors import flat

        if scores.element_size() > 2:
            source, strides = flat(scores)
            return source, np.empty(0, np.float32), strides, len(scores)
        source, strides = flat(scores.view(torch.int16))
        every = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(scores.dtype)
        return source.view(np.uint16), every.float().clamp(-HUGE, HUGE).numpy(), strides, len(scores)

    @property
    def _smallest(self) -> int:
        return max(1, SMALLEST_BAND // (len(self.values) * self.mesh.x.shape[1]))


def by_rows(kernel: Any, place: Window, *arguments: Any) -> None:
    """Runs a kernel over the rows of a window."""
    rows, columns = place[1] - place[0], place[3] - place[2]
    run_bands(kernel, rows, *arguments, smallest=max(1, SMALLEST_BAND // columns))
