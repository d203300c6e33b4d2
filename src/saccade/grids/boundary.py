"""The boundary grid: samples on boundaries of the target classes, by an exact energy (ICCV 2019, Eq. 2-3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from saccade.errors import InvalidInput
from saccade.geometry import require_size
from saccade.grids._kernels import ANY, nearest_in_rows, nearest_of_rows, sweep
from saccade.grids.attraction import constant
from saccade.grids.edges import ignored_as, pair_weights
from saccade.grids.uniform import even_positions
from saccade.grids.validate import (
    require_finite_number,
    require_ignore_index,
    require_labels,
    require_tensor,
    value_range,
)


def boundary_energy_minimiser(targets: Tensor, smoothness: float = 1.0) -> Tensor:
    """The grid phi that minimises the boundary energy under the covering constraints.

    ``sum |phi_ij - b_ij|^2 + lambda sum over pairs of 4-neighbours |phi_ij - phi_i'j'|^2``, each pair once,
    subject to y = -1 and 1 on the first and last row, x = -1 and 1 on the first and last column (ICCV 2019,
    Eq. 2-3). Each coordinate is its own linear system (I + lambda L) phi = b, fixed on two sides and free on
    the others, and what the uniform grid leaves of it has its fixed sides at 0. A cosine transform along the
    free axis leaves one tridiagonal system along the fixed axis for each mode, so the minimum is exact.

    Args:
        targets: (B, h, w, 2) floating, b as (x, y) in [-1, 1].
        smoothness: lambda >= 0.

    Returns:
        (B, h, w, 2) in the type of ``targets`` (float32 for half precision); differentiable. With one row
        (or column) its y (or x) lies at 0: it cannot be on both sides.

    Raises:
        InvalidInput: for targets of the wrong rank, axis or type, or not finite, and for a negative
            smoothness.

    Examples:
        >>> import saccade, torch
        >>> from saccade import grids
        >>> even = saccade.uniform_grid((4, 6)).double()
        >>> torch.allclose(grids.boundary_energy_minimiser(even, smoothness=0.0), even)
        True
    """
    targets, smoothness = _require(targets, smoothness)
    if targets.device.type != "cpu" or (torch.is_grad_enabled() and targets.requires_grad):
        return _minimise(targets, smoothness)
    grid = torch.empty(targets.shape, dtype=targets.dtype)
    for target, minimiser in zip(targets.detach().numpy(), grid.numpy(), strict=True):
        # x is fixed along columns and y along rows: transposed, both are the same system.
        minimiser[..., 0] = _coordinate_compiled(target[..., 0].T, smoothness).T
        minimiser[..., 1] = _coordinate_compiled(target[..., 1], smoothness)
    return grid


def boundary_energy_minimiser_reference(targets: Tensor, smoothness: float = 1.0) -> Tensor:
    """:func:`boundary_energy_minimiser` in PyTorch, on any device: its twin, and what gradients take.

    Sines diagonalise the fixed axis and cosines the free one, both as matrices.

    Examples:
        >>> import torch
        >>> from saccade import grids
        >>> targets = torch.rand(1, 4, 6, 2, dtype=torch.float64) * 2 - 1
        >>> slow = grids.boundary_energy_minimiser_reference(targets)
        >>> torch.allclose(slow, grids.boundary_energy_minimiser(targets).to(slow.dtype))
        True
    """
    return _minimise(*_require(targets, smoothness))


def _require(targets: Tensor, smoothness: float) -> tuple[Tensor, float]:
    require_tensor(targets, "targets", "of shape (B, h, w, 2)")
    if targets.ndim != 4 or targets.shape[-1] != 2 or 0 in targets.shape or not targets.is_floating_point():
        got = f"{tuple(targets.shape)} of {targets.dtype}"
        raise InvalidInput("targets", "of shape (B, h, w, 2) with no side of zero, floating point", got)
    low, high = value_range(targets)
    if not -math.inf < low <= high < math.inf:
        raise InvalidInput("targets", "finite", f"values from {low:.6g} to {high:.6g}")
    smoothness = require_finite_number(smoothness, "smoothness")
    return targets.to(torch.promote_types(targets.dtype, torch.float32)), smoothness


def _coordinate_compiled(target: np.ndarray, smoothness: float) -> np.ndarray:
    """(n, m) one coordinate, at -1 and 1 on the first and last of n, free on both sides of m."""
    from scipy import fft  # a third of a second, which other samplers spare

    even = even_positions(len(target), dtype=torch.float64).numpy()[:, None].astype(target.dtype)
    solution = np.empty_like(target, order="C")
    solution[:] = even
    if len(target) > 2:
        # Cosines along the free axis make the system tridiagonal along the other, one for each frequency.
        change = fft.dct(target[1:-1] - even[1:-1], axis=1, norm="ortho", overwrite_x=True)
        sweep(change, _eigenvalues(np.arange(target.shape[1]) / target.shape[1]), smoothness)
        solution[1:-1] += fft.idct(change, axis=1, norm="ortho", overwrite_x=True)
    return solution


def _minimise(targets: Tensor, smoothness: float) -> Tensor:
    with torch.autocast(targets.device.type, enabled=False):
        x, y = _coordinate(targets[..., 0].mT, smoothness).mT, _coordinate(targets[..., 1], smoothness)
        return torch.stack([x, y], dim=-1)


def _coordinate(target: Tensor, smoothness: float) -> Tensor:
    """(B, n, m) one coordinate, at -1 and 1 on the first and last of n, free on both sides of m."""
    fixed, free = target.shape[1:]
    even = even_positions(fixed, device=target.device, dtype=target.dtype)[:, None]
    if fixed < 3:
        return even.expand_as(target)
    sines, low = _modes("fixed", fixed - 2, target.device, target.dtype)
    cosines, high = _modes("free", free, target.device, target.dtype)
    # The uniform grid meets the constraints and bends nowhere, so what is left of the targets has its ends at
    # 0.
    spectrum = sines.T @ (target - even)[:, 1:-1] @ cosines
    change = sines @ (spectrum / (1 + smoothness * (low[:, None] + high))) @ cosines.T
    return even + torch.nn.functional.pad(change, (0, 0, 1, 1))


@lru_cache(maxsize=32)
def _modes(kind: str, count: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Orthonormal modes (node, mode) of ``count`` nodes in a row, and their eigenvalues of L.

    Args:
        kind: "fixed", between two nodes held at 0 (sines, DST-I), or "free" (cosines, DCT-II).
        count: nodes, the held ones left out.
        device, dtype: of the tensors.
    """
    node = np.arange(count)
    if kind == "fixed":
        frequency = (node + 1) / (count + 1)
        matrix = np.sin(math.pi * np.outer(node + 1, frequency)) * math.sqrt(2 / (count + 1))
    else:
        frequency = node / count
        matrix = np.cos(math.pi * np.outer(node + 0.5, frequency)) * math.sqrt(2 / count)
        # The constant cosine has twice the norm of the others.
        matrix[:, 0] = math.sqrt(1 / count)
    return constant(matrix, device, dtype), constant(_eigenvalues(frequency), device, dtype)


