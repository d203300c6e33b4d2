"""The readable twins of :func:`saccade.sample` and of unwarping, in plain PyTorch: what tests compare with.

Every triangle looks at the pixels of its bounding box, and a pixel keeps the lowest number of the triangles
that hold it. The nearest node is found by trying all of them. Work is done in pieces of bounded size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from saccade.grids.diagnostics import footprints
from saccade.warp._mesh_kernels import HUGE, THINNEST
from saccade.warp._sample_kernels import LONGEST, ROUNDING
from saccade.warp.mesh import require_window
from saccade.warp.pyramid import Pyramid
from saccade.warp.tensors import label_dtype, pixels, result_dtype, with_area, working_dtype


def sample_reference(
    image: Tensor | Pyramid, grid: Tensor, *, mode: str = "bilinear", antialias: bool = False
) -> Tensor:
    """The same as :func:`saccade.sample`, image (B, C, H, W), said as plainly as possible.

    Examples:
        >>> import saccade, torch
        >>> from saccade import warp
        >>> image, grid = torch.rand(1, 3, 8, 8), saccade.uniform_grid((4, 4))
        >>> torch.allclose(warp.sample_reference(image, grid), saccade.sample(image, grid), atol=1e-6)
        True
    """
    if mode == "nearest":
        pixels = image.level(0) if isinstance(image, Pyramid) else image
        x, y = _places(grid, pixels.shape[-2:]).round().long().unbind(-1)
        return _take(pixels, y, x)
    if antialias:
        pyramid = image if isinstance(image, Pyramid) else Pyramid.of(image)
        out = _averaged(pyramid, grid)
    else:
        pixels = image.level(0) if isinstance(image, Pyramid) else image
        out = _bilinear(pixels.to(working_dtype(pixels.dtype)), grid)
    return out.to(result_dtype(image.dtype))


def _bilinear(image: Tensor, grid: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    x, y = _places(grid, (height, width)).unbind(-1)
    left = x.detach().floor().clamp(max=max(width - 2, 0)).long()
    top = y.detach().floor().clamp(max=max(height - 2, 0)).long()
    fx, fy = (x - left)[:, None], (y - top)[:, None]
    right, below = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    upper = _take(image, top, left) * (1 - fx) + _take(image, top, right) * fx
    lower = _take(image, below, left) * (1 - fx) + _take(image, below, right) * fx
    return (upper * (1 - fy) + lower * fy).to(image.dtype)


def _averaged(pyramid: Pyramid, grid: Tensor) -> Tensor:
    height, width = pyramid.size
    boxes = footprints(grid.double(), pyramid.size).clamp(min=1)
    level = _levels(boxes.detach(), pyramid.levels)
    centres = _places(grid, pyramid.size) + 0.5
    lengths = torch.maximum(boxes, (2.0**level)[..., None])
    sides = torch.tensor([width, height], device=grid.device, dtype=torch.float64)
    low = (centres - lengths / 2).clamp(min=0)
    high = torch.minimum(centres + lengths / 2, sides)
    out = pyramid.base.new_zeros((), dtype=working_dtype(pyramid.dtype))
    for number in level.unique().long().tolist():
        mean = _box_means(pyramid.level(number), low / 2**number, high / 2**number)
        out = torch.where((level == number)[:, None], mean.to(out.dtype), out)
    return out


def _levels(boxes: Tensor, levels: int) -> Tensor:
    """(B, h, w) the level for each box: shorter side 2 to 4 pixels, longer side at most ``LONGEST``."""
    by_short = torch.log2(boxes.amin(-1) * ROUNDING).floor() - 1
    by_long = torch.log2(boxes.amax(-1) / LONGEST).ceil()
    return torch.maximum(by_short, by_long).clamp(0, levels - 1)


def _box_means(image: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """(B, C, h, w) means of ``image`` (B, C, H, W) over boxes, corners (x, y) (B, h, w, 2)."""
    rows, columns = image.shape[-2:]
    across = _overlaps(low[..., 0], high[..., 0], columns)
    down = _overlaps(low[..., 1], high[..., 1], rows)
    images = image.double().expand(len(low), -1, -1, -1)
    total = torch.einsum("bhwi,bcij,bhwj->bchw", down, images, across)
    return total / (high - low).prod(-1)[:, None]


def _overlaps(low: Tensor, high: Tensor, side: int) -> Tensor:
    """(B, h, w, side): how much of each pixel along an axis lies in [low, high]."""
    edges = torch.arange(side, device=low.device, dtype=low.dtype)
    return (torch.minimum(high[..., None], edges + 1) - torch.maximum(low[..., None], edges)).clamp(min=0)


def _places(grid: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """(B, h, w, 2) pixel coordinates, float64, kept inside the image."""
    sides = torch.tensor([size[1] - 1, size[0] - 1], device=grid.device, dtype=torch.float64)
    return torch.minimum(((grid.double() + 1) * 0.5 * sides).clamp(min=0), sides)


def _take(image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(B, C, h, w): the pixels at ``rows``, ``columns`` (B, h, w) of (B or 1, C, H, W)."""
    source = torch.arange(len(rows), device=image.device) % len(image)
    return image.permute(0, 2, 3, 1)[source[:, None, None], rows, columns].permute(0, 3, 1, 2)


