"""The elastic grid: a net of springs that are stiff where the density is high, at rest. Ours, of no paper.

The attraction of ICLR 2022 moves a sample at most about one kernel radius and blurs the density by the
kernel, so its concentration is limited; it may fold, and covers the image only by a correction. Here the grid
is the rest position of springs between 4-neighbours,

    minimise  sum over springs (u, v) of  s(u, v) * |phi_u - phi_v|^2,   s(u, v) = density midway,

with the outermost nodes sliding along the borders and the corners fixed. A stiff spring is short, so samples
gather where the density is high, as far as needed, however far away they start ("variable diffusion", Winslow
1981). With stiffness held, the minimiser never folds: each node lies inside its neighbours (Tutte 1963,
Floater 1997). It always covers the image, and only ratios of the density count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from saccade.errors import InvalidInput
from saccade.geometry import require_size
from saccade.grids._kernels import adjoint, relax
from saccade.grids.relaxation import SWEEPS, levels, over_relaxation
from saccade.grids.uniform import resize_grid, uniform_grid
from saccade.grids.validate import require_density, require_finite_number
from saccade.runtime.threads import run_bands

GRADIENT_TOLERANCE = 1e-4


def elastic_grid(density: Tensor, size: Sequence[int] | None = None, *, floor: float = 0.1) -> Tensor:
    """Samples gathered where the density is high, without folds and without limit of distance.

    Solved from a grid of about 4 nodes a side upwards, each level twice as fine, by a fixed number of
    relaxations at most (a level ends where nothing moves any more), in single precision, so the result is the
    same on every run of one machine. The gradient with respect to the density is that of
    the solved equations with every spring's middle held in place (implicit differentiation).

    Args:
        density: (B, 1, h_a, w_a) floating, >= 0, any scale; its outermost pixels lie on the image border. A
            map of zeros counts as constant.
        size: (h, w) of the grid; default the density's.
        floor: stiffness where the density is 0, as a share of the largest density of the image, above 0 and
            at most 1. It bounds the ratio between the largest and the smallest spacing: smaller gathers more.

    Returns:
        (B, h, w, 2) float32, last axis (x, y) in [-1, 1], outermost nodes on the border. The uniform grid
        for a constant density.

    Raises:
        InvalidInput: for a density of the wrong rank, channels or type, empty, negative or not finite; for a
            size that is not of whole numbers of at least 1; for a floor outside (0, 1].

    Examples:
        >>> import saccade, torch
        >>> from saccade import grids
        >>> density = torch.zeros(1, 1, 16, 32)
        >>> density[..., 8:, 16:] = 1
        >>> grid = saccade.elastic_grid(density)
        >>> print(grids.covers(grid), "|", grids.folds(grid))
        covers the whole image | no cell folds
        >>> round(float((grid[..., 0] > 0).float().mean()), 2)  # share of the samples in the right half
        0.89
    """
    rows, columns = require_density(density).shape[2:]
    size = (rows, columns) if size is None else require_size(size)
    if require_finite_number(floor, "floor", 1.0) < 1e-6:
        raise InvalidInput("floor", "above 1e-6 and at most 1", floor)
    with torch.autocast(density.device.type, enabled=False):
        if size == (1, 1):
            return uniform_grid(size, len(density), device=density.device)
        # Detached: else the brightest pixel alone would receive the gradient of the whole scale.
        largest = density.detach().float().amax(dim=(2, 3), keepdim=True)
        stiffness = density.float() / largest.clamp_min(torch.finfo(torch.float32).tiny) + floor
        return _AtRest.apply(stiffness, size)


def at_level(stiffness: Tensor, level: tuple[int, int]) -> Tensor:
    """``stiffness`` (B, 1, h_a, w_a) averaged down to at most ``level`` (rows, columns).

    Detail finer than the springs would be hit or missed by their middles, and the relaxation would wander.
    """
    rows, columns = (min(have, want) for have, want in zip(stiffness.shape[2:], level, strict=True))
    if (rows, columns) == stiffness.shape[2:]:
        return stiffness
    options: Any = {"mode": "bilinear", "align_corners": True, "antialias": True}
    return F.interpolate(stiffness, (rows, columns), **options)


def _solve(stiffness: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, h, w, 2) in the type of ``stiffness`` on the CPU by the compiled kernel, images side by side.

    Also for a density on a GPU: it is small, and thousands of dependent sweeps over a small net would leave
    a GPU idle.
    """
    stiffness = stiffness.detach().cpu()
    grid = uniform_grid(levels(size)[0][0], len(stiffness)).to(stiffness.dtype)
    for level, rounds in levels(size):
        nodes = resize_grid(grid, level).permute(3, 0, 1, 2).contiguous()
        densities = at_level(stiffness, level)[:, 0].contiguous().numpy()
        settings = (rounds, SWEEPS, over_relaxation(*level))
        images = list(zip(densities, *nodes.numpy(), strict=True))
        run_bands(_relax_images, len(images), images, settings)
        grid = nodes.permute(1, 2, 3, 0)
    return grid