def _eigenvalues(frequency: np.ndarray) -> np.ndarray:
    return 2 - 2 * np.cos(math.pi * frequency)


def boundary_grid(
    labels: Tensor,
    size: Sequence[int],
    *,
    smoothness: float = 1.0,
    classes: Sequence[int] | None = None,
    ignore_index: int | None = 255,
) -> Tensor:
    """Samples near the boundaries of target classes, evenly spread along and between them.

    Each sample is drawn to the boundary pixel nearest to its place in the uniform grid, and held by its
    neighbours: the exact minimum of the energy of "Efficient segmentation: learning downsampling near
    semantic boundaries" (ICCV 2019), Eq. 2, under its covering constraints, Eq. 3; see
    :func:`boundary_energy_minimiser`. It may fold where boundaries leave it no better place.

    Args:
        labels: (B, H, W) integer classes.
        size: (h, w) of the grid.
        smoothness: lambda >= 0 of Eq. 2; the paper recommends 1.
        classes: target classes; a boundary is where one meets any other class. Default: all classes.
        ignore_index: class whose pixels make no boundary; None where there is none.

    Returns:
        (B, h, w, 2) float32, last axis (x, y) in [-1, 1], on the labels' device; outermost nodes on the
        image border. The uniform grid where an image has no boundary.

    Raises:
        InvalidInput: for labels of the wrong rank or type; a size that is no pair of whole numbers of at
            least 1; a negative smoothness; classes that are no whole numbers, or none.

    Examples:
        >>> import saccade, torch
        >>> labels = torch.zeros(1, 32, 32, dtype=torch.uint8)
        >>> labels[:, :, 16:] = 1
        >>> grid = saccade.boundary_grid(labels, (3, 5))
        >>> [round(x, 2) for x in grid[0, 1, :, 0].tolist()]
        [-1.0, -0.35, -0.01, 0.34, 1.0]
    """
    smoothness = require_finite_number(smoothness, "smoothness")
    targets = boundary_targets(labels, size, classes=classes, ignore_index=ignore_index)
    with torch.autocast(labels.device.type, enabled=False):
        return boundary_energy_minimiser(targets, smoothness).clamp(-1, 1).float()


