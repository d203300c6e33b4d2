"""Puts values known at the nodes of a grid back onto the pixels of the image: the inverse of ``sample``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saccade.errors import InvalidInput, nearest_name
from saccade.geometry import require_size
from saccade.grids.validate import require_grid, require_tensor
from saccade.runtime.threads import run_bands
from saccade.warp import _value_kernels as plain
from saccade.warp.device_unwarping import unwarp_labels_on_device, unwarp_on_device
from saccade.warp.mesh import Mesh, MeshRasteriser, Window, by_rows, require_window
from saccade.warp.tensors import as_bits, flat, label_dtype, result_dtype, with_area, working_dtype

MODES = ("linear", "nearest")


def unwarp(
    values: Tensor,
    grid: Tensor,
    size: Sequence[int],
    *,
    mode: str = "linear",
    window: Sequence[int] | None = None,
) -> Tensor:
    """Values at the nodes of ``grid`` as an image of ``size``.

    ``linear``: the mesh of the grid is cut into triangles (each cell from its top right to its bottom left
    node) and every pixel takes the barycentric mean of its triangle's corners, so a field linear in pixel
    coordinates comes back exactly. Where the grid folds, the triangle of lowest number wins, row by row of
    the grid; a pixel that no triangle holds takes its nearest node. A grid of one row (or column) is linear
    along it and constant across it. ``nearest``: every pixel takes its nearest node, in image pixels; of
    equally near ones that of lowest number, row by row.

    Args:
        values: (B, C, h, w) of any real type; ``linear`` gives float32 for integers, else the type stays.
        grid: (B, h, w, 2), (x, y) in [-1, 1]; no gradient flows to it.
        size: (H, W) of the image.
        mode: "linear" or "nearest".
        window: (top, bottom, left, right) in pixels: only this part, equal bit for bit to the same part of
            the whole.

    Returns:
        (B, C, H, W), or the window of it; differentiable with respect to floating ``values``.

    Raises:
        InvalidInput: for wrong shapes, types or batches, a grid outside [-1, 1], a window outside the image.

    Examples:
        >>> import saccade, torch
        >>> corners = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> saccade.unwarp(corners, saccade.uniform_grid((2, 2)), (3, 3)).tolist()
        [[[[0.0, 0.5, 1.0], [1.0, 1.5, 2.0], [2.0, 2.5, 3.0]]]]
    """
    size, place = _checked(values, grid, size, mode, window, "values", "(B, C, h, w)")
    if values.device.type != "cpu":
        return unwarp_on_device(values, grid, size, place, linear=mode == "linear")
    values, grid = with_area(values, grid)
    if mode == "linear":
        working = values.to(working_dtype(values.dtype))
        return _Linear.apply(working, grid.detach(), size, place).to(result_dtype(values.dtype))
    if values.requires_grad and torch.is_grad_enabled():
        return _Nearest.apply(values, grid.detach(), size, place)
    return _gathered(values, grid, size, place)


def unwarp_labels(
    scores: Tensor,
    grid: Tensor,
    size: Sequence[int],
    *,
    mode: str = "linear",
    window: Sequence[int] | None = None,
) -> Tensor:
    """The class of highest score at every pixel: ``unwarp(scores, ...).argmax(1)``, without that array.

    Args:
        scores: (B, K, h, w) floating scores of K classes at the nodes of ``grid``, not NaN; K up to 65,535.
        grid, size, mode, window: as for :func:`unwarp`.

    Returns:
        (B, H, W), or the window of it: uint8 for up to 255 classes, int16 up to 32,767, int32 above. Of equal
        scores the lowest class wins. Needs a few MB besides the result, whatever K.

    Raises:
        InvalidInput: as :func:`unwarp`, and for NaN scores or too many classes.

    Examples:
        >>> import saccade, torch
        >>> scores = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])  # class 0 on the left, class 1 on the right
        >>> saccade.unwarp_labels(scores, saccade.uniform_grid((1, 2)), (2, 6)).tolist()
        [[[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1]]]
    """
    size, place = _checked(scores, grid, size, mode, window, "scores", "(B, K, h, w)")
    if not scores.is_floating_point():
        raise InvalidInput("scores", "floating point", scores.dtype, "convert them with .float()")
    dtype, hole = label_dtype(scores.shape[1])
    if scores.device.type != "cpu":
        return unwarp_labels_on_device(scores, grid, size, place, linear=mode == "linear")
    working, grid = with_area(scores.detach(), grid)
    out = torch.empty((len(grid), place[1] - place[0], place[3] - place[2]), dtype=dtype)
    for part, score, nodes in zip(out, working, grid, strict=True):
        MeshRasteriser(score, Mesh.of(nodes, size)).label(part.numpy(), place, hole, linear=mode == "linear")
    return out


def _checked(
    values: Tensor, grid: Tensor, size: Sequence[int], mode: str, window: Any, name: str, shape: str
) -> tuple[tuple[int, int], Window]:
    if mode not in MODES:
        raise InvalidInput("mode", " or ".join(map(repr, MODES)), repr(mode), nearest_name(str(mode), MODES))
    require_tensor(values, name, f"of shape {shape}")
    if values.ndim != 4 or 0 in values.shape:
        raise InvalidInput(name, f"of shape {shape} with no side of zero", tuple(values.shape))
    if values.is_complex():
        raise InvalidInput(name, "of real numbers", values.dtype)
    require_grid(grid, len(values))
    if grid.shape[1:3] != values.shape[2:]:
        expected = f"one node for each of the {values.shape[2]} x {values.shape[3]} {name}"
        raise InvalidInput("grid", expected, f"{grid.shape[1]} x {grid.shape[2]}", "resize one to the other")
    if grid.device != values.device:
        raise InvalidInput("grid", f"on the device of the {name}, {values.device}", grid.device)
    return require_size(size), require_window(window, size)


def _gathered(values: Tensor, grid: Tensor, size: tuple[int, int], place: Window) -> Tensor:
    shape = (len(values), values.shape[1], place[1] - place[0], place[3] - place[2])
    out = values.new_empty(shape)
    for part, source, nodes in zip(as_bits(out), as_bits(values.detach()), grid, strict=True):
        mesh = Mesh.of(nodes, size)
        arguments = (*flat(source), part.numpy(), place, mesh.heights, mesh.bins)
        by_rows(plain.gathered, place, *arguments)
    return out


class _Linear(torch.autograd.Function):
    """Values (B, C, h, w) float32 or float64 -> (B, C, rows, columns) of the window."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, grid: Tensor, size: tuple[int, int], place: Window) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.size, ctx.place = size, place
        out = values.new_empty((*values.shape[:2], place[1] - place[0], place[3] - place[2]))
        for part, source, nodes in zip(out, values.detach(), grid, strict=True):
            MeshRasteriser(source, Mesh.of(nodes, size)).interpolate(part.detach().numpy(), place)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return _scatter(gradients[0], ctx.saved_tensors[0], ctx.size, ctx.place, True), None, None, None


