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

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from saccade.errors import InvalidInput
from saccade.geometry import require_size
from saccade.grids import relaxation, relaxation_0_1
from saccade.grids.uniform import uniform_grid
from saccade.grids.validate import require_density, require_finite_number
from saccade.runtime.threads import run_bands

GRADIENT_TOLERANCE = 1e-4


def elastic_grid(
    density: Tensor, size: Sequence[int] | None = None, *, floor: float = 0.1, as_of_0_1: bool = False
) -> Tensor:
    """Samples gathered where the density is high, without folds and without limit of distance.

    Solved by multigrid (``saccade.grids.relaxation``), a fixed number of rounds in single precision, so the
    result is the same on every run of one machine. The gradient with respect to the density is that of the
    solved equations with every spring's middle held in place (implicit differentiation).

    Args:
        density: (B, 1, h_a, w_a) floating, >= 0, any scale; its outermost pixels lie on the image border. A
            map of zeros counts as constant; one with more pixels than the grid has nodes is averaged.
        size: (h, w) of the grid; default the density's.
        floor: stiffness where the density is 0, as a share of the largest density of the image, above 0 and
            at most 1. It bounds the ratio between the largest and the smallest spacing: smaller gathers more.
        as_of_0_1: the grids of version 0.1, further from rest and slower, which its runs keep.

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
        return _AtRest.apply(stiffness, size, OF_0_1 if as_of_0_1 else OF_TODAY)


class Solver(NamedTuple):
    """How springs are brought to rest: what averages a density, (fewer, more) weights, and what relaxes."""

    means: Callable[[int, int], relaxation.Matrix]
    at_rest: Callable[..., Any]


OF_TODAY = Solver(relaxation.means, relaxation.at_rest)
OF_0_1 = Solver(relaxation_0_1.means_0_1, relaxation_0_1.at_rest_0_1)


def averaged(stiffness: Tensor, size: tuple[int, int], means: Any = relaxation.means) -> Tensor:
    """``stiffness`` (B, 1, h_a, w_a) averaged down to at most ``size`` (rows, columns).

    Detail finer than the springs would be hit or missed by their middles.
    """
    for axis, most in zip((2, 3), size, strict=True):
        if stiffness.shape[axis] > most:
            shares = _matrix(means(stiffness.shape[axis], most), stiffness)
            stiffness = shares @ stiffness if axis == 2 else stiffness @ shares.T
    return stiffness


def _solve(stiffness: Tensor, size: tuple[int, int], solver: Solver = OF_TODAY) -> Tensor:
    """(B, h, w, 2) in the type of ``stiffness`` on the CPU by the compiled kernel, images side by side.

    Also for a density on a GPU: it is small, and there and back is quick beside the thousands of dependent
    steps over small levels that would be started on the GPU one by one (docs/grids.md, "Elastic").
    """
    maps = stiffness.detach()[:, 0].cpu().contiguous().numpy()
    grid = torch.empty(len(maps), *size, 2, dtype=stiffness.dtype)
    run_bands(_solve_images, len(maps), maps, grid.numpy(), solver.at_rest)
    return grid


def _solve_images(first: int, last: int, maps: Any, grids: Any, at_rest: Any) -> None:
    for image in range(first, last):
        grids[image] = at_rest(maps[image], grids.shape[1:3])


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
    """The readable twin of the solver, on any device; it leaves a net that is still folded as it is.

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
    maps = [averaged(stiffness.double(), size)]
    while max(maps[-1].shape[2:]) > 2:
        maps.append(_gather(maps[-1]) / _gather(torch.ones_like(maps[-1])))
    steps = [step for step in relaxation.levels(size) if step[1]]
    y, x = (_matrix(relaxation.even(count), maps[0]) for count in steps[-1][0])
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).expand(len(stiffness), -1, -1, -1)
    for level in range(len(steps) - 1, -1, -1):
        (rows, columns), rounds = steps[level]
        if level < len(steps) - 1:
            grid = _between(grid.movedim(-1, 0), (rows, columns)).movedim(0, -1)
        density = next(one for one in maps if one.shape[2] <= 2 * rows and one.shape[3] <= 2 * columns)
        for_rows, for_columns = (_matrix(relaxation.lines(count, level), grid) for count in size)
        for _ in range(rounds):
            across, down = spring_stiffness(density, grid)
            across, down = across * for_rows[:, None], down * for_columns
            moved = [_cycle(across, down, -pull(across, down, grid[..., axis]), axis) for axis in (0, 1)]
            grid = grid + torch.stack(moved, dim=-1)
    return grid


