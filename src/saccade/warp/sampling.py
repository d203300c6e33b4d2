"""Reads pixels at a grid: bilinear, nearest, or each sample the mean over its own footprint."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from saccade.errors import InvalidInput, nearest_name
from saccade.grids.validate import require_grid, require_tensor
from saccade.runtime.threads import run_bands
from saccade.warp import _sample_kernels as averaged
from saccade.warp import _sample_kernels as plain
from saccade.warp._sample_kernels import footprint_to_grid
from saccade.warp.device_sampling import averaged_on_device, bilinear_on_device, nearest_on_device
from saccade.warp.pyramid import Pyramid, as_base, level_table
from saccade.warp.tensors import as_bits, flat, result_dtype, working_dtype

MODES = ("bilinear", "nearest")
SMALLEST_BAND = 1 << 10
"""Samples worth a thread of their own."""


def sample(
    image: Tensor | Pyramid, grid: Tensor, *, mode: str = "bilinear", antialias: bool = False
) -> Tensor:
    """The image at the places of ``grid``.

    Pixel coordinates are ``x = (gx + 1) / 2 * (W - 1)``: -1 and 1 are the centres of the border pixels.
    ``bilinear`` interpolates between the four pixels around (what ``grid_sample(align_corners=True,
    padding_mode="border")`` gives); ``nearest`` takes the pixel whose centre is nearest. With ``antialias``
    each sample is the mean over its footprint (``saccade.grids.footprints``, at least 1 pixel wide), an
    axis-aligned box clipped at the image border:

        out = (integral over the box of the image, constant inside each pixel) / (area of the box)

    taken on the pyramid level on which the box's shorter side spans 2 to 4 pixels and its longer side at most
    32. A box of 1 x 1 pixels gives exactly the bilinear value.

    Args:
        image: (B, C, H, W) of any real type, or a :class:`Pyramid`, which also holds the averages that
            ``antialias`` reads; for ``nearest`` also labels (B, H, W). One image (B = 1) serves a whole batch
            of grids.
        grid: (B, h, w, 2), (x, y) in [-1, 1].
        mode: "bilinear" or "nearest".
        antialias: average over footprints; only with "bilinear".

    Returns:
        (B, C, h, w) in the units of the image; ``nearest`` keeps its type (and gives (B, h, w) for labels),
        ``bilinear`` keeps floating types and gives float32 for integers. Differentiable with respect to a
        floating image and, except for ``nearest``, to the grid, through the footprints too.

    Raises:
        InvalidInput: for wrong shapes, types or batches, a grid outside [-1, 1], or an unknown mode.

    Examples:
        >>> import saccade, torch
        >>> image = torch.arange(12.0).reshape(1, 1, 3, 4)
        >>> saccade.sample(image, saccade.uniform_grid((2, 2))).flatten().tolist()  # the corners
        [0.0, 3.0, 8.0, 11.0]
        >>> saccade.sample(image, saccade.uniform_grid((1, 1)), antialias=True).item()  # the mean of all
        5.5
    """
    if mode not in MODES:
        raise InvalidInput("mode", " or ".join(map(repr, MODES)), repr(mode), nearest_name(str(mode), MODES))
    if antialias and mode == "nearest":
        raise InvalidInput("antialias", "False for nearest", True, "labels cannot be averaged: leave it out")
    if mode == "nearest" and isinstance(image, Tensor) and image.ndim == 3:
        return sample(image[:, None], grid, mode=mode)[:, 0]
    if not isinstance(image, Pyramid):
        require_tensor(image, "image", "of shape (B, C, H, W), or a Pyramid")
    batch = image.batch if isinstance(image, Pyramid) else (image.shape[0] if image.ndim == 4 else 1)
    require_grid(grid, None if batch == 1 else batch)
    if image.device != grid.device:
        raise InvalidInput("grid", f"on the device of the image, {image.device}", grid.device)
    if mode == "nearest":
        return _nearest(image, grid)
    compiled = grid.device.type == "cpu"
    if antialias:
        pyramid = image if isinstance(image, Pyramid) else Pyramid.of(image)
        tensors = (pyramid.base, pyramid.rest, grid)
        out = _called(_Averaged, _averaged, *tensors) if compiled else averaged_on_device(*tensors)
    else:
        base = image.base if isinstance(image, Pyramid) else as_base(image)
        out = _called(_Bilinear, _bilinear, base, grid) if compiled else bilinear_on_device(base, grid)
    return out.to(result_dtype(image.dtype))


def _called(differentiable: Any, plainly: Any, *tensors: Tensor) -> Tensor:
    """Without autograd where nobody asks for gradients: it takes a tenth of the time of a small view."""
    gradients = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return differentiable.apply(*tensors) if gradients else plainly(*tensors)


def _bilinear(base: Tensor, grid: Tensor) -> Tensor:
    out = torch.empty(_out_shape(base, grid), dtype=working_dtype(base.dtype))
    _by_rows(plain.bilinear, grid, *flat(base), len(base), _size(base), _positions(grid), out.numpy())
    return out


def _averaged(base: Tensor, rest: Tensor, grid: Tensor) -> Tensor:
    out = torch.empty(_out_shape(base, grid), dtype=working_dtype(base.dtype))
    above, levels = rest.detach().numpy(), level_table(base.shape)
    arguments = (*flat(base), len(base), above, levels, _positions(grid), out.numpy())
    _by_rows(averaged.averaged, grid, *arguments)
    return out


def _nearest(image: Tensor | Pyramid, grid: Tensor) -> Tensor:
    pixels = image.level(0) if isinstance(image, Pyramid) else image
    if pixels.ndim != 4 or 0 in pixels.shape or pixels.is_complex():
        as_base(pixels)
    if grid.device.type != "cpu" or (pixels.requires_grad and torch.is_grad_enabled()):
        return nearest_on_device(pixels, grid)
    base = pixels.detach().permute(0, 2, 3, 1)
    out = pixels.new_empty(_out_shape(base, grid))
    source, strides = flat(as_bits(base))
    target = as_bits(out).numpy()
    _by_rows(plain.nearest, grid, source, strides, len(base), _size(base), _positions(grid), target)
    return out


class _Bilinear(torch.autograd.Function):
    """(B, H, W, C), (B, h, w, 2) -> (B, C, h, w)."""

    @staticmethod
    def forward(ctx: Any, base: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(base, grid)
        return _bilinear(base, grid)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        base, grid = ctx.saved_tensors
        gradient, places = gradients[0].contiguous().numpy(), _positions(grid)
        to_base = to_grid = None
        if ctx.needs_input_grad[0]:
            to_base = torch.zeros(base.shape, dtype=base.dtype)
            planes = base.shape[0] * base.shape[3]
            run_bands(plain.bilinear_to_image, planes, _size(base), places, gradient, to_base.numpy())
        if ctx.needs_input_grad[1]:
            moved = np.empty(grid.shape)
            arguments = (*flat(base), len(base), _size(base), places, gradient, moved)
            _by_rows(plain.bilinear_to_grid, grid, *arguments)
            to_grid = torch.from_numpy(moved).to(grid.dtype)
        return to_base, to_grid


class _Averaged(torch.autograd.Function):
    """Level 0 (B, H, W, C), the levels above (flat), (B, h, w, 2) -> (B, C, h, w)."""

    @staticmethod
    def forward(ctx: Any, base: Tensor, rest: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(base, rest, grid)
        return _averaged(base, rest, grid)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        base, rest, grid = ctx.saved_tensors
        gradient, places = gradients[0].contiguous().numpy(), _positions(grid)
        levels = level_table(base.shape)
        to_base = to_rest = to_grid = None
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            to_base, to_rest = torch.zeros(base.shape, dtype=base.dtype), torch.zeros_like(rest)
            planes = base.shape[0] * base.shape[3]
            arguments = (len(base), levels, places, gradient, to_base.view(-1).numpy(), to_rest.numpy())
            run_bands(averaged.averaged_to_image, planes, *arguments)
        if ctx.needs_input_grad[2]:
            moved, sides = np.empty(grid.shape), np.empty(grid.shape)
            above = rest.detach().numpy()
            places_of = (*flat(base), len(base), above, levels, places, gradient, moved, sides)
            _by_rows(averaged.averaged_to_grid, grid, *places_of)
            _by_rows(footprint_to_grid, grid, places, sides, _size(base), moved)
            to_grid = torch.from_numpy(moved).to(grid.dtype)
        return to_base, to_rest, to_grid


def _positions(grid: Tensor) -> np.ndarray:
    return grid.detach().to(torch.float64).contiguous().numpy()


def _out_shape(base: Tensor, grid: Tensor) -> tuple[int, int, int, int]:
    return grid.shape[0], base.shape[3], grid.shape[1], grid.shape[2]


def _size(base: Tensor) -> tuple[int, int]:
    return base.shape[1], base.shape[2]


def _by_rows(kernel: Any, grid: Tensor, *arguments: Any) -> None:
    rows = grid.shape[0] * grid.shape[1]
    run_bands(kernel, rows, *arguments, smallest=max(1, SMALLEST_BAND // grid.shape[2]))