PIECE = 1 << 22
"""Pairs (pixel, triangle), (pixel, node) or values held at a time."""

EDGE = 1e-11
"""A weight this far below zero still counts as inside: rounding must not open gaps between triangles."""


def unwarp_reference(
    values: Tensor,
    grid: Tensor,
    size: Sequence[int],
    *,
    mode: str = "linear",
    window: Sequence[int] | None = None,
) -> Tensor:
    """The same as :func:`saccade.unwarp`; differentiable with respect to ``values`` by autograd.

    Examples:
        >>> import saccade, torch
        >>> from saccade import warp
        >>> values, grid = torch.rand(1, 2, 4, 4), saccade.uniform_grid((4, 4))
        >>> fast = saccade.unwarp(values, grid, (9, 9))
        >>> torch.allclose(warp.unwarp_reference(values, grid, (9, 9)), fast, atol=1e-6)
        True
    """
    place = require_window(window, size)
    shape = (place[1] - place[0], place[3] - place[2])
    drawn, grid = with_area(values, grid)
    if mode == "nearest":
        images = [
            value.flatten(1)[:, _nearest(_pixels_of(place, grid.device), pixels(nodes, size))]
            for value, nodes in zip(drawn, grid, strict=True)
        ]
        return torch.stack(images).unflatten(2, shape)
    working = drawn.to(working_dtype(values.dtype))
    images = []
    for value, nodes in zip(working, grid, strict=True):
        corners, weights = _sources(pixels(nodes, size), place)
        images.append((value.flatten(1)[:, corners] * weights).sum(-1))
    return torch.stack(images).unflatten(2, shape).to(result_dtype(values.dtype))