def _cycle(across: Tensor, down: Tensor, force: Tensor, axis: int) -> Tensor:
    """A V-cycle: (B, h, w) how far nodes yield to ``force``, nearly; those held on ``axis`` (0: x) do not."""
    rows, columns = force.shape[1:]
    free = _free(force, axis)
    rate = relaxation.STEP * free / _sum_of_springs(across, down)
    moved = rate * force
    coarsest = max(rows, columns) <= relaxation.COARSEST
    for _ in range(2 * relaxation.SWEEPS if coarsest else 0):
        moved = moved + rate * (force - pull(across, down, moved))
    if coarsest:
        return moved
    beside = [_matrix(relaxation.between(count), force) for count in (rows, columns)]
    along = [_matrix(relaxation.in_series(count), force) for count in (rows, columns)]
    fewer_across = 1 / ((1 / (beside[0].T @ across)) @ along[1].T)
    fewer_down = (1 / (along[0] @ (1 / down))) @ beside[1]
    left = _gather(free * (force - pull(across, down, moved)))
    moved = moved + _between(_cycle(fewer_across, fewer_down, left, axis), (rows, columns))
    return moved + rate * (force - pull(across, down, moved))


def _free(values: Tensor, axis: int) -> Tensor:
    """(B, h, w) 0 at the nodes that are held on an axis, 1 at the others."""
    free = torch.zeros_like(values)
    free[(slice(None), slice(None), slice(1, -1)) if axis == 0 else (slice(None), slice(1, -1))] = 1
    return free


def _sum_of_springs(across: Tensor, down: Tensor) -> Tensor:
    """(B, h, w) of the springs at each node: the diagonal of :func:`pull`."""
    beside = F.pad(across, (0, 1)) + F.pad(across, (1, 0))
    return beside + F.pad(down, (0, 0, 0, 1)) + F.pad(down, (0, 0, 1, 0))


def _gather(values: Tensor) -> Tensor:
    """Values (..., h, w) gathered on the nodes of the next coarser level."""
    rows, columns = (_matrix(relaxation.between(count), values) for count in values.shape[-2:])
    return rows.T @ values @ columns


def _between(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Values of the next coarser level at the nodes of ``size``, bilinear."""
    rows, columns = (_matrix(relaxation.between(count), values) for count in size)
    return rows @ values @ columns.T


def _matrix(array: relaxation.Matrix, like: Tensor) -> Tensor:
    return torch.from_numpy(array).to(like)


class _AtRest(torch.autograd.Function):
    """Stiffness map to grid; backward solves the same springs once more (they are self-adjoint)."""

    @staticmethod
    def forward(ctx: Any, stiffness: Tensor, size: tuple[int, int], solver: Solver) -> Tensor:
        grid = _solve(stiffness, size, solver).to(stiffness.device, torch.float32)
        ctx.save_for_backward(stiffness, grid)
        ctx.means = solver.means
        return grid

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        stiffness, grid = ctx.saved_tensors
        return rest_gradient(stiffness, grid, grad, ctx.means), None, None


def rest_gradient(stiffness: Tensor, grid: Tensor, grad: Tensor, means: Any = relaxation.means) -> Tensor:
    """Gradient with respect to ``stiffness`` of the nodes at rest, by the adjoint of their linear equations.

    With A(s) phi = 0 on the free nodes, d loss / d s of the spring (u, v) is
    -(adjoint_u - adjoint_v) * (phi_u - phi_v), where A adjoint = d loss / d phi and the adjoint of a held
    node is 0. In one type throughout: (B, 1, h_a, w_a), (B, h, w, 2), (B, h, w, 2) to (B, 1, h_a, w_a).
    """
    with torch.enable_grad():
        stiffness = stiffness.detach().requires_grad_()
        # Read once more at the grid that came out: only its springs count, not the way there.
        map_ = averaged(stiffness, (grid.shape[1], grid.shape[2]), means)
        across, down = spring_stiffness(map_, grid)
    grad_across, grad_down = torch.zeros_like(across), torch.zeros_like(down)
    for axis in (0, 1):
        force = _adjoint(across.detach(), down.detach(), grad[..., axis], axis)
        nodes = grid[..., axis]
        grad_across -= (force[:, :, 1:] - force[:, :, :-1]) * (nodes[:, :, 1:] - nodes[:, :, :-1])
        grad_down -= (force[:, 1:] - force[:, :-1]) * (nodes[:, 1:] - nodes[:, :-1])
    return torch.autograd.grad([across, down], stiffness, [grad_across, grad_down])[0]


def _adjoint(across: Tensor, down: Tensor, grad: Tensor, axis: int) -> Tensor:
    """A adjoint = grad, (B, h, w), by the compiled kernel; nodes held on this axis have adjoint 0.

    Like the grid itself, also for a GPU.
    """
    place = grad.device
    arrays = [tensor.detach().cpu().contiguous().numpy() for tensor in (across, down, grad)]
    out = torch.empty(grad.shape, dtype=grad.dtype)
    run_bands(_adjoint_images, len(out), *arrays, axis, out.numpy())
    return out.to(place)


def _adjoint_images(first: int, last: int, across: Any, down: Any, grad: Any, axis: int, out: Any) -> None:
    for k in range(first, last):
        out[k] = relaxation.yielding(across[k], down[k], grad[k], axis, GRADIENT_TOLERANCE)


def adjoint_reference(across: Tensor, down: Tensor, grad: Tensor, axis: int) -> Tensor:
    """The readable twin of the adjoint's kernel: conjugate gradients without levels, all images together."""
    free = _free(grad, axis)
    # Jacobi: stiffness spans orders of magnitude, and plain conjugate gradients would crawl.
    inverse = free / _sum_of_springs(across, down)
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