class _Nearest(torch.autograd.Function):
    """Values (B, C, h, w), floating -> the value of each pixel's nearest node."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, grid: Tensor, size: tuple[int, int], place: Window) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.size, ctx.place = size, place
        return _gathered(values, grid, size, place)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return _scatter(gradients[0], ctx.saved_tensors[0], ctx.size, ctx.place, False), None, None, None


def _scatter(gradient: Tensor, grid: Tensor, size: tuple[int, int], place: Window, linear: bool) -> Tensor:
    """The transpose: what each node hands to the pixels of the window, summed over them."""
    batch, channels = gradient.shape[:2]
    out = np.zeros((batch, channels, grid.shape[1] * grid.shape[2]))
    numbers = np.empty(gradient.shape[2:], np.int32)
    for total, share, nodes in zip(out, gradient.to(working_dtype(gradient.dtype)), grid, strict=True):
        mesh = Mesh.of(nodes, size)

        def run(bins: Any, missed: np.ndarray, mesh: Mesh = mesh) -> None:
            by_rows(plain.sources, place, numbers, place, mesh.heights, bins, linear, missed)

        mesh.with_bins_if_needed(run) if linear else run(mesh.bins, np.zeros(1, np.uint8))
        pieces = (numbers, share.contiguous().numpy(), total, place, mesh.heights)
        run_bands(plain.scattered, channels, *pieces)
    return torch.from_numpy(out).view(batch, channels, *grid.shape[1:3]).to(gradient.dtype)
