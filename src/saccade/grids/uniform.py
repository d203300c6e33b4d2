"""Regular grids: the uniform grid, grids resized, and patches of several fields of view around places."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.errors import InvalidInput, nearest_name
from saccade.geometry import require_count, require_size
from saccade.grids.validate import RANGE_SLACK, require_finite_number, require_grid, require_tensor


def uniform_grid(size: Sequence[int], batch: int = 1, *, device: torch.device | str | None = None) -> Tensor:
    """Samples evenly spaced from the first to the last pixel centre of each axis.

    Args:
        size: (h, w), rows and columns of samples. The only row or column of a grid lies in the middle, at 0.
        batch: B, how many copies.
        device: where the grid is made.

    Returns:
        (B, h, w, 2) float32, last axis (x, y) in [-1, 1].

    Raises:
        InvalidInput: when ``size`` is not a pair of whole numbers of at least 1, or ``batch`` not one.

    Examples:
        >>> import saccade
        >>> saccade.uniform_grid((2, 3)).tolist()
        [[[[-1.0, -1.0], [0.0, -1.0], [1.0, -1.0]], [[-1.0, 1.0], [0.0, 1.0], [1.0, 1.0]]]]
    """
    rows, columns = require_size(size)
    y, x = even_positions(rows, device=device), even_positions(columns, device=device)
    nodes = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    return nodes.repeat(require_count(batch, "batch"), 1, 1, 1)


def even_positions(
    count: int, *, device: torch.device | str | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """(count,) positions from -1 to 1, both included; a single one lies at 0."""
    if count == 1:
        return torch.zeros(1, device=device, dtype=dtype)
    return torch.linspace(-1, 1, count, device=device, dtype=dtype)


def resize_grid(grid: Tensor, size: Sequence[int]) -> Tensor:
    """``grid`` at another number of samples, bilinear between its nodes, outer nodes staying outer nodes.

    Args:
        grid: (B, h, w, 2), (x, y) in [-1, 1].
        size: (h', w') wanted. A single row or column is taken from the middle of the grid.

    Returns:
        (B, h', w', 2) float32 (float64 for a float64 grid); differentiable.

    Raises:
        InvalidInput: when ``grid`` or ``size`` is not as above.

    Examples:
        >>> import saccade
        >>> from saccade import grids
        >>> grids.resize_grid(saccade.uniform_grid((2, 2)), (1, 3)).tolist()
        [[[[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]]]]
    """
    rows, columns = require_size(size)
    require_grid(grid)
    grid = grid.to(torch.promote_types(grid.dtype, torch.float32))
    return _resize_axis(_resize_axis(grid, 1, rows), 2, columns)


def _resize_axis(grid: Tensor, axis: int, count: int) -> Tensor:
    nodes = grid.shape[axis]
    if nodes == count:
        return grid
    position = (even_positions(count, device=grid.device, dtype=torch.float64) + 1) / 2 * (nodes - 1)
    before = position.floor().long().clamp(0, max(nodes - 2, 0))
    after = (before + 1).clamp(max=nodes - 1)
    share = (position - before).to(grid.dtype)
    share = share.view([-1 if dim == axis else 1 for dim in range(grid.ndim)])
    return torch.lerp(grid.index_select(axis, before), grid.index_select(axis, after), share)


BORDERS = ("reflect", "edge", "zero")


def patch_grids(
    centres: Tensor,
    fields_of_view: Sequence[float] | Sequence[tuple[float, float]],
    patch_size: Sequence[int],
    image_size: Sequence[int],
    *,
    border: str = "reflect",
) -> tuple[Tensor, Tensor]:
    """Patches centred on each place, one for each field of view ("Foveation", arXiv / MICCAI 2020).

    A patch of field (F_h, F_w) is the rectangle of F_h x F_w image pixels around its centre, cut into
    h x w equal cells with a sample in the middle of each: sample k of p lies ``((k + 1/2) / p - 1/2) F``
    pixels from the centre. ``saccade.sample(..., antialias=True)`` then averages each cell.

    Args:
        centres: (N, 2) floating, (x, y) in [-1, 1].
        fields_of_view: D sides in image pixels, each a number (a square) or a pair (rows, columns); > 0, any
            size, larger than the image too.
        patch_size: (h, w) samples of every patch.
        image_size: (H, W) of the image in pixels.
        border: where a sample beyond the image reads: "reflect" mirrors it in the outermost pixel centres (as
            often as needed), "edge" takes the nearest pixel, "zero" reads nothing.

    Returns:
        grids: (N, D, h, w, 2) float32, (x, y) in [-1, 1]; ``grids.flatten(0, 1)`` for ``saccade.sample``.
        inside: (N, D, h, w) bool, False for the samples that count as 0: with "zero" those beyond the image
            (their place in ``grids`` is the nearest pixel), otherwise none.

    Raises:
        InvalidInput: when an argument is not as above.

    Examples:
        >>> import torch
        >>> from saccade import grids
        >>> grid, inside = grids.patch_grids(torch.zeros(1, 2), [4, 8], (2, 2), image_size=(10, 10))
        >>> grid.shape, bool(inside.all())
        (torch.Size([1, 2, 2, 2, 2]), True)
    """
    height, width = require_size(image_size, "image_size")
    rows, columns = require_size(patch_size, "patch_size")
    if border not in BORDERS:
        raise InvalidInput(
            "border", 'one of "reflect", "edge", "zero"', repr(border), nearest_name(str(border), BORDERS)
        )
    fields = [_require_field(field) for field in _require_list(fields_of_view)]
    middle = (_require_centres(centres).detach().double() + 1) / 2
    vertical, horizontal = zip(*fields, strict=True)
    y, y_inside = _along(middle[:, 1], vertical, rows, height, border)
    x, x_inside = _along(middle[:, 0], horizontal, columns, width, border)
    shape = (len(centres), len(fields), rows, columns)
    grids = torch.stack([x[:, :, None].expand(shape), y[..., None].expand(shape)], dim=-1)
    return grids, x_inside[:, :, None] & y_inside[..., None]


def _along(
    middle: Tensor, fields: Sequence[float], count: int, pixels: int, border: str
) -> tuple[Tensor, Tensor]:
    """(N, D, count) positions of the samples of one axis in [-1, 1], and whether each may be read."""
    offsets = (torch.arange(count, device=middle.device, dtype=middle.dtype) + 0.5) / count - 0.5
    last = pixels - 1
    position = middle[:, None, None] * last + middle.new_tensor(fields)[:, None] * offsets
    inside = (position >= -0.5) & (position <= last + 0.5)
    if border != "zero":
        inside = torch.ones_like(inside)
    if border == "reflect" and last:
        position = last - (position.remainder(2 * last) - last).abs()
    position = position.clamp(0, last)
    return (position * 2 / last - 1 if last else position).float(), inside


def _require_list(fields: Sequence[float] | Sequence[tuple[float, float]]) -> list[object]:
    if not isinstance(fields, Sequence) or isinstance(fields, str) or not fields:
        raise InvalidInput("fields_of_view", "a list of at least one side in pixels", repr(fields))
    return list(fields)


def _require_field(field: object) -> tuple[float, float]:
    pair = field if isinstance(field, Sequence) and not isinstance(field, str) else (field, field)
    if len(pair) != 2:
        raise InvalidInput("fields_of_view", "a number or a pair (rows, columns) each", repr(field))
    sides = tuple(require_finite_number(side, "fields_of_view") for side in pair)
    if min(sides) <= 0:
        raise InvalidInput("fields_of_view", "sides above 0 pixels", repr(field))
    return sides[0], sides[1]


def _require_centres(centres: Tensor) -> Tensor:
    expected = "of shape (N, 2), floating point"
    require_tensor(centres, "centres", expected)
    if centres.ndim != 2 or centres.shape[1] != 2 or not len(centres) or not centres.is_floating_point():
        raise InvalidInput("centres", expected, f"{tuple(centres.shape)} of {centres.dtype}")
    if not bool((centres.detach().abs() <= 1 + RANGE_SLACK).all()):
        raise InvalidInput("centres", "finite and within [-1, 1]", "a centre outside the image")
    return centres
