"""What a segmenter reads from: an image in memory, or a raster on disk; both are sampled at grids."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from saccade.rasters import Raster, sample_raster
from saccade.warp import Pyramid, sample


class Source(Protocol):
    """An RGB image that can be sampled anywhere.

    Attributes:
        size: (H, W).
    """

    @property
    def size(self) -> tuple[int, int]: ...

    def sample(self, grids: Tensor, *, antialias: bool) -> Tensor:
        """(V, 3, h, w) float32 in 0..255, on the CPU, at grids (V, h, w, 2) over the whole image."""
        ...


class MemorySource:
    """An image in memory with its pyramid: what :meth:`saccade.Segmenter.predict` reads, to the bit."""

    def __init__(self, pyramid: Pyramid) -> None:
        self.pyramid = pyramid

    @property
    def size(self) -> tuple[int, int]:
        return self.pyramid.size

    def sample(self, grids: Tensor, *, antialias: bool) -> Tensor:
        return torch.cat([sample(self.pyramid, grid, antialias=antialias) for grid in grids.split(1)])


class RasterSource:
    """A raster on disk: only the tiles, and the level, that the samples need."""

    def __init__(self, raster: Raster) -> None:
        self.raster = raster

    @property
    def size(self) -> tuple[int, int]:
        return self.raster.size

    def sample(self, grids: Tensor, *, antialias: bool) -> Tensor:
        return sample_raster(self.raster, grids, antialias=antialias)
