"""Patches: parts of an image that are scored on their own, and the protocol by which samplers give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from saccade.rasters import Window


@dataclass(frozen=True)
class Patch:
    """The scores of one part of an image.

    Attributes:
        region: the pixels that it covers.
        scores: (K, h, w) float32, on the CPU.
        grid: (h, w, 2) float32 where the scores belong, (x, y) in [-1, 1] over the region.
        rows, columns: (region.height,) and (region.width,) float32 > 0; a pixel's scores weigh the product
            of its row's and its column's where patches overlap.
    """

    region: Window
    scores: Tensor
    grid: Tensor
    rows: NDArray[np.float32]
    columns: NDArray[np.float32]


class Patches(Protocol):
    """All patches of one image; scored only when their rows are wanted, and then once."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image."""
        ...

    @property
    def classes(self) -> int:
        """K."""
        ...

    @property
    def regions(self) -> Sequence[Window]:
        """Of every patch, tops never falling. They may overlap, and leave pixels out."""
        ...

    @property
    def shares(self) -> bool:
        """Whether scores are shares of the classes (softmax has been taken) and not logits."""
        ...

    def look(self, numbers: Sequence[int]) -> list[Patch]:
        """Scores the patches of these numbers, ascending."""
        ...


def one_patch(scores: Tensor, grid: Tensor, region: Window) -> Patch:
    """A patch that weighs the same everywhere."""
    return Patch(region, scores, grid, np.ones(region.height, np.float32), np.ones(region.width, np.float32))
