"""Reading pixels where there are no compiled kernels: whole-tensor code for GPUs, equal to them to the bit.

Samples whose footprints touch about as many pixels go together, so that a few long footprints do not make all
of them long. Sums run over a footprint's rows, then its columns, one after the other, as in the kernels.
Gradients are those of autograd.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from saccade.warp._sample_kernels import LONGEST, ROUNDING, TAPS
from saccade.warp.device_unwarping import PIECE
from saccade.warp.pyramid import level_table
from saccade.warp.tensors import working_dtype

FEW = 6
"""Pixels that the shorter side of a footprint touches at most: it spans less than 4 pixels of its level."""


def nearest_on_device(image: Tensor, grid: Tensor) -> Tensor:
    """(B, C, h, w) of any type: the pixels of (B, C, H, W) nearest to the places; of halves the even one."""
    x, y = (places.round().long() for places in _places(grid, (image.shape[2], image.shape[3])))
    return _pixels(image.permute(0, 2, 3, 1), y, x).permute(0, 3, 1, 2)


def bilinear_on_device(base: Tensor, grid: Tensor) -> Tensor:
    """(B, C, h, w) between four pixels each of (B, H, W, C), in the type that interpolation works in."""
    height, width = int(base.shape[1]), int(base.shape[2])
    x, y = _places(grid, (height, width))
    # On the last pixel the cell to its left, so that it has a slope.
    left = x.detach().long().clamp(max=max(width - 2, 0))
    top = y.detach().long().clamp(max=max(height - 2, 0))
    right, below = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    fx, fy = (x - left)[..., None], (y - top)[..., None]
    wide = working_dtype(base.dtype)
    nw, ne, sw, se = (_pixels(base, row, column).to(wide) for row in (top, below) for column in (left, right))
    upper, lower = _between(nw, ne, fx), _between(sw, se, fx)
    return _between(upper, lower, fy).to(wide).permute(0, 3, 1, 2)


def _between(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """From ``start`` (share 0) to ``end`` (share 1), float64, exact at both ends."""
    rise = (end - start).double()
    return torch.where(share < 1, start.double() + share * rise, end.double() + (share - 1) * rise)


def averaged_on_device(base: Tensor, rest: Tensor, grid: Tensor) -> Tensor:
    """(B, C, h, w): the mean over each sample's footprint of the levels of a pyramid."""
    batch, rows, columns = grid.shape[:3]
    height, width = int(base.shape[1]), int(base.shape[2])
    wide, tall = _footprints(grid.double(), (height, width))
    level = _levels(wide.detach(), tall.detach(), len(level_table(base.shape)))
    scale = torch.exp2(level.double())
    x, y = _places(grid, (height, width))
    image = torch.arange(batch, device=grid.device)[:, None, None].expand(batch, rows, columns) % len(base)
    boxes = _Boxes(
        *_interval(x.flatten(), wide.flatten(), scale.flatten(), width),
        *_interval(y.flatten(), tall.flatten(), scale.flatten(), height),
        level.flatten(), image.flatten(),
    )  # fmt: skip
    means, numbers = [], []
    for some, taps, on_base in boxes.alike():
        for part in some.split(max(1, PIECE // (taps[1] * int(base.shape[3])))):
            means.append(boxes.mean(part, taps, base if on_base else rest, base.shape))
            numbers.append(part)
    order = torch.cat(numbers).argsort()
    return torch.cat(means)[order].view(batch, rows, columns, -1).permute(0, 3, 1, 2)


class _Boxes:
    """Footprints (n,) in pixels of their levels: columns [x0, x1], rows [y0, y1], float64."""

    def __init__(self, x0: Tensor, x1: Tensor, y0: Tensor, y1: Tensor, level: Tensor, image: Tensor) -> None:
        self.x0, self.x1, self.y0, self.y1, self.level, self.image = x0, x1, y0, y1, level, image

    def alike(self) -> list[tuple[Tensor, tuple[int, int], bool]]:
        """The numbers of those that touch few or many rows and columns, at most how many; if on level 0."""
        high = (self.y1.ceil() - self.y0.floor()).detach() > FEW
        wide = (self.x1.ceil() - self.x0.floor()).detach() > FEW
        found = []
        for rows, columns, on_base in itertools.product((False, True), repeat=3):
            some = ((high == rows) & (wide == columns) & ((self.level == 0) == on_base)).nonzero()[:, 0]
            if len(some):
                found.append((some, (TAPS if rows else FEW, TAPS if columns else FEW), on_base))
        return found

    def mean(self, some: Tensor, taps: tuple[int, int], source: Tensor, shape: torch.Size) -> Tensor:
        """(n, C) the means over some boxes.

        Args:
            some: (n,) their numbers, all of level 0 or none.
            taps: rows and columns that they touch at most.
            source: level 0 (B, H, W, C), or all above it, flat.
            shape: of level 0.
        """
        kind, channels = working_dtype(source.dtype), shape[3]
        top, down = _cover(self.y0[some], self.y1[some], taps[0], kind)
        left, beside = _cover(self.x0[some], self.x1[some], taps[1], kind)
        image, device = self.image[some], some.device
        start, rows, columns = torch.from_numpy(level_table(shape)).to(device)[self.level[some]].unbind(1)
        column = torch.minimum(left[:, None] + torch.arange(taps[1], device=device), columns[:, None] - 1)
        sums = torch.zeros((), dtype=kind, device=device)
        for line in range(taps[0]):
            row = torch.minimum(top + line, rows - 1)
            if source.ndim == 4:
                values = source[image[:, None], row[:, None], column]
            else:
                place = (start + (image * rows + row) * columns * channels)[:, None] + column * channels
                values = source[place[..., None] + torch.arange(channels, device=device)]
            sums = sums + down[:, line, None, None] * values.to(kind)
        total = beside[:, 0, None] * sums[:, 0]
        for step in range(1, taps[1]):
            total = total + beside[:, step, None] * sums[:, step]
        area = (self.x1 - self.x0)[some] * (self.y1 - self.y0)[some]
        return (total * (1.0 / area)[:, None]).to(kind)


def _places(grid: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """x, y (B, h, w) float64 pixel coordinates, kept inside the image."""
    places = []
    for axis, side in enumerate((size[1], size[0])):
        place = (grid[..., axis].double() + 1.0) * 0.5 * (side - 1)
        free = place.detach()
        # Added, not clamped: a sample on the border has the gradient that it has beside it, as in kernels.
        places.append(place + (free.clamp(0.0, side - 1.0) - free))
    return places[0], places[1]


def _pixels(base: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """(B, h, w, C) of (B or 1, H, W, C) at rows and columns (B, h, w)."""
    image = torch.arange(len(row), device=base.device) % len(base)
    return base[image[:, None, None], row, column]


def _footprints(grid: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Width and height (B, h, w) in pixels, at least 1: as ``footprint`` of the kernels."""
    lengths = []
    for axis, (side, own) in enumerate(((size[1], 2), (size[0], 1))):
        place = grid[..., axis]
        length = _span(place, 2) + _span(place, 1)
        length = length * (side - 1)
        lengths.append((length + side if grid.shape[own] == 1 else length).clamp(min=1.0))
    return lengths[0], lengths[1]


def _span(place: Tensor, dim: int) -> Tensor:
    """Half the change of ``place`` from one sample to the next along an axis; 0 where it has one."""
    if place.shape[dim] == 1:
        return torch.zeros_like(place)
    count = place.shape[dim]
    index = torch.arange(count, device=place.device)
    after, before = (index + 1).clamp(max=count - 1), (index - 1).clamp(min=0)
    share = torch.where(after - before == 2, 0.25, 0.5).to(place.dtype)
    shape = [-1 if axis == dim else 1 for axis in range(place.ndim)]
    return (place.index_select(dim, after) - place.index_select(dim, before)).abs() * share.view(shape)


def _levels(wide: Tensor, tall: Tensor, levels: int) -> Tensor:
    """The lowest level on which the shorter side spans less than 4 pixels, the longer at most ``LONGEST``."""
    short, long = torch.minimum(wide, tall) * ROUNDING, torch.maximum(wide, tall)
    level = torch.zeros(wide.shape, dtype=torch.int64, device=wide.device)
    for number in range(levels - 1):
        level += (short >= 4.0 * 2**number) | (long > LONGEST * 2**number)
    return level


def _interval(centre: Tensor, length: Tensor, scale: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Ends of footprints along one axis, in pixels of their levels, clipped to the image.

    A clipped end has no gradient, nor has the length of a footprint held at its least.
    """
    half, finer = torch.where(length > scale, length, scale) * 0.5, 1.0 / scale
    low, high = centre + 0.5 - half, centre + 0.5 + half
    return torch.where(low > 0, low, 0.0) * finer, torch.where(high < side, high, float(side)) * finer


def _cover(low: Tensor, high: Tensor, taps: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The first pixel (n,) that intervals touch, and how much of each (n, taps); 0 beyond the last."""
    first, stop = low.detach().floor(), high.detach().ceil()
    tap = torch.arange(taps, device=low.device)
    shares = torch.where(tap == 0, (first + 1.0 - low)[:, None], 1.0)
    last = (stop - first)[:, None] - 1
    shares = torch.where(tap == last, shares - (stop - high)[:, None], shares)
    return first.long(), torch.where(tap <= last, shares, 0.0).to(dtype)
