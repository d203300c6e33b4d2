"""One axis of the attraction: Gaussian and padding folded into two small matrices.

Eq. 2 of "Learning to downsample" (ICLR 2022) sums over a padded density map. Its Gaussian is a product of
one over rows and one over columns, and a padded pixel repeats one of the map's own; so for each axis the
whole sum is a matrix from pixels of the density map to nodes of the grid, and no two-dimensional kernel and
no padded map is ever formed.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


def gaussian(distance: np.ndarray, radius: float) -> np.ndarray:
    """exp(-4 ln 2 (d / r)^2), full width at half maximum r, cut off beyond r.

    The cut is a ramp from r to r + 1: whole distances, all there are where grid and density have the same
    size, see the published kernel; a node between pixels does not see one jump in.
    """
    ramp = np.clip(radius + 1 - np.abs(distance), 0, 1)
    return np.exp(-4 * math.log(2) * (distance / radius) ** 2) * ramp


def replicate(index: np.ndarray, count: int) -> np.ndarray:
    """The pixel in [0, count) that a padded index repeats: the nearest."""
    return index.clip(0, count - 1)


def reflect(index: np.ndarray, count: int) -> np.ndarray:
    """The pixel in [0, count) that a padded index repeats: its mirror image in the outermost pixel centre."""
    if count == 1:
        return np.zeros_like(index)
    period = 2 * (count - 1)
    index = index % period
    return np.minimum(index, period - index)


STRIP = 100
"""Nodes whose pull is computed together: fewer leave out more zeros, more keep the processor busier."""

Strips = tuple[tuple[slice, Tensor, Tensor], ...]
"""For some nodes at a time: the pixels that pull any of them, their weights and their weighted offsets."""


@lru_cache(maxsize=16)
def pull_strips(
    pixels: int, nodes: int, radius: int, cover: bool, device: torch.device, dtype: torch.dtype
) -> Strips:
    """Weights and weighted offsets of the pixels of one axis of the density, for each node of that axis.

    Args:
        pixels: rows (or columns) of the density map.
        nodes: rows (or columns) of the grid, evenly spaced over the map.
        radius: of the Gaussian, in pixels of the density map.
        cover: mirror the density at its borders; otherwise repeat its outermost pixels.
        device, dtype: of the matrices.

    Returns:
        Strips of the nodes, since the Gaussian is cut off and much of a large matrix is zero; in each

        weights: (nodes, pixels), sum over padded p that repeat the pixel of k(p - node).
        offsets: (nodes, pixels), the same sum of k(p - node) (p - node), in grid units, less what a constant
            density would give (not 0 for a node between pixels).
    """
    positions = np.linspace(0, pixels - 1, nodes) if nodes > 1 else np.array([(pixels - 1) / 2])
    padded = np.floor(positions).astype(int)[:, None] + np.arange(-radius, radius + 2)
    offset = padded - positions[:, None]
    weight = gaussian(offset, radius)
    home = (reflect if cover else replicate)(padded, pixels) + pixels * np.arange(nodes)[:, None]
    weights, offsets = (
        np.bincount(home.ravel(), part.ravel(), minlength=nodes * pixels).reshape(nodes, pixels)
        for part in (weight, weight * offset)
    )
    bias = offsets.sum(axis=1, keepdims=True) / weights.sum(axis=1, keepdims=True)
    offsets = (offsets - bias * weights) * (2 / (pixels - 1) if pixels > 1 else 0.0)
    parts = max(1, nodes // STRIP)
    pairs = zip(np.array_split(weights, parts), np.array_split(offsets, parts), strict=True)
    return tuple(_strip(weight, offset, device, dtype) for weight, offset in pairs)


def _strip(
    weight: np.ndarray, offset: np.ndarray, device: torch.device, dtype: torch.dtype
) -> tuple[slice, Tensor, Tensor]:
    used = np.flatnonzero(weight.any(axis=0))
    near = slice(int(used[0]), int(used[-1]) + 1)
    return near, constant(weight[:, near], device, dtype), constant(offset[:, near], device, dtype)


def along_columns(strips: Strips, values: Tensor) -> Tensor:
    """(B, n, 2 nodes) for values (B, n, pixels): summed with the weights, then with the offsets."""
    weighed = [values[..., near] @ weights.T for near, weights, _ in strips]
    return torch.cat([*weighed, *(values[..., near] @ offsets.T for near, _, offsets in strips)], dim=2)


def constant(matrix: np.ndarray, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """``matrix`` as a tensor that can be cached: autograd may use it even when inference mode made it."""
    with torch.inference_mode(False):
        return torch.from_numpy(np.ascontiguousarray(matrix)).to(device=device, dtype=dtype)
