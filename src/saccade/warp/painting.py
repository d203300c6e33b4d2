"""One mesh put back onto pixels: what is found once, and what each window of the image needs."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saccade.errors import InvalidInput
from saccade.warp import labels_kernels as labels
from saccade.warp import values_kernels as plain
from saccade.warp.arrays import flat
from saccade.warp.bands import run_bands
from saccade.warp.contour_kernels import BLOCK, MANY, survey
from saccade.warp.mesh import Mesh
from saccade.warp.score_kernels import HUGE, winners

MOST_TRACED = 0.3
"""Where more triangles than this share have three classes to choose from, painting all is quicker."""

SMALLEST_BAND = 1 << 14
"""Pixels worth a thread of their own."""

Window = tuple[int, int, int, int]
"""(top, bottom, left, right) in pixels, bottom and right excluded."""


class Painter:
    """Values at the nodes of one mesh, from which any window of the image is painted.

    Args:
        values: (C, h, w) floating; for labels the scores of C classes.
        mesh: (h, w) nodes; neither side of 1, see :func:`saccade.warp.mesh.with_area`.
    """

    def __init__(self, values: Tensor, mesh: Mesh) -> None:
        self.values, self.mesh = values, mesh

    def interpolate(self, out: np.ndarray, place: Window) -> None:
        """Values of all pixels of a window into ``out`` (C, rows, columns), of their own type."""
        source = self.values.flatten(1).contiguous().numpy()

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
