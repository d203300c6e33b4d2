"""Grids and fields that the tests of the warp room share."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def uniform(h: int, w: int, batch: int = 1) -> Tensor:
    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    return torch.stack([x, y], -1).expand(batch, -1, -1, -1).clone()


def smooth(h: int, w: int, strength: float = 0.6) -> Tensor:
    """A grid without folds whose border lies on the image border, denser in some places than in others."""
    x, y = uniform(h, w).unbind(-1)
    gx = x + strength * torch.sin(math.pi * x) * torch.cos(1.5 * y) / math.pi
    gy = y + strength * torch.sin(math.pi * y) * torch.cos(2 * x + 0.5) / math.pi
    return torch.stack([gx, gy], -1).clamp(-1, 1)


def shaken(h: int, w: int, amount: float, seed: int = 0, scale: float = 1.0, batch: int = 1) -> Tensor:
    """A uniform grid, shrunk by ``scale``, with every node moved by up to ``amount`` cells."""
    moves = torch.rand(batch, h, w, 2, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    cell = torch.tensor([2 / max(w - 1, 1), 2 / max(h - 1, 1)])
    return (uniform(h, w) * scale + moves * amount * cell).clamp(-1, 1)


def in_pixels(grid: Tensor, size: tuple[int, int]) -> Tensor:
    return (grid.double() + 1) / 2 * torch.tensor([size[1] - 1, size[0] - 1], dtype=torch.float64)


def pixel_places(size: tuple[int, int]) -> Tensor:
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    return torch.stack([x, y], -1).double()


GRIDS = {
    "uniform": lambda: uniform(9, 13, 2),
    "smooth": lambda: smooth(9, 13),
    "shaken": lambda: shaken(9, 13, 0.3, batch=2),
    "folded": lambda: shaken(9, 13, 2.5, batch=2),
    "small": lambda: shaken(9, 13, 0.3, scale=0.7),
    "dense": lambda: shaken(60, 70, 0.4),
    "one row": lambda: shaken(1, 8, 0.2),
    "one column": lambda: shaken(8, 1, 0.2),
    "one node": lambda: uniform(1, 1) + 0.3,
    "two by two": lambda: shaken(2, 2, 0.1),
    "collapsed": lambda: torch.zeros(1, 5, 6, 2),
    "mirrored": lambda: smooth(9, 13).flip(2),
}


def scores_of(kind: str, classes: int, grid: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """(B, K, h, w) scores of a grid: of noise, with ties, or of waves."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(grid), classes, *grid.shape[1:3])
    noise = torch.randn(shape, generator=generator)
    if kind == "noise":
        return noise
    if kind == "ties":
        return noise.round()
    y, x = torch.meshgrid(torch.linspace(0, 3, shape[2]), torch.linspace(0, 4, shape[3]), indexing="ij")
    phases = torch.rand(2, classes, 1, 1, generator=generator) * 6
    return (torch.sin(2 * x + phases[0]) + torch.cos(2 * y + phases[1]) + 0.02 * noise).expand(shape)
