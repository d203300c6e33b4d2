"""The boundary grid: samples on the boundaries of the target classes (ICCV 2019, Eq. 2-3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from saccade.errors import InvalidInput
from saccade.grids.edges import ignored_as, pair_weights
from saccade.grids.energy import boundary_energy_minimiser
from saccade.grids.label_kernels import ANY, nearest_in_rows, nearest_of_rows
from saccade.grids.uniform import even_positions
from saccade.grids.sizes import require_size
from saccade.grids.validate import require_finite_number, require_ignore_index, require_labels


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
    """
    require_labels(labels)
    rows, columns = require_size(size)
    ignore, wanted = require_ignore_index(ignore_index), _require_classes(classes)
    find = _find_compiled if labels.device.type == "cpu" else _find_reference
    return find(labels, (rows, columns), wanted, ignore)


def boundary_targets_reference(
    labels: Tensor,
    size: Sequence[int],
    *,
    classes: Sequence[int] | None = None,
    ignore_index: int | None = 255,
) -> Tensor:
    """:func:`boundary_targets` in plain PyTorch, on any device: its twin (another pixel may win a tie)."""
    return _find_reference(
        require_labels(labels), require_size(size), _require_classes(classes), ignore_index
    )


def _require_classes(classes: Sequence[int] | None) -> np.ndarray:
    if classes is None:
        return ANY
    wanted = np.asarray(classes)
    if wanted.ndim != 1 or not len(wanted) or wanted.dtype.kind not in "iu":
        raise InvalidInput("classes", "a list of at least one class number, or None for all", repr(classes))
    return wanted.astype(np.int64)


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
    wanted = (nodes + 1) / 2 * sides
    best = torch.stack([points[torch.cdist(row, points).argmin(dim=1)] for row in wanted])
    return _normalised(best, *boundary.shape)