def _relax_images(first: int, last: int, images: list[tuple[Any, ...]], settings: tuple[Any, ...]) -> None:
    for image in images[first:last]:
        relax(*image, *settings)


def spring_stiffness(stiffness: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Stiffness of the springs of ``grid`` (B, h, w, 2): across (B, h, w - 1), down (B, h - 1, w)."""
    across, down = (grid[:, :, 1:] + grid[:, :, :-1]) / 2, (grid[:, 1:] + grid[:, :-1]) / 2
    read = (
        F.grid_sample(stiffness, middles, align_corners=True, padding_mode="border")[:, 0]
        for middles in (across, down)
    )
    return next(read), next(read)


def pull(across: Tensor, down: Tensor, values: Tensor) -> Tensor:
    """The springs' Laplacian of ``values`` (B, h, w): sum over neighbours of s * (value - neighbour)."""
    flow_across = across * (values[:, :, 1:] - values[:, :, :-1])
    flow_down = down * (values[:, 1:] - values[:, :-1])
    return -(F.pad(flow_across, (0, 1)) - F.pad(flow_across, (1, 0))) - (
        F.pad(flow_down, (0, 0, 0, 1)) - F.pad(flow_down, (0, 0, 1, 0))
    )


def elastic_grid_reference(stiffness: Tensor, size: tuple[int, int]) -> Tensor:
    """The readable twin of the solver, on any device.

    Args:
        stiffness: (B, 1, h_a, w_a) > 0.
        size: (h, w) of the grid.

    Returns:
        (B, h, w, 2) float64.

    Examples:
        >>> import torch
        >>> from saccade import grids
        >>> grids.elastic_grid_reference(torch.ones(1, 1, 4, 4), (3, 5)).shape
        torch.Size([1, 3, 5, 2])
    """
    stiffness = stiffness.double()
    grid = uniform_grid(levels(size)[0][0], len(stiffness), device=stiffness.device).double()
    for level, rounds in levels(size):
        grid, density = resize_grid(grid, level), at_level(stiffness, level)
        for _ in range(rounds):
            springs = spring_stiffness(density, grid)
            for _ in range(SWEEPS):
                for colour in (0, 1):
                    grid = _sweep(grid, *springs, colour)
    return grid


def _sweep(grid: Tensor, across: Tensor, down: Tensor, colour: int) -> Tensor:
    """Red-black successive over-relaxation of the nodes of one colour; borders slide, corners stay."""
    rows, columns = grid.shape[1:3]
    total = F.pad(across, (0, 1)) + F.pad(across, (1, 0)) + F.pad(down, (0, 0, 0, 1))
    total = total + F.pad(down, (0, 0, 1, 0))
    move = torch.stack([-pull(across, down, grid[..., axis]) / total for axis in (0, 1)], dim=-1)
    i, j = (torch.arange(n, device=grid.device) for n in (rows, columns))
    turn = (i[:, None] + j) % 2 == colour
    free = torch.stack([turn & (j > 0) & (j < columns - 1), turn & ((i > 0) & (i < rows - 1))[:, None]], -1)
    return grid + over_relaxation(rows, columns) * move * free


class _AtRest(torch.autograd.Function):
    """Stiffness map to grid; backward solves the same springs once more (they are self-adjoint)."""

    @staticmethod
    def forward(ctx: Any, stiffness: Tensor, size: tuple[int, int]) -> Tensor:
        grid = _solve(stiffness, size).to(stiffness.device, torch.float32).clamp(-1, 1)
        ctx.save_for_backward(stiffness, grid)
        return grid

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        stiffness, grid = ctx.saved_tensors
        return rest_gradient(stiffness, grid, grad), None


def rest_gradient(stiffness: Tensor, grid: Tensor, grad: Tensor) -> Tensor:
    """Gradient with respect to ``stiffness`` of the nodes at rest, by the adjoint of their linear equations.

    With A(s) phi = 0 on the free nodes, d loss / d s of the spring (u, v) is
    -(adjoint_u - adjoint_v) * (phi_u - phi_v), where A adjoint = d loss / d phi and the adjoint of a held
    node is 0. In one type throughout: (B, 1, h_a, w_a), (B, h, w, 2), (B, h, w, 2) to (B, 1, h_a, w_a).
    """
    with torch.enable_grad():
        stiffness = stiffness.detach().requires_grad_()
        # Read once more at the grid that came out: only its springs count, not the way there.
        across, down = spring_stiffness(at_level(stiffness, (grid.shape[1], grid.shape[2])), grid)
    grad_across, grad_down = torch.zeros_like(across), torch.zeros_like(down)
    for axis in (0, 1):
        force = _adjoint(across.detach(), down.detach(), grad[..., axis], axis)
        nodes = grid[..., axis]
        grad_across -= (force[:, :, 1:] - force[:, :, :-1]) * (nodes[:, :, 1:] - nodes[:, :, :-1])
        grad_down -= (force[:, 1:] - force[:, :-1]) * (nodes[:, 1:] - nodes[:, :-1])
    return torch.autograd.grad([across, down], stiffness, [grad_across, grad_down])[0]


def _adjoint(across: Tensor, down: Tensor, grad: Tensor, axis: int) -> Tensor:
    """A adjoint = grad, (B, h, w), by the compiled kernel; nodes held on this axis have adjoint 0.

    Like the grid itself, also for a GPU: hundreds of dependent steps over a small net.
    """
    place = grad.device
    across, down, grad = (tensor.detach().cpu() for tensor in (across, down, grad))
    out = torch.empty_like(grad, memory_format=torch.contiguous_format)
    images = [
        tuple(tensor.contiguous().numpy() for tensor in image)
        for image in zip(across, down, grad, out, strict=True)
    ]
    settings = (axis, GRADIENT_TOLERANCE, 4 * sum(grad.shape[1:]))
    run_bands(_solve_images, len(images), images, settings)
    return out.to(place)


def _solve_images(first: int, last: int, images: list[tuple[Any, ...]], settings: tuple[Any, ...]) -> None:
    for across, down, grad, out in images[first:last]:
        adjoint(across, down, grad, *settings, out)


def adjoint_reference(across: Tensor, down: Tensor, grad: Tensor, axis: int) -> Tensor:
    """The readable twin of the adjoint's kernel: conjugate gradients, all images together."""
    free = torch.zeros_like(grad)
    free[(slice(None), slice(None), slice(1, -1)) if axis == 0 else (slice(None), slice(1, -1))] = 1
    diagonal = F.pad(across, (0, 1)) + F.pad(across, (1, 0)) + F.pad(down, (0, 0, 0, 1))
    # Jacobi: stiffness spans orders of magnitude, and plain conjugate gradients would crawl.
    inverse = free / (diagonal + F.pad(down, (0, 0, 1, 0)))
    solution, left = torch.zeros_like(grad), grad * free
    scaled = left * inverse
    direction, size = scaled, (left * scaled).sum((1, 2), keepdim=True)
    goal = GRADIENT_TOLERANCE**2 * size.clamp_min(torch.finfo(grad.dtype).tiny)
    for _ in range(4 * sum(grad.shape[1:])):
        if (size <= goal).all():
            break
        image = pull(across, down, direction) * free
        step = size / (direction * image).sum((1, 2), keepdim=True).clamp_min(torch.finfo(grad.dtype).tiny)
        solution, left = solution + step * direction, left - step * image
        scaled = left * inverse
        before, size = size, (left * scaled).sum((1, 2), keepdim=True)
        direction = scaled + size / before.clamp_min(torch.finfo(grad.dtype).tiny) * direction
    return solution
