"""The smoothest grid near given targets: the boundary energy of ICCV 2019, minimised exactly."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from scipy import fft
from torch import Tensor

from saccade.errors import InvalidInput
from saccade.grids.axes import constant
from saccade.grids.energy_kernels import sweep
from saccade.grids.uniform import even_positions
from saccade.grids.validate import require_finite_number, require_tensor, value_range


def boundary_energy_minimiser(targets: Tensor, smoothness: float = 1.0) -> Tensor:
    """The grid phi that minimises the boundary energy under the covering constraints.

    ``sum |phi_ij - b_ij|^2 + lambda sum over pairs of 4-neighbours |phi_ij - phi_i'j'|^2``, each pair once,
    subject to y = -1 and 1 on the first and last row, x = -1 and 1 on the first and last column (ICCV 2019,
    Eq. 2-3). Each coordinate is its own linear system (I + lambda L) phi = b, fixed on two sides and free on
    the others, and what the uniform grid leaves of it has its fixed sides at 0. A cosine transform along the
    free axis leaves one tridiagonal system along the fixed axis for each mode, so the minimum is exact.

    Args:
        targets: (B, h, w, 2) floating, b as (x, y) in [-1, 1].
        smoothness: lambda >= 0.

    Returns:
        (B, h, w, 2) in the type of ``targets`` (float32 for half precision); differentiable. With one row
        (or column) its y (or x) lies at 0: it cannot be on both sides.

    Raises:
        InvalidInput: for targets of the wrong rank, axis or type, or not finite, and for a negative
            smoothness.
    """
    targets, smoothness = _require(targets, smoothness)
    if targets.device.type != "cpu" or (torch.is_grad_enabled() and targets.requires_grad):
        return _minimise(targets, smoothness)
    grid = torch.empty(targets.shape, dtype=targets.dtype)
    for wanted, found in zip(targets.detach().numpy(), grid.numpy(), strict=True):
        found[..., 0] = _coordinate_compiled(wanted[..., 0].T, smoothness).T
        found[..., 1] = _coordinate_compiled(wanted[..., 1], smoothness)
    return grid


def boundary_energy_minimiser_reference(targets: Tensor, smoothness: float = 1.0) -> Tensor:
    """:func:`boundary_energy_minimiser` in PyTorch, on any device: its twin, and what gradients take.

    Sines diagonalise the fixed axis and cosines the free one, both as matrices.
    """
    return _minimise(*_require(targets, smoothness))


def _require(targets: Tensor, smoothness: float) -> tuple[Tensor, float]:
    require_tensor(targets, "targets", "of shape (B, h, w, 2)")
    if targets.ndim != 4 or targets.shape[-1] != 2 or 0 in targets.shape or not targets.is_floating_point():
        got = f"{tuple(targets.shape)} of {targets.dtype}"
        raise InvalidInput("targets", "of shape (B, h, w, 2) with no side of zero, floating point", got)
    low, high = value_range(targets)
    if not -math.inf < low <= high < math.inf:
        raise InvalidInput("targets", "finite", f"values from {low:.6g} to {high:.6g}")
    smoothness = require_finite_number(smoothness, "smoothness")
    return targets.to(torch.promote_types(targets.dtype, torch.float32)), smoothness


def _coordinate_compiled(target: np.ndarray, smoothness: float) -> np.ndarray:
    """(n, m) one coordinate, at -1 and 1 on the first and last of n, free on both sides of m."""
    even = even_positions(len(target), dtype=torch.float64).numpy()[:, None].astype(target.dtype)
    solution = np.empty_like(target, order="C")
    solution[:] = even
    if len(target) > 2:
        change = fft.dct(target[1:-1] - even[1:-1], axis=1, norm="ortho", overwrite_x=True)
        sweep(change, _eigenvalues(np.arange(target.shape[1]) / target.shape[1]), smoothness)
        solution[1:-1] += fft.idct(change, axis=1, norm="ortho", overwrite_x=True)
    return solution


def _minimise(targets: Tensor, smoothness: float) -> Tensor:
    with torch.autocast(targets.device.type, enabled=False):
        x, y = _coordinate(targets[..., 0].mT, smoothness).mT, _coordinate(targets[..., 1], smoothness)
        return torch.stack([x, y], dim=-1)


def _coordinate(target: Tensor, smoothness: float) -> Tensor:
    """(B, n, m) one coordinate, at -1 and 1 on the first and last of n, free on both sides of m."""
    fixed, free = target.shape[1:]
    even = even_positions(fixed, device=target.device, dtype=target.dtype)[:, None]
    if fixed < 3:
        return even.expand_as(target)
    sines, low = _modes("fixed", fixed - 2, target.device, target.dtype)
    cosines, high = _modes("free", free, target.device, target.dtype)
    spectrum = sines.T @ (target - even)[:, 1:-1] @ cosines
    change = sines @ (spectrum / (1 + smoothness * (low[:, None] + high))) @ cosines.T
    return even + torch.nn.functional.pad(change, (0, 0, 1, 1))


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
    return constant(matrix, device, dtype), constant(_eigenvalues(frequency), device, dtype)


def _eigenvalues(frequency: np.ndarray) -> np.ndarray:
    return 2 - 2 * np.cos(math.pi * frequency)
