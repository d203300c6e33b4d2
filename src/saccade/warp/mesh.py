"""The mesh of a grid in pixel coordinates, with what the kernels need to search it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saccade.errors import InvalidInput
from saccade.grids.sizes import require_size
from saccade.warp.nearest_kernels import bin_nodes

MOST_CLASSES = 65_535
NODES_PER_BIN = 4
NO_BINS = (np.zeros(2, np.int64), np.zeros(0, np.int32), 1.0, 1)


@dataclass(frozen=True)
class Mesh:
    """Nodes of one grid: x, y (h, w) float64, in pixels of an image of ``size`` (H, W)."""

    x: np.ndarray
    y: np.ndarray
    size: tuple[int, int]

    @classmethod
    def of(cls, grid: Tensor, size: tuple[int, int]) -> Mesh:
        """The mesh of one grid (h, w, 2)."""
        x, y = pixels(grid, size).unbind(-1)
        return cls(x.contiguous().numpy(), y.contiguous().numpy(), size)

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


def pixels(grid: Tensor, size: Sequence[int]) -> Tensor:
    """Grid coordinates (..., 2) as float64 pixel coordinates inside an image of ``size`` (H, W)."""
    sides = torch.tensor([size[1] - 1, size[0] - 1], dtype=torch.float64, device=grid.device)
    return torch.minimum(((grid.detach().double() + 1) * 0.5 * sides).clamp(min=0), sides)


def with_area(values: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Values (B, C, h, w) and their grid, an only row or column doubled and drawn out to both image borders.

    A grid of one row has no triangles; drawn out, its values are linear along the row and constant across.
    """
    if grid.shape[1] == 1:
        ends = grid.repeat(1, 2, 1, 1)
        ends[:, 0, :, 1], ends[:, 1, :, 1] = -1.0, 1.0
        values, grid = values.expand(-1, -1, 2, -1), ends
    if grid.shape[2] == 1:
        ends = grid.repeat(1, 1, 2, 1)
        ends[:, :, 0, 0], ends[:, :, 1, 0] = -1.0, 1.0
        values, grid = values.expand(-1, -1, -1, 2), ends
    return values, grid


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


def label_dtype(classes: int) -> tuple[torch.dtype, int]:
    """The type of a label map of so many classes, and a value in it that is no class.

    Raises:
        InvalidInput: for more than 65,535 classes.
    """
    if classes > MOST_CLASSES:
        raise InvalidInput("scores", f"of at most {MOST_CLASSES} classes", classes)
    if classes <= 255:
        return torch.uint8, 255
    return (torch.int16 if classes <= 32_767 else torch.int32), -1
