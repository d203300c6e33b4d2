"""The attraction grid: every pixel of a density map pulls the samples near it (ICLR 2022, Eq. 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.errors import InvalidInput
from saccade.grids.axes import along_columns, pull_strips
from saccade.grids.uniform import even_positions
from saccade.grids.sizes import require_count, require_size
from saccade.grids.validate import require_density

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
