"""Shared checks of arguments: each returns what it checked, or says what was given and the way out."""

from __future__ import annotations

import operator
from numbers import Real

import torch
from torch import Tensor

from saccade.errors import InvalidInput

RANGE_SLACK = 1e-4
"""How far outside [-1, 1] a grid may lie from rounding alone."""

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16)


def require_tensor(value: object, name: str, expected: str) -> Tensor:
    """``value``, when it is a tensor.

    Raises:
        InvalidInput: when it is something else, a numpy array for example.
    """
    if not isinstance(value, Tensor):
        fix = "convert it with torch.from_numpy" if type(value).__module__ == "numpy" else ""
        raise InvalidInput(name, f"a tensor {expected}", f"a {type(value).__name__}", fix)
    return value


def require_grid(grid: Tensor, batch: int | None = None, name: str = "grid") -> Tensor:
    """``grid``, when it is (B, h, w, 2) floating, finite and within [-1, 1] (1e-4 of rounding allowed).

    Args:
        grid: (B, h, w, 2), last axis (x, y).
        batch: the B that goes with the other arguments; None takes any.
        name: what the caller calls it.

    Raises:
        InvalidInput: for a wrong type, rank, axis, batch, an empty side, NaN, or a value outside the range.
    """
    shape = f"(B={'any' if batch is None else batch}, h, w, 2)"
    require_tensor(grid, name, f"of shape {shape}")
    if grid.ndim != 4 or grid.shape[-1] != 2 or batch not in (None, grid.shape[0]) or 0 in grid.shape:
        raise InvalidInput(name, f"of shape {shape} with no side of zero", tuple(grid.shape))
    if not grid.is_floating_point():
        raise InvalidInput(name, "floating point", grid.dtype, "convert it with .float()")
    low, high = value_range(grid)
    if not (low >= -1 - RANGE_SLACK and high <= 1 + RANGE_SLACK):
        fix = "clamp it, or convert pixels p of a side of S with 2 * p / (S - 1) - 1"
        raise InvalidInput(name, "finite and within [-1, 1]", f"values from {low:.6g} to {high:.6g}", fix)
    return grid


def require_density(density: Tensor) -> Tensor:
    """``density``, when it is (B, 1, h, w) floating, finite and nowhere negative.

    Raises:
        InvalidInput: for a wrong type, rank, number of channels, an empty side, NaN, infinity or a negative.
    """
    require_tensor(density, "density", "of shape (B, 1, h, w)")
    if density.ndim != 4 or density.shape[1] != 1 or 0 in density.shape:
        raise InvalidInput("density", "of shape (B, 1, h, w) with no side of zero", tuple(density.shape))
    if not density.is_floating_point():
        raise InvalidInput("density", "floating point", density.dtype, "convert it with .float()")
    low, high = value_range(density)
    if not (low >= 0 and high < float("inf")):
        got = f"values from {low:.6g} to {high:.6g}"
        raise InvalidInput("density", "finite and >= 0", got, "pass it through a softmax or a softplus")
    return density


def value_range(values: Tensor) -> tuple[float, float]:
    """Smallest and largest of ``values``, both NaN where any is.

    On the CPU by numpy, on one thread: waking torch's threads for so little costs milliseconds while other
    programs keep the cores busy.
    """
    values = values.detach()
    if values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64):
        array = values.numpy()
        return float(array.min()), float(array.max())
    low, high = values.aminmax()
    return low.item(), high.item()


def require_labels(labels: Tensor, name: str = "labels") -> Tensor:
    """``labels``, when it is (B, H, W) of an integer type.

    Raises:
        InvalidInput: for a wrong type or rank, or an empty side.
    """
    require_tensor(labels, name, "of shape (B, H, W)")
    if labels.ndim != 3 or 0 in labels.shape:
        raise InvalidInput(name, "of shape (B, H, W) with no side of zero", tuple(labels.shape))
    if labels.dtype not in _INTEGERS:
        fix = "labels are class numbers: convert with .long()"
        raise InvalidInput(name, "of an integer type", labels.dtype, fix)
    return labels


def require_finite_number(value: object, name: str, maximum: float = float("inf")) -> float:
    """``value`` as a finite float from 0 to ``maximum``.

    Raises:
        InvalidInput: when it is no number, not finite, negative, or above ``maximum``.
    """
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else -1.0
    if not 0 <= number <= maximum or number == float("inf"):
        above = "" if maximum == float("inf") else f" and at most {maximum:g}"
        raise InvalidInput(name, f"a finite number of at least 0{above}", repr(value))
    return number


def require_ignore_index(value: object) -> int | None:
    """The class to ignore, or None where there is none.

    Raises:
        InvalidInput: when it is neither None nor a whole number.
    """
    if value is None:
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidInput("ignore_index", "a whole number or None", repr(value)) from None
