"""Puts the scores of overlapping patches on a lattice back onto the pixels of the image, band by band."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saccade.errors import InvalidInput, nearest_name
from saccade.warp.bands import run_bands
from saccade.inference.mosaic_kernels import NOTHING
from saccade.warp.patchwork_kernels import added

WINDOWS = ("smooth", "uniform")


def patchwork(
    patches: Tensor,
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    field: tuple[float, float],
    band: tuple[int, int],
    width: int,
    *,
    window: str = "smooth",
    shares: bool = False,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Labels of a band of rows: the class of the highest weighted sum of the patches that cover a pixel.

    Patch (i, j) covers the pixels within half a field of (rows[i], columns[j]); its scores lie in the middle
    of h x w equal cells of the field and are interpolated linearly between them (beyond the outermost, those
    alone). ``smooth`` weighs them by the product of cos^2 along both axes, from 1 in the middle of a field to
    0.001 at its edge; ``uniform`` all alike. The sum over the patches runs in their order, so a pixel does
    not depend on the band.

    Args:
        patches: (R, C, h, w, K) float32, shares of the classes; K up to 255.
        rows, columns: (R,), (C,) float64 pixel coordinates of the middles, rising.
        field: (rows, columns) in pixels that a patch covers.
        band: (top, bottom) rows of the image; every patch that covers one of them must be given.
        width: W of the image.
        window: "smooth" or "uniform".
        shares: return the mean shares too.

    Returns:
        labels (bottom - top, W) uint8, the lowest of equal classes, 255 where there is no patch; and the
        shares (bottom - top, W, K) uint8, of 255, or None.

    Raises:
        InvalidInput: for another window, or more than 255 classes.
    """
    if window not in WINDOWS:
        raise InvalidInput("window", " or ".join(WINDOWS), repr(window), nearest_name(str(window), WINDOWS))
    classes, height = patches.shape[4], band[1] - band[0]
    if classes > NOTHING:
        raise InvalidInput("classes", f"at most {NOTHING}", classes)
    labels = np.empty((height, width), np.uint8)
    mean = np.empty((height if shares else 0, width, classes), np.uint8)
    held = np.ascontiguousarray(patches.float().numpy())
    middles = np.ascontiguousarray(rows, np.float64), np.ascontiguousarray(columns, np.float64)
    run_bands(added, height, band[0], held, middles, field, window == "uniform", labels, mean)
    return labels, mean if shares else None


def patchwork_reference(
    patches: Tensor,
    rows: Sequence[float],
    columns: Sequence[float],
    field: tuple[float, float],
    size: tuple[int, int],
    *,
    window: str = "smooth",
) -> Tensor:
    """The twin: (K, H, W) float64, the mean of the shares of a whole image, in plain PyTorch."""
    down = [_spread(middle, field[0], patches.shape[2], size[0], window) for middle in rows]
    across = [_spread(middle, field[1], patches.shape[3], size[1], window) for middle in columns]
    total = torch.zeros(patches.shape[4], *size, dtype=torch.float64)
    weights = torch.zeros(size, dtype=torch.float64)
    for i, (vertical, high) in enumerate(down):
        for j, (horizontal, wide) in enumerate(across):
            total += vertical @ patches[i, j].double().permute(2, 0, 1) @ horizontal.T
            weights += high[:, None] * wide
    return total / weights


def _spread(middle: float, field: float, cells: int, pixels: int, window: str) -> tuple[Tensor, Tensor]:
    """(pixels, cells) weighted interpolation along an axis, and (pixels,) the weights."""
    offset = (torch.arange(pixels, dtype=torch.float64) - middle) / field
    weight = (offset.abs() <= 0.5 + 1e-12).double()
    if window == "smooth":
        weight = weight * (torch.pi * offset).cos().square().clamp_min(1e-3)
    place = ((offset + 0.5) * cells - 0.5).clamp(0, cells - 1)
    tent = (1 - (place[:, None] - torch.arange(cells)).abs()).clamp_min(0)
    return weight[:, None] * tent, weight