def boundary_targets(
    labels: Tensor,
    size: Sequence[int],
    *,
    classes: Sequence[int] | None = None,
    ignore_index: int | None = 255,
) -> Tensor:
    """b(u) of Eq. 2: the boundary pixel nearest to each node of the uniform grid, distances in pixels.

    A boundary pixel has a 4-neighbour of another class, either of the two a target class and neither
    ignored. Of several at the same distance one is taken, always the same.

    Args:
        labels, size, classes, ignore_index: as for :func:`boundary_grid`.

    Returns:
        (B, h, w, 2) float64, (x, y) in [-1, 1]; the node itself where an image has no boundary.

    Raises:
        InvalidInput: as :func:`boundary_grid`.

    Examples:
        >>> import torch
        >>> from saccade import grids
        >>> labels = torch.zeros(1, 5, 5, dtype=torch.uint8)
        >>> labels[:, :, 3:] = 1
        >>> grids.boundary_targets(labels, (1, 3))[0, 0, :, 0].tolist()
        [0.0, 0.0, 0.5]
    """
    require_labels(labels)
    rows, columns = require_size(size)
    ignore, chosen = require_ignore_index(ignore_index), _require_classes(classes)
    find = _find_compiled if labels.device.type == "cpu" else find_on_device
    return find(labels, (rows, columns), chosen, ignore)


def boundary_targets_reference(
    labels: Tensor,
    size: Sequence[int],
    *,
    classes: Sequence[int] | None = None,
    ignore_index: int | None = 255,
) -> Tensor:
    """:func:`boundary_targets` in plain PyTorch, on any device: its twin (another pixel may win a tie).

    Examples:
        >>> import torch
        >>> from saccade import grids
        >>> labels = torch.zeros(1, 5, 5, dtype=torch.uint8)
        >>> labels[:, :, 3:] = 1
        >>> grids.boundary_targets_reference(labels, (1, 3))[0, 0, :, 0].tolist()
        [0.0, 0.0, 0.5]
    """
    return _find_reference(
        require_labels(labels), require_size(size), _require_classes(classes), ignore_index
    )


def _require_classes(classes: Sequence[int] | None) -> np.ndarray:
    if classes is None:
        return ANY
    chosen = np.asarray(classes)
    if chosen.ndim != 1 or not len(chosen) or chosen.dtype.kind not in "iu":
        raise InvalidInput("classes", "a list of at least one class number, or None for all", repr(classes))
    return chosen.astype(np.int64)


def _positions(count: int, pixels: int) -> np.ndarray:
    """(count,) float64 positions of the uniform grid's nodes, in pixels."""
    return np.linspace(0, pixels - 1, count) if count > 1 else np.array([(pixels - 1) / 2])


def _find_compiled(labels: Tensor, size: tuple[int, int], classes: np.ndarray, ignore: int | None) -> Tensor:
    maps = labels.contiguous().numpy()
    height, width = maps.shape[1:]
    rows, columns = _positions(size[0], height), _positions(size[1], width)
    targets = np.empty((len(maps), *size, 2))
    nearest = np.empty((height, size[1]), np.int32)
    for one, out in zip(maps, targets, strict=True):
        out[..., 0], out[..., 1] = np.meshgrid(columns, rows)
        nearest_in_rows(one, *ignored_as(maps.dtype, ignore), classes, columns, nearest)
        nearest_of_rows(nearest, columns, rows, out)
    return _normalised(torch.from_numpy(targets), height, width)