def unwarp_labels_reference(
    scores: Tensor,
    grid: Tensor,
    size: Sequence[int],
    *,
    mode: str = "linear",
    window: Sequence[int] | None = None,
) -> Tensor:
    """The same as :func:`saccade.unwarp_labels`: interpolate some rows, take the best class, go on.

    Examples:
        >>> import saccade, torch
        >>> from saccade import warp
        >>> scores, grid = torch.eye(4).reshape(1, 4, 2, 2), saccade.uniform_grid((2, 2))
        >>> warp.unwarp_labels_reference(scores, grid, (2, 2)).tolist()
        [[[0, 1], [2, 3]]]
    """
    top, bottom, left, right = require_window(window, size)
    dtype, _ = label_dtype(scores.shape[1])
    bounded = scores.detach().to(working_dtype(scores.dtype)).clamp(-HUGE, HUGE)
    deep = max(1, PIECE // (scores.shape[0] * scores.shape[1] * (right - left)))
    strips = [
        unwarp_reference(
            bounded, grid, size, mode=mode, window=(row, min(row + deep, bottom), left, right)
        ).argmax(1)
        for row in range(top, bottom, deep)
    ]
    return torch.cat([strip.to(dtype) for strip in strips], 1)


def _sources(nodes: Tensor, place: tuple[int, int, int, int]) -> tuple[Tensor, Tensor]:
    """For each pixel of the window: the numbers of three nodes, and their weights, both (pixels, 3).

    A pixel that no triangle holds has its nearest node thrice, with weights 1, 0, 0.
    """
    triangles = _triangles(nodes.shape[0], nodes.shape[1], nodes.device)
    points = nodes.flatten(0, 1)
    number = _lowest_holding(points[triangles], place)
    places = _pixels_of(place, nodes.device)
    held = number < len(triangles)
    corners = triangles[number.clamp(max=len(triangles) - 1)]
    weights = _weights(places, points[corners])[0]
    if not held.all():
        corners[~held] = _nearest(places[~held], nodes)[:, None]
        weights[~held] = weights.new_tensor([1.0, 0.0, 0.0])
    return corners, weights.to(nodes.dtype)


def _triangles(rows: int, columns: int, device: torch.device) -> Tensor:
    """(2 cells, 3) node numbers, in the order that settles folds."""
    node = torch.arange(rows * columns, device=device).view(rows, columns)
    a, b, c, d = node[:-1, :-1], node[:-1, 1:], node[1:, :-1], node[1:, 1:]
    upper, lower = torch.stack([a, b, c], -1), torch.stack([d, c, b], -1)
    return torch.stack([upper, lower], 2).view(-1, 3)


def _weights(places: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (n, 3) of places (n, 2) in triangles (n, 3, 2); and which triangles have an area."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    to = places - corners[:, 0]
    twice = _cross(first, second)
    solid = twice.abs() > THINNEST * (first.square() + second.square()).sum(-1)
    safe = torch.where(solid, twice, 1.0)
    one, two = _cross(to, second) / safe, _cross(first, to) / safe
    return torch.stack([1 - one - two, one, two], -1), solid


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _lowest_holding(corners: Tensor, place: tuple[int, int, int, int]) -> Tensor:
    """(pixels,) the lowest number of the triangles (T, 3, 2) that hold each pixel; T where there is none."""
    top, bottom, left, right = place
    best = torch.full(((bottom - top) * (right - left),), len(corners), device=corners.device)
    first = corners.new_tensor([left, top])
    last = corners.new_tensor([right - 1, bottom - 1])
    low = (corners.amin(1) - EDGE).ceil().maximum(first).long()
    high = (corners.amax(1) + EDGE).floor().minimum(last).long()
    sides = (high - low + 1).clamp(min=0)
    for some in _pieces(sides.prod(-1)):
        triangle = torch.repeat_interleave(some, sides[some].prod(-1))
        rank = _ranks(sides[some].prod(-1))
        x = low[triangle, 0] + rank % sides[triangle, 0]
        y = low[triangle, 1] + rank // sides[triangle, 0]
        weights, solid = _weights(torch.stack([x, y], -1).to(corners.dtype), corners[triangle])
        inside = solid & (weights >= -EDGE).all(-1)
        at = ((y - top) * (right - left) + x - left)[inside]
        best.scatter_reduce_(0, at, triangle[inside], "amin")
    return best


def _pieces(counts: Tensor) -> Iterator[Tensor]:
    """Indices in runs whose ``counts`` add up to about ``PIECE``."""
    piece = (counts.cumsum(0) - counts) // PIECE
    yield from torch.arange(len(counts), device=counts.device).split(
        piece.unique_consecutive(return_counts=True)[1].tolist()
    )


def _ranks(counts: Tensor) -> Tensor:
    """0, 1, ..., counts[0] - 1, 0, 1, ..., counts[1] - 1, ..."""
    starts = counts.cumsum(0) - counts
    return torch.arange(int(counts.sum()), device=counts.device) - starts.repeat_interleave(counts)


def _nearest(places: Tensor, nodes: Tensor) -> Tensor:
    """(n,) number of the node nearest to each place (n, 2)."""
    points = nodes.flatten(0, 1)
    nearest = [
        (part[:, None] - points).square().sum(-1).argmin(1)
        for part in places.split(max(1, PIECE // len(points)))
    ]
    return torch.cat(nearest)


def _pixels_of(place: tuple[int, int, int, int], device: torch.device) -> Tensor:
    """(pixels, 2) coordinates (x, y) of the pixels of a window, row by row."""
    top, bottom, left, right = place
    rows = torch.arange(top, bottom, dtype=torch.float64, device=device)
    columns = torch.arange(left, right, dtype=torch.float64, device=device)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y], -1).view(-1, 2)
