"""A patch as it is put back onto pixels: its mesh and winners are found once, however many windows follow.

What comes out is that of :func:`saccade.unwarp_labels` and :func:`saccade.unwarp`, to the bit.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.errors import InvalidInput
from saccade.inference.mosaic_kernels import NOTHING
from saccade.inference.patches import Patch
from saccade.rasters import Window
from saccade.warp.arrays import flat
from saccade.warp.bands import run_bands
from saccade.warp.contour_kernels import BLOCK, MANY, survey
from saccade.warp.labels_kernels import labelled_anyhow, labelled_covering
from saccade.warp.mesh import NO_BINS, Mesh, with_area
from saccade.warp.score_kernels import winners
from saccade.warp.unwarp import MOST_TRACED, SMALLEST_BAND
from saccade.warp.values_kernels import interpolated

BYTES_A_NODE = 30
"""What is kept of each node beside its scores: place, winner, kinds of its triangles."""


class Painter:
    """Labels and scores of a patch, window by window, in pixels of the image.

    Raises:
        InvalidInput: when a score is NaN.
    """

    def __init__(self, patch: Patch) -> None:
        self.patch, self.region = patch, patch.region
        scores, grid = with_area(patch.scores[None].float(), patch.grid[None])
        self._scores = scores[0].contiguous()
        self._mesh = Mesh.of(grid[0], patch.region.size)

    @property
    def classes(self) -> int:
        """K."""
        return len(self._scores)

    def labels(self, window: Window) -> NDArray[np.uint8]:
        """(rows, columns) uint8 class ids; the window lies inside the region."""
        out = np.empty(window.size, np.uint8)
        place, nodes, readable, kinds, spans, folded = self._place(window), *self._surveyed
        if self._traced:
            self._by_rows(labelled_covering, out, place, nodes, readable, kinds, spans, folded)
        else:
            self._by_rows(labelled_anyhow, out, place, nodes, self._bins, readable, kinds, spans, NOTHING)
        return out

    def scores(self, window: Window) -> NDArray[np.float32]:
        """(K, rows, columns) float32; the window lies inside the region."""
        out = np.empty((len(self._scores), *window.size), np.float32)
        place, values, missed = self._place(window), self._scores.flatten(1).numpy(), np.zeros(1, np.uint8)
        if self._mesh.reaches_borders():
            self._interpolate(values, out, place, NO_BINS, missed)
            if not missed[0]:
                return out
        self._interpolate(values, out, place, self._bins, missed)
        return out

    def _interpolate(self, values: Any, out: Any, place: Any, bins: Any, missed: Any) -> None:
        rows, columns = out.shape[1:]
        arguments = (values, out, place, self._heights, bins, missed)
        run_bands(interpolated, rows, *arguments, smallest=max(1, SMALLEST_BAND // columns))

    def _place(self, window: Window) -> tuple[int, int, int, int]:
        local = window.shifted(-self.region.top, -self.region.left)
        return local.top, local.bottom, local.left, local.right

    @staticmethod
    def _by_rows(kernel: Any, out: NDArray[np.uint8], place: Any, *arguments: Any) -> None:
        smallest = max(1, SMALLEST_BAND // out.shape[1])
        run_bands(kernel, len(out), out, place, *arguments, smallest=smallest)

    @cached_property
    def _surveyed(self) -> tuple[Any, ...]:
        """What the kernels of :mod:`saccade.warp.labels_kernels` take."""
        mesh, source = self._mesh, self._scores
        best, faults = np.empty(mesh.x.shape, np.int32), np.zeros(1, np.uint8)
        readable = (*_split(flat(source)), len(source))
        smallest = max(1, SMALLEST_BAND // (len(source) * mesh.x.shape[1]))
        run_bands(winners, len(best), readable, best, faults, smallest=smallest)
        if faults[0]:
            raise InvalidInput("scores", "numbers", "NaN among them", "find where the network makes them")
        rows, columns = len(mesh.x) - 1, mesh.x.shape[1] - 1
        kinds, spans = np.empty((rows, columns, 2), np.uint8), np.empty((rows, -(-columns // BLOCK), 3))
        folded, nodes = np.zeros(mesh.size[0], np.uint8), (mesh.x, mesh.y, best)
        run_bands(survey, rows, nodes, readable, kinds, spans, folded, smallest=smallest)
        return nodes, readable, kinds, spans, folded

    @cached_property
    def _traced(self) -> bool:
        return self._mesh.covers() and bool((self._surveyed[2] == MANY).mean() < MOST_TRACED)

    @cached_property
    def _bins(self) -> Any:
        return self._mesh.bins()

    @cached_property
    def _heights(self) -> Any:
        return self._mesh.with_heights()


def _split(found: tuple[Any, Any]) -> tuple[Any, Any, Any]:
    """Values, no table (scores are float32), strides."""
    return found[0], np.empty(0, np.float32), found[1]
