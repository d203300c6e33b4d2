"""The attraction grid: every pixel of a density map pulls the samples near it (ICLR 2022, Eq. 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from saccade.errors import InvalidInput
from saccade.geometry import require_count, require_size
from saccade.grids.uniform import even_positions
from saccade.grids.validate import require_density


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


FLOOR = 1e-6
"""Share of its mean that is added to a density, so that a node with nothing in reach stays where it is."""

_SMALLEST = 1e-30
_WIDEST = 16


def attraction_grid(
    density: Tensor,
    size: Sequence[int] | None = None,
    *,
    radius: int | Sequence[int] | None = None,
    cover: bool = True,
) -> Tensor:
    """Samples drawn towards the mass of a density map.

    Node u goes to ``sum_p d(p) k(p - u) p / sum_p d(p) k(p - u)``, where p runs over the density map and
    its padding and ``k(v) = exp(-4 ln 2 |v / r|^2)`` is cut off beyond r on each axis: "Learning to
    downsample for segmentation of ultra-high resolution images" (ICLR 2022), Eq. 2. It is computed exactly,
    by two small matrix products for each axis, in float32, also under autocast, and is differentiable with
    respect to the density.

    Args:
        density: (B, 1, h_a, w_a) floating, >= 0, any scale; its outermost pixels lie on the image border. A
            map of zeros counts as constant.
        size: (h, w) of the grid; default the density's.
        radius: r in pixels of the density map, one number or (rows, columns); default a quarter of the short
            axis, rounded up.
        cover: True mirrors the density at the image border, so that the pull of both sides cancels there:
            the outermost nodes lie on the border, the corners in the corners, nothing outside the mesh.
            Nodes further than r from the border are the same as with False, which is the published program:
            it repeats the outermost pixels and clamps, and leaves part of the image uncovered.

    Returns:
        (B, h, w, 2) float32, last axis (x, y) in [-1, 1]. The uniform grid for a constant density.

    Raises:
        InvalidInput: for a density of the wrong rank, channels or type, empty, negative or not finite; for a
            size or a radius that is not of whole numbers of at least 1; for a radius over 16 times the
            longest side of the density.

    Examples:
        >>> import saccade, torch
        >>> density = torch.ones(1, 1, 8, 16)
        >>> density[..., 4, 12] = 40
        >>> grid = saccade.attraction_grid(density)
        >>> peak = torch.tensor([2 * 12 / 15 - 1, 2 * 4 / 7 - 1])
        >>> near = lambda grid: int(((grid - peak).norm(dim=-1) < 0.2).sum())
        >>> near(saccade.uniform_grid((8, 16))), near(grid)
        (3, 11)
    """
    rows, columns = require_density(density).shape[2:]
    size = (rows, columns) if size is None else require_size(size)
    radii = require_radius(radius, (rows, columns))
    with torch.autocast(density.device.type, enabled=False):
        return attract(density.float(), size, radii, cover)


def require_radius(radius: int | Sequence[int] | None, shape: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of the Gaussian in pixels of a density map of ``shape``.

    Raises:
        InvalidInput: when it is neither None, a whole number of at least 1 nor a pair, or far too wide.
    """
    if radius is None:
        radius = -(-min(shape) // 4)
    if isinstance(radius, Sequence):
        radii = require_size(radius, "radius")
    else:
        radii = (require_count(radius, "radius"),) * 2
    if max(radii) > _WIDEST * max(shape):
        limit = _WIDEST * max(shape)
        raise InvalidInput("radius", f"at most {limit} for a density of {shape}", radius)
    return radii


def attract(density: Tensor, size: tuple[int, int], radius: tuple[int, int], cover: bool) -> Tensor:
    """:func:`attraction_grid` without the checks, in the type of ``density`` (float64 for gradient checks).

    Offsets from the node, not positions, are averaged: nothing cancels where the density is faint. Some rows
    of nodes are finished at a time: memory of a few strips is used again, not asked for and given back.
    """
    mass = _with_floor(density[:, 0])
    (rows, columns), key = mass.shape[1:], (cover, density.device, density.dtype)
    across = along_columns(pull_strips(columns, size[1], radius[1], *key), mass)
    even_y, even_x = (even_positions(side, device=density.device, dtype=density.dtype) for side in size)
    strips, top = [], 0
    for near, weights, offsets in pull_strips(rows, size[0], radius[0], *key):
        even = even_y[top : top + len(weights), None]
        total, pull_x = (weights @ across[:, near]).split(size[1], dim=-1)
        pull_y = offsets @ across[:, near, : size[1]]
        strips.append(
            torch.stack([torch.addcdiv(even_x, pull_x, total), torch.addcdiv(even, pull_y, total)], -1)
        )
        top += len(weights)
    return torch.cat(strips, dim=1).clamp_(-1, 1)


def _with_floor(density: Tensor) -> Tensor:
    """The density scaled to a maximum of 1, and FLOOR of its mean added, so that no sum is 0."""
    largest = density.detach().amax(dim=(1, 2), keepdim=True)
    density = density / largest.clamp_min(torch.finfo(density.dtype).tiny)
    return density + FLOOR * density.mean(dim=(1, 2), keepdim=True) + _SMALLEST


def attraction_grid_reference(density: Tensor, *, radius: tuple[int, int], cover: bool = True) -> Tensor:
    """Eq. 2 of ICLR 2022 by three convolutions with a two-dimensional Gaussian, at the size of the density.

    Args:
        density: (B, 1, h, w) float32 or float64, > 0 somewhere within reach of every node.
        radius: (rows, columns) of the Gaussian in pixels of the density.
        cover: mirror the density at its borders, instead of repeating its outermost pixels.

    Returns:
        (B, h, w, 2), in the type of ``density``.

    Examples:
        >>> import torch
        >>> from saccade import grids
        >>> density = torch.rand(1, 1, 8, 16) + 0.1
        >>> slow = grids.attraction_grid_reference(density, radius=(2, 2))
        >>> torch.allclose(slow, grids.attraction_grid(density, radius=2), atol=1e-4)
        True
    """
    columns, rows = (gaussian(np.arange(-r, r + 1), r) for r in reversed(radius))
    kernel = density.new_tensor(rows[:, None] * columns)[None, None]
    mass = _pad(_pad(density, 2, radius[0], cover), 3, radius[1], cover)
    y, x = (_extended(side, r, density) for side, r in zip(density.shape[2:], radius, strict=True))
    total = F.conv2d(mass, kernel)
    grid_x, grid_y = F.conv2d(mass * x, kernel) / total, F.conv2d(mass * y[:, None], kernel) / total
    return torch.cat([grid_x, grid_y], dim=1).permute(0, 2, 3, 1).clamp(-1, 1)


def _pad(density: Tensor, axis: int, radius: int, cover: bool) -> Tensor:
    """``density`` with ``radius`` pixels more on both sides of ``axis``."""
    side = density.shape[axis]
    home = (reflect if cover else replicate)(np.arange(-radius, side + radius), side)
    return density.index_select(axis, torch.from_numpy(home).to(density.device))


def _extended(side: int, radius: int, like: Tensor) -> Tensor:
    """Coordinates of the pixels of one axis, going on past -1 and 1 with the padding."""
    step = 2 / (side - 1) if side > 1 else 0.0
    padding = torch.arange(1, radius + 1, device=like.device, dtype=like.dtype) * step
    even = even_positions(side, device=like.device, dtype=like.dtype)
    return torch.cat([even[0] - padding.flip(0), even, even[-1] + padding])
