"""What a grid does to an image: footprints, cover, folds, and the nearest grid that does not fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saccade.errors import InvalidInput
from saccade.geometry import require_count, require_size
from saccade.grids.uniform import uniform_grid
from saccade.grids.validate import require_grid, require_ignore_index, require_labels

_ROUNDING = 2.0**-22


def footprints(grid: Tensor, size: Sequence[int]) -> Tensor:
    """Width and height, in image pixels, of the cell around each sample.

    The cell spans half the way to the neighbours on either side; its axis-aligned box is
    ``width = |dx/dj| + |dx/di|`` and ``height = |dy/dj| + |dy/di|`` with i, j the row and column of the
    sample. Differences are central inside and one-sided at the borders. The only row (or column) of a grid
    has no neighbour to span to: it stands for the whole height (or width) of the image.

    Args:
        grid: (B, h, w, 2), (x, y) in [-1, 1].
        size: (H, W) of the image.

    Returns:
        (B, h, w, 2) float32 (float64 for a float64 grid), last axis (width, height), >= 0.

    Raises:
        InvalidInput: when ``grid`` or ``size`` is not as above.

    Examples:
        >>> import saccade
        >>> from saccade import grids
        >>> grids.footprints(saccade.uniform_grid((3, 5)), (31, 41))[0, 1, 2].tolist()  # width, height
        [10.0, 15.0]
    """
    height, width = require_size(size)
    require_grid(grid)
    dtype = torch.promote_types(grid.dtype, torch.float32)
    half_sides = torch.tensor([(width - 1) / 2, (height - 1) / 2], device=grid.device, dtype=dtype)
    pixels = grid.to(dtype) * half_sides
    along_rows = _spans(pixels, 1, pixels.new_tensor([0.0, float(height)]))
    along_columns = _spans(pixels, 2, pixels.new_tensor([float(width), 0.0]))
    return along_rows + along_columns


def _spans(pixels: Tensor, axis: int, alone: Tensor) -> Tensor:
    """(B, h, w, 2) absolute difference per step of ``axis``; ``alone`` where the axis has one node."""
    if pixels.shape[axis] == 1:
        return alone.expand_as(pixels)
    return torch.gradient(pixels, dim=axis)[0].abs()


@dataclass(frozen=True)
class Cover:
    """Whether the mesh of each grid spans its whole image; true as a bool when all do.

    Attributes:
        gaps: (B, 4) float, how far the outermost row or column stays from the top, bottom, left and right
            border at worst, as a share of the image's height or width.
        tolerance: gaps up to this count as none.

    Examples:
        >>> import saccade
        >>> from saccade import grids
        >>> cover = grids.covers(0.9 * saccade.uniform_grid((3, 3)))
        >>> bool(cover), [round(gap, 3) for gap in cover.gaps[0].tolist()]
        (False, [0.05, 0.05, 0.05, 0.05])
    """

    gaps: Tensor
    tolerance: float

    def __bool__(self) -> bool:
        return bool((self.gaps <= self.tolerance).all())

    def __str__(self) -> str:
        if self:
            return "covers the whole image"
        lines = []
        for image, gaps in enumerate(self.gaps.tolist()):
            sides = zip(("top", "bottom", "left", "right"), gaps, strict=True)
            open_sides = [f"{gap:.2%} at the {side}" for side, gap in sides if gap > self.tolerance]
            if open_sides:
                lines.append(f"image {image}: leaves up to " + ", ".join(open_sides))
        return "\n".join(lines)


def covers(grid: Tensor, *, tolerance: float = 1e-5) -> Cover:
    """Whether the outermost nodes lie on the border of the image, so that no pixel is outside the mesh.

    With the first and last row on y = -1 and 1, the first and last column on x = -1 and 1, the border of the
    mesh is the border of the image, and a mesh whose border goes once round the image leaves no hole in it.

    Args:
        grid: (B, h, w, 2), (x, y) in [-1, 1].
        tolerance: largest gap that counts as none, as a share of the image's height or width.

    Raises:
        InvalidInput: when ``grid`` is not as above.

    Examples:
        >>> import saccade
        >>> from saccade import grids
        >>> bool(grids.covers(saccade.uniform_grid((3, 3))))
        True
    """
    nodes = require_grid(grid).detach().float()
    x, y = nodes[..., 0], nodes[..., 1]
    sides = (y[:, 0] + 1, 1 - y[:, -1], x[:, :, 0] + 1, 1 - x[:, :, -1])
    return Cover(torch.stack([side.abs().amax(dim=1) / 2 for side in sides], dim=1), tolerance)


@dataclass(frozen=True)
class Folds:
    """Where grids fold; true as a bool when any does.

    Attributes:
        cells: (B, h - 1, w - 1) bool, cells between four nodes of which a triangle is turned over.

    Examples:
        >>> import saccade
        >>> from saccade import grids
        >>> folded = grids.folds(saccade.uniform_grid((2, 4))[:, :, [0, 2, 1, 3]])
        >>> bool(folded), folded.cells.int().tolist()
        (True, [[[0, 1, 0]]])
    """

    cells: Tensor

    @property
    def counts(self) -> Tensor:
        """(B,) int64, how many cells of each grid fold."""
        return self.cells.sum(dim=(1, 2))

    @property
    def where(self) -> Tensor:
        """(N, 3) int64, (image, row, column) of each cell that folds: the node at its top left."""
        return self.cells.nonzero()

    def __bool__(self) -> bool:
        return bool(self.cells.any())

    def __str__(self) -> str:
        if not self:
            return "no cell folds"
        total = self.cells[0].numel()
        lines = []
        for image, count in enumerate(self.counts.tolist()):
            if count:
                first = "row {}, column {}".format(*self.cells[image].nonzero()[0].tolist())
                lines.append(f"image {image}: {count} of {total} cells fold, the first at {first}")
        return "\n".join(lines)


def folds(grid: Tensor) -> Folds:
    """Which cells of the mesh fold over: those of which a triangle has negative area, beyond rounding.

    Each cell is cut from its top right to its bottom left node, as ``saccade.unwarp`` cuts it.

    Args:
        grid: (B, h, w, 2), (x, y) in [-1, 1].

    Raises:
        InvalidInput: when ``grid`` is not as above.

    Examples:
        >>> import saccade
        >>> from saccade import grids
        >>> bool(grids.folds(saccade.uniform_grid((3, 3))))
        False
    """
    nodes = require_grid(grid).detach().double()
    across, down = nodes.diff(dim=2), nodes.diff(dim=1)
    upper, lower = _turned(across[:, :-1], down[:, :, :-1]), _turned(across[:, 1:], down[:, :, 1:])
    return Folds(upper | lower)


def _turned(u: Tensor, v: Tensor) -> Tensor:
    """Whether the triangle of sides u (along a row) and v (along a column) is turned over."""
    area = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    reach = u.abs().sum(dim=-1) + v.abs().sum(dim=-1)
    return area < -_ROUNDING * (reach + _ROUNDING)


def samples_per_region(
    grid: Tensor, regions: Tensor, count: int | None = None, *, ignore_index: int | None = 255
) -> Tensor:
    """How many samples fall into each region of an image: those whose nearest pixel belongs to it.

    Args:
        grid: (B, h, w, 2), (x, y) in [-1, 1].
        regions: (B, H, W) integer, the region (a class, an object) of each pixel, numbered from 0.
        count: K, how many regions there are; default the highest number in ``regions`` and one more.
        ignore_index: region whose samples are not counted; None where there is none.

    Returns:
        (B, K) int64.

    Raises:
        InvalidInput: when an argument is not as above, or a region is negative or not below ``count``.

    Examples:
        >>> import saccade, torch
        >>> from saccade import grids
        >>> labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
        >>> labels[:, :, 6:] = 1
        >>> grids.samples_per_region(saccade.uniform_grid((4, 4)), labels).tolist()
        [[12, 4]]
    """
    require_labels(regions, "regions")
    require_grid(grid, len(regions))
    if grid.device != regions.device:
        raise InvalidInput("regions", f"on the device of the grid, {grid.device}", regions.device)
    ignore = require_ignore_index(ignore_index)
    sampled = regions.flatten(1).gather(1, _nearest_pixel(grid, regions.shape[1:])).long()
    counted = torch.ones_like(sampled, dtype=torch.bool) if ignore is None else sampled != ignore
    if count is None:
        known = regions.long() if ignore is None else regions.long().masked_fill(regions == ignore, 0)
        count = max(int(known.max()), 0) + 1
    sampled = sampled.masked_fill(~counted, 0)
    low, high = (bound.item() for bound in sampled.aminmax())
    if low < 0 or high >= require_count(count, "count"):
        raise InvalidInput(
            "regions", f"from 0 to {count - 1}", f"regions from {low} to {high}", "raise count"
        )
    empty = torch.zeros(len(regions), count, dtype=torch.int64, device=regions.device)
    return empty.scatter_add_(1, sampled, counted.long())


def _nearest_pixel(grid: Tensor, size: Sequence[int]) -> Tensor:
    """(B, h * w) int64 number of the pixel nearest to each sample, row by row of the image."""
    height, width = size
    last = torch.tensor([width - 1, height - 1], device=grid.device, dtype=torch.float64)
    pixels = ((grid.detach().double().clamp(-1, 1) + 1) / 2 * last).round().long().flatten(1, 2)
    return pixels[..., 1] * width + pixels[..., 0]


def unfold_grid(grid: Tensor) -> Tensor:
    """The blend of each grid with the uniform grid that has no fold and is nearest to the grid.

    In steps of the uniform grid a triangle of the mesh is a 2 x 2 matrix A, and that of the blend with share
    t / (1 + t) of the uniform grid is (A + t I) / (1 + t), whose determinant turns positive at the larger
    root of t^2 + t tr A + det A. The largest such t of an image is taken; one bad cell draws all nodes back.

    Args:
        grid: (B, h, w, 2), (x, y) in [-1, 1].

    Returns:
        (B, h, w, 2) float32 (float64 for a float64 grid); a grid without folds comes back as it is. A grid
        that covers its image still does. Differentiable, with the shares held.

    Raises:
        InvalidInput: when ``grid`` is not as above.

    Examples:
        >>> import saccade
        >>> from saccade import grids
        >>> folded = saccade.uniform_grid((2, 4))[:, :, [0, 2, 1, 3]]
        >>> bool(grids.folds(folded)), bool(grids.folds(grids.unfold_grid(folded)))
        (True, False)
    """
    require_grid(grid)
    grid = grid.to(torch.promote_types(grid.dtype, torch.float32))
    even = uniform_grid(grid.shape[1:3], device=grid.device).to(grid.dtype)
    share = _share(grid.detach().double()).to(grid.dtype)
    return torch.lerp(grid, even, share[:, None, None, None])


def _share(grid: Tensor) -> Tensor:
    """(B,) the share of the uniform grid that each grid needs."""
    rows, columns = grid.shape[1:3]
    if min(rows, columns) == 1:
        return grid.new_zeros(len(grid))
    across, down = grid.diff(dim=2) * (columns - 1) / 2, grid.diff(dim=1) * (rows - 1) / 2
    upper, lower = _root(across[:, :-1], down[:, :, :-1]), _root(across[:, 1:], down[:, :, 1:])
    needed = torch.maximum(upper, lower).amax(dim=(1, 2))
    return needed / (1 + needed)


def _root(u: Tensor, v: Tensor) -> Tensor:
    """The smallest t >= 0 from which on the matrix of columns u, v plus t I has no negative determinant."""
    trace = u[..., 0] + v[..., 1]
    root = trace**2 - 4 * (u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0])
    return torch.where(root > 0, (root.clamp_min(0).sqrt() - trace) / 2, 0).clamp_min(0)
