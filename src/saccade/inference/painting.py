"""A patch as it is put back onto pixels: its mesh and winners are found once, however many windows follow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from saccade.inference.mosaic_kernels import NOTHING
from saccade.inference.patches import Patch
from saccade.rasters import Window
from saccade.warp.mesh import Mesh, with_area
from saccade.warp.painting import Painter

BYTES_A_NODE = 30
"""What is kept of each node beside its scores: place, winner, kinds of its triangles."""


class PaintedPatch:
    """Labels and scores of a patch, window by window, in pixels of the image.

    What comes out is that of :func:`saccade.unwarp_labels` and :func:`saccade.unwarp`, to the bit.
    """

    def __init__(self, patch: Patch) -> None:
        self.patch, self.region, self.classes = patch, patch.region, len(patch.scores)
        scores, grid = with_area(patch.scores[None].float(), patch.grid[None])
        self._painter = Painter(scores[0].contiguous(), Mesh.of(grid[0], patch.region.size))

    def labels(self, window: Window) -> NDArray[np.uint8]:
        """(rows, columns) uint8 class ids; the window lies inside the region.

        Raises:
            InvalidInput: when a score is NaN.
        """
        out = np.empty(window.size, np.uint8)
        self._painter.label(out, self._place(window), NOTHING)
        return out

    def scores(self, window: Window) -> NDArray[np.float32]:
        """(K, rows, columns) float32; the window lies inside the region."""
        out = np.empty((self.classes, *window.size), np.float32)
        self._painter.interpolate(out, self._place(window))
        return out

    def _place(self, window: Window) -> tuple[int, int, int, int]:
        local = window.shifted(-self.region.top, -self.region.left)
        return local.top, local.bottom, local.left, local.right