def _normalised(pixels: Tensor, height: int, width: int) -> Tensor:
    """(..., h, w, 2) pixels (x, y) as [-1, 1]; an axis of one pixel has no boundary, its nodes stay."""
    last = pixels.new_tensor([width - 1, height - 1])
    return torch.where(
        last > 0, pixels * 2 / last.clamp_min(1) - 1, _nodes(pixels.shape[-3:-1], pixels.device)
    )


def _nodes(size: Sequence[int], device: torch.device) -> Tensor:
    """(h, w, 2) float64, the uniform grid."""
    y, x = (even_positions(side, device=device, dtype=torch.float64) for side in size)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


PIECE = 1 << 20
"""Distances held at a time."""


def find_on_device(labels: Tensor, size: tuple[int, int], classes: np.ndarray, ignore: int | None) -> Tensor:
    """As the kernels, on any device: the nearest of each row of pixels, and the nearest of these rows."""
    height, width = labels.shape[1:]
    rows, columns = (
        torch.from_numpy(_positions(count, side)).to(labels.device)
        for count, side in zip(size, (height, width), strict=True)
    )
    found = []
    for one in labels.split(1):
        boundary = _boundary(one, classes, ignore)[0]
        near = torch.cat([_in_rows(part, columns) for part in boundary.split(max(1, PIECE // width))])
        squared = torch.where(near < 0, math.inf, (near - columns).square())
        y = torch.arange(height, device=labels.device, dtype=torch.float64)[:, None]
        # Of equally near rows the first, as everywhere.
        best = [
            (squared + (part[:, None, None] - y).square()).argmin(1)
            for part in rows.split(max(1, PIECE // squared.numel()))
        ]
        row = torch.cat(best)
        target = torch.stack([near.gather(0, row), row], -1).double()
        even = torch.stack([columns.expand(size), rows[:, None].expand(size)], -1)
        found.append(torch.where((near < 0).all(), even, target))
    return _normalised(torch.stack(found), height, width)


def _in_rows(boundary: Tensor, columns: Tensor) -> Tensor:
    """(H, w) of each row the column of the boundary pixel nearest to each position, or the left; or -1."""
    width = boundary.shape[1]
    place = torch.arange(width, device=boundary.device)
    left = torch.where(boundary, place, -1).cummax(1).values[:, columns.floor().long()]
    right = torch.where(boundary, place, width).flip(1).cummin(1).values.flip(1)[:, columns.ceil().long()]
    nearer = (left < 0) | ((right < width) & (right - columns < columns - left))
    return torch.where(nearer, torch.where(right < width, right, -1), left)


def _find_reference(labels: Tensor, size: tuple[int, int], classes: np.ndarray, ignore: int | None) -> Tensor:
    nodes = _nodes(size, labels.device)
    return torch.stack([_nearest(boundary, nodes) for boundary in _boundary(labels, classes, ignore)])


def _boundary(labels: Tensor, classes: np.ndarray, ignore: int | None) -> Tensor:
    """(B, H, W) bool: where a pixel has a 4-neighbour that it makes a boundary with."""
    target = torch.ones_like(labels, dtype=torch.bool)
    if len(classes):
        target = torch.isin(labels.long(), torch.from_numpy(classes).to(labels.device))
    beside = pair_weights(labels[:, :, :-1], labels[:, :, 1:], ignore) > 0
    below = pair_weights(labels[:, :-1], labels[:, 1:], ignore) > 0
    beside &= target[:, :, :-1] | target[:, :, 1:]
    below &= target[:, :-1] | target[:, 1:]
    boundary = torch.zeros_like(target)
    boundary[:, :, :-1] |= beside
    boundary[:, :, 1:] |= beside
    boundary[:, :-1] |= below
    boundary[:, 1:] |= below
    return boundary


def _nearest(boundary: Tensor, nodes: Tensor) -> Tensor:
    """(h, w, 2) the boundary pixel nearest to each node by trying all, a row of nodes at a time."""
    sides = nodes.new_tensor([boundary.shape[1] - 1, boundary.shape[0] - 1])
    points = boundary.nonzero().flip(-1).double()
    if not len(points):
        return nodes
    positions = (nodes + 1) / 2 * sides
    # A row at a time: all nodes against all boundary pixels would not fit into memory.
    best = torch.stack([points[torch.cdist(row, points).argmin(dim=1)] for row in positions])
    return _normalised(best, *boundary.shape)
