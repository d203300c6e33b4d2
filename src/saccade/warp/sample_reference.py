"""The readable twin of :func:`saccade.sample`, in plain PyTorch: any device, differentiable by autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.grids.checks import footprints
from saccade.warp.arrays import result_dtype, working_dtype
from saccade.warp.footprint_kernels import LONGEST, ROUNDING
from saccade.warp.pyramid import Pyramid


def sample_reference(
    image: Tensor | Pyramid, grid: Tensor, *, mode: str = "bilinear", antialias: bool = False
) -> Tensor:
    """The same as :func:`saccade.sample`, image (B, C, H, W), said as plainly as possible."""
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
