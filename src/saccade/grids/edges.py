"""The density of label edges: where a map of classes changes, blurred (the "optimal edge" of ICLR 2022)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from saccade.errors import InvalidInput
from saccade.geometry import require_size
from saccade.grids._kernels import ALIKE, gather_edges
from saccade.grids.attraction import constant, reflect
from saccade.grids.validate import require_finite_number, require_ignore_index, require_labels

_SHARP = 1e-3

Weights = Sequence[float] | Tensor | None


def edge_density(
    labels: Tensor,
    size: Sequence[int],
    *,
    radius: float = 1.0,
    ignore_index: int | None = 255,
    weights: Weights = None,
) -> Tensor:
    """How dense the edges between classes are, on a small raster, blurred by a Gaussian.

    A pair of 4-neighbours of different class is an edge, whatever the two class numbers. Each density pixel
    holds the edges among the label pixels nearest to it, over the pairs of neighbours there are, so that
    its smaller cells at the border weigh no less; it is blurred with mirrored borders and scaled to sum 1.

    Args:
        labels: (B, H, W) integer classes.
        size: (h, w) of the density; its outermost pixels lie on the image border, as those of a grid do.
        radius: standard deviation of the Gaussian in pixels of the density map; 0 for no blur.
        ignore_index: class whose pixels make no edges; None where there is none.
        weights: (classes,) >= 0: an edge between classes a and b counts ``max(weights[a], weights[b])``, so
            that every edge of a rare class counts by that class. Default: each edge counts 1.

    Returns:
        (B, 1, h, w) float32 >= 0, sums to 1 over each image; constant where an image has no edge.

    Raises:
        InvalidInput: for labels of the wrong rank or type; a size that is no pair of whole numbers of at
            least 1; a radius that is negative or over the longest side of the density; negative weights, or
            a class in ``labels`` without a weight.

    Examples:
        >>> import saccade, torch
        >>> labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
        >>> labels[:, :, 4:] = 1
        >>> density = saccade.edge_density(labels, (4, 4))
        >>> density.shape, round(float(density.sum()), 4)
        (torch.Size([1, 1, 4, 4]), 1.0)
        >>> density[0, 0, 0].argsort(descending=True)[:2].sort().values.tolist()  # the columns of the edge
        [1, 2]
    """
    return _edge_density(labels, size, radius, ignore_index, weights, compiled=True)


def edge_density_reference(
    labels: Tensor,
    size: Sequence[int],
    *,
    radius: float = 1.0,
    ignore_index: int | None = 255,
    weights: Weights = None,
) -> Tensor:
    """:func:`edge_density` in plain PyTorch, on any device: its twin, and what CUDA runs.

    Examples:
        >>> import torch
        >>> from saccade import grids
        >>> labels = (torch.arange(64).reshape(1, 8, 8) % 8 > 3).byte()
        >>> slow = grids.edge_density_reference(labels, (4, 4))
        >>> torch.allclose(slow, grids.edge_density(labels, (4, 4)), atol=1e-6)
        True
    """
    return _edge_density(labels, size, radius, ignore_index, weights, compiled=False)


def _edge_density(
    labels: Tensor,
    size: Sequence[int],
    radius: float,
    ignore_index: int | None,
    weights: Weights,
    compiled: bool,
) -> Tensor:
    height, width = require_labels(labels).shape[1:]
    rows, columns = require_size(size)
    radius = require_finite_number(radius, "radius", maximum=max(rows, columns))
    ignore, table = require_ignore_index(ignore_index), _require_weights(weights)
    row_cells, column_cells = min(rows, height), min(columns, width)
    gather = _gather_compiled if compiled and labels.device.type == "cpu" else _gather_reference
    with torch.autocast(labels.device.type, enabled=False):
        sums = gather(labels, (row_cells, column_cells), ignore, table)
        share = sums / _pairs(height, width, row_cells, column_cells, labels.device)
        down = _spread(row_cells, rows, radius, labels.device)
        across = _spread(column_cells, columns, radius, labels.device)
        density = down @ share @ across.T
        total = density.sum(dim=(1, 2), keepdim=True)
        density = torch.where(total > 0, density / total.clamp_min(1e-30), 1 / (rows * columns))
    return density[:, None]


def _require_weights(weights: Weights) -> Tensor | None:
    if weights is None:
        return None
    table = torch.as_tensor(weights, dtype=torch.float32).detach().cpu()
    if table.ndim != 1 or not bool(((table >= 0) & table.isfinite()).all()):
        raise InvalidInput("weights", "one finite number >= 0 for each class", weights)
    return table


def _no_weight(classes: int) -> InvalidInput:
    fix = "give a weight for every class, and name the ignored class in ignore_index"
    return InvalidInput("labels", f"classes 0 to {classes - 1}, which have weights", "another class", fix)


def _gather_compiled(
    labels: Tensor, cells: tuple[int, int], ignore: int | None, weights: Tensor | None
) -> Tensor:
    """(B, h, w) the edges that each pixel is half of, summed over the pixels of each cell."""
    maps = labels.contiguous().numpy()
    sums = np.zeros((len(maps), *cells))
    table = ALIKE if weights is None else weights.numpy()
    owners = *_cells_of(maps.shape[1], cells[0]), *_cells_of(maps.shape[2], cells[1])
    for one, out in zip(maps, sums, strict=True):
        if not gather_edges(one, *ignored_as(maps.dtype, ignore), table, *owners, out):
            raise _no_weight(len(table))
    return torch.from_numpy(sums).float()


def ignored_as(dtype: np.dtype, ignore: int | None) -> tuple[np.generic, bool]:
    """The ignored class in the type of the labels, and whether a label can be it."""
    limits = np.iinfo(dtype)
    ignoring = ignore is not None and limits.min <= ignore <= limits.max
    return dtype.type(ignore if ignoring else 0), ignoring


def _gather_reference(
    labels: Tensor, cells: tuple[int, int], ignore: int | None, weights: Tensor | None
) -> Tensor:
    beside = pair_weights(labels[:, :, :-1], labels[:, :, 1:], ignore, weights)
    below = pair_weights(labels[:, :-1], labels[:, 1:], ignore, weights)
    edges = torch.zeros(labels.shape, device=labels.device)
    edges[:, :, :-1] += beside / 2
    edges[:, :, 1:] += beside / 2
    edges[:, :-1] += below / 2
    edges[:, 1:] += below / 2
    down, across = (
        _pool(side, count, labels.device) for side, count in zip(labels.shape[1:], cells, strict=True)
    )
    return down @ edges @ across.T


def pair_weights(a: Tensor, b: Tensor, ignore: int | None, weights: Tensor | None = None) -> Tensor:
    """What each pair of neighbouring labels counts as an edge, float32; 0 where it is none."""
    a, b = a.long(), b.long()
    pairs = a != b
    if ignore is not None:
        pairs &= (a != ignore) & (b != ignore)
    if weights is None:
        return pairs.float()
    if bool((pairs & ((a.minimum(b) < 0) | (a.maximum(b) >= len(weights)))).any()):
        raise _no_weight(len(weights))
    table = weights.to(a.device)
    a, b = (side.where(pairs, 0) for side in (a, b))
    return table[a].maximum(table[b]) * pairs


def _cells_of(pixels: int, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """(pixels, 2) the cells whose centres are nearest to each pixel, and the share of each.

    The outermost cells are centred on the outermost pixels. A pixel half way belongs half to both, so that a
    mirrored label map gives the mirrored density.
    """
    steps, gaps = 2 * np.arange(pixels) * (cells - 1), 2 * max(pixels - 1, 1)
    cell, rest = np.divmod(steps + gaps // 2, gaps)
    tied = (rest == 0) & (pixels > 1)
    owners = np.stack([cell, cell - tied], axis=1)
    return owners, np.stack([1 - tied / 2, tied / 2], axis=1).astype(np.float32)


@lru_cache(maxsize=64)
def _pool(pixels: int, cells: int, device: torch.device) -> Tensor:
    """(cells, pixels) float32: the share of each pixel in each cell."""
    owners, shares = _cells_of(pixels, cells)
    matrix = np.zeros((cells, pixels), np.float32)
    for side in range(2):
        np.add.at(matrix, (owners[:, side], np.arange(pixels)), shares[:, side])
    return constant(matrix, device)


@lru_cache(maxsize=64)
def _pairs(height: int, width: int, rows: int, columns: int, device: torch.device) -> Tensor:
    """(rows, columns) the pairs of neighbours in each cell, half of each for either pixel."""
    down, across = _pool(height, rows, device).cpu().numpy(), _pool(width, columns, device).cpu().numpy()
    below = np.outer(down @ _neighbours(height), across.sum(axis=1))
    beside = np.outer(down.sum(axis=1), across @ _neighbours(width))
    return constant(np.maximum(below + beside, 0.5), device)


def _neighbours(pixels: int) -> np.ndarray:
    """(pixels,) half the number of neighbours of each pixel along its axis."""
    index = np.arange(pixels)
    return ((index > 0) + 1.0 * (index < pixels - 1)) / 2


@lru_cache(maxsize=64)
def _spread(cells: int, pixels: int, radius: float, device: torch.device) -> Tensor:
    """(pixels, cells) float32: cells interpolated linearly, then a Gaussian with mirrored borders."""
    position = np.linspace(0, cells - 1, pixels) if pixels > 1 else np.array([(cells - 1) / 2])
    matrix = np.maximum(0, 1 - np.abs(position[:, None] - np.arange(cells)))
    reach = math.ceil(6 * radius)
    taps = np.arange(-reach, reach + 1)
    weight = np.exp(-0.5 * (taps / max(radius, _SHARP)) ** 2)
    blur = [np.bincount(reflect(pixel + taps, pixels), weight, minlength=pixels) for pixel in range(pixels)]
    return constant(np.stack(blur) / weight.sum() @ matrix, device)
