"""The smoothest grid near given targets: the boundary energy of ICCV 2019, minimised exactly."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from saccade.errors import InvalidInput
from saccade.grids.axes import constant
from saccade.grids.energy_kernels import sweep
from saccade.grids.uniform import even_positions
from saccade.grids.validate import require_finite_number, require_tensor

Solver = Callable[[Tensor, tuple[str, str], float], Tensor]


def boundary_energy_minimiser(targets: Tensor, smoothness: float = 1.0) -> Tensor:
    """The grid phi that minimises the boundary energy under the covering constraints.

    ``sum |phi_ij - b_ij|^2 + lambda sum over pairs of 4-neighbours |phi_ij - phi_i'j'|^2``, each pair once,
    subject to y = -1 and 1 on the first and last row, x = -1 and 1 on the first and last column (ICCV 2019,
    Eq. 2-3). Each coordinate is its own linear system (I + lambda L) phi = b, fixed on two sides and free on
    the others, and what the uniform grid leaves of it has its fixed sides at 0: sines diagonalise a fixed
    axis, cosines a free one, so the minimum is exact. The compiled way transforms the shorter axis and
    solves a tridiagonal system along the longer for each mode; the twin transforms both.

    Args:
        targets: (B, h, w, 2) floating, b as (x, y) in [-1, 1].
        smoothness: lambda >= 0.

    Returns:
        (B, h, w, 2) in the type of ``targets`` (float32 for half precision); differentiable. With one row
        (or column) its y (or x) lies at 0: it cannot be on both sides.

    Raises:
        InvalidInput: for targets of the wrong rank, axis or type, and for a negative smoothness.
    """
    _require_targets(targets)
    tracked = torch.is_grad_enabled() and targets.requires_grad
    compiled = targets.device.type == "cpu" and not tracked
    return _minimise(targets, smoothness, _solve_compiled if compiled else _solve_reference)


def boundary_energy_minimiser_reference(targets: Tensor, smoothness: float = 1.0) -> Tensor:
    """:func:`boundary_energy_minimiser` in PyTorch, on any device: its twin, and what gradients take."""
    return _minimise(_require_targets(targets), smoothness, _solve_reference)


def _minimise(targets: Tensor, smoothness: float, solve: Solver) -> Tensor:
    smoothness = require_finite_number(smoothness, "smoothness")
    targets = targets.to(torch.promote_types(targets.dtype, torch.float32))
    coordinates = _coordinate(targets, 0, smoothness, solve), _coordinate(targets, 1, smoothness, solve)
    return torch.stack(coordinates, dim=-1)


def _require_targets(targets: Tensor) -> Tensor:
    require_tensor(targets, "targets", "of shape (B, h, w, 2)")
    if targets.ndim != 4 or targets.shape[-1] != 2 or 0 in targets.shape or not targets.is_floating_point():
        got = f"{tuple(targets.shape)} of {targets.dtype}"
        raise InvalidInput("targets", "of shape (B, h, w, 2) with no side of zero, floating point", got)
    return targets


def _coordinate(targets: Tensor, which: int, smoothness: float, solve: Solver) -> Tensor:
    """(B, h, w) x or y, at -1 and 1 on the first and last column or row."""
    axis = 2 - which
    count = targets.shape[axis]
    even = even_positions(count, device=targets.device, dtype=targets.dtype)
    even = even if axis == 2 else even[:, None]
    if count < 3:
        return even.expand(targets.shape[:3])
    wanted = (targets[..., which] - even).narrow(axis, 1, count - 2)
    with torch.autocast(targets.device.type, enabled=False):
        change = solve(wanted, ("free", "fixed") if axis == 2 else ("fixed", "free"), smoothness)
    return even + torch.nn.functional.pad(change, (1, 1) if axis == 2 else (0, 0, 1, 1))


def _solve_reference(wanted: Tensor, kinds: tuple[str, str], smoothness: float) -> Tensor:
    """(B, n, m) (I + lambda L)^-1 of ``wanted``, each axis "fixed" between zeros or "free"."""
    down, low = _modes(kinds[0], wanted.shape[1], wanted.device, wanted.dtype)
    across, high = _modes(kinds[1], wanted.shape[2], wanted.device, wanted.dtype)
    spectrum = down.T @ wanted @ across
    return down @ (spectrum / (1 + smoothness * (low[:, None] + high))) @ across.T


def _solve_compiled(wanted: Tensor, kinds: tuple[str, str], smoothness: float) -> Tensor:
    """The same, by a tridiagonal system along the longer axis for each mode of the shorter."""
    wide = wanted.shape[1] < wanted.shape[2]
    lines = wanted.mT if wide else wanted
    along, across = reversed(kinds) if wide else kinds
    modes, eigenvalues = _modes(across, lines.shape[2], wanted.device, wanted.dtype)
    changes = torch.empty_like(wanted)
    for image, change in zip(lines, changes, strict=True):
        spectrum = image @ modes
        sweep(spectrum.numpy(), eigenvalues.numpy(), smoothness, along == "fixed")
        torch.mm(spectrum, modes.T, out=change.T if wide else change)
    return changes


@lru_cache(maxsize=32)
def _modes(kind: str, count: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Orthonormal modes (node, mode) of ``count`` nodes in a row, and their eigenvalues of L.

    Args:
        kind: "fixed", between two nodes held at 0 (sines, DST-I), or "free" (cosines, DCT-II).
        count: nodes, the held ones left out.
        device, dtype: of the tensors.
    """
    node = np.arange(count)
    if kind == "fixed":
        frequency = (node + 1) / (count + 1)
        matrix = np.sin(math.pi * np.outer(node + 1, frequency)) * math.sqrt(2 / (count + 1))
    else:
        frequency = node / count
        matrix = np.cos(math.pi * np.outer(node + 0.5, frequency)) * math.sqrt(2 / count)
        matrix[:, 0] = math.sqrt(1 / count)
    eigenvalues = 2 - 2 * np.cos(math.pi * frequency)
    return constant(matrix, device, dtype), constant(eigenvalues, device, dtype)
