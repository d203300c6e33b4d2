"""Levels of a pyramid, each halved from the one below; torch is not needed."""

from __future__ import annotations

import numpy as np

from saccade.warp._pyramid_kernels import halve


def rounding(dtype: np.dtype, level: int) -> tuple[np.generic, np.ndarray]:
    """What ``halve`` adds to a sum of four before it cuts, and the type of its sums of two."""
    if dtype == np.uint8:
        return np.uint16(2 if level % 2 == 0 else 1), np.empty(0, np.uint16)
    kind = np.float64 if dtype == np.float64 else np.float32
    return kind(0), np.empty(0, kind)


def halvings(pixels: np.ndarray, full: tuple[int, int], level: int, last: int) -> list[np.ndarray]:
    """Levels ``level`` to ``last`` of a pyramid from its level ``level`` alone, on the calling thread.

    A level is the same to the bit whether it is made of the whole image or, window by window, of windows that
    begin at multiples of 2^last pixels and end there or at the border of the image.

    Args:
        pixels: (h, w, C) of that level, contiguous; uint8, float32 or float64.
        full: (H, W) of the image, or window, that ``pixels`` are a level of.
        level, last: numbers of levels, ``level`` at most ``last``.
    """
    channels = pixels.shape[2]
    levels = [pixels]
    for number in range(level + 1, last + 1):
        below = levels[-1]
        rows, columns = (((side - 1) >> number) + 1 for side in full)
        out = np.empty((rows, columns, channels), pixels.dtype)
        arguments = (below.reshape(-1), strides_of(*below.shape), out.reshape(-1), (*full, channels), number)
        halve(0, rows, *arguments, *rounding(pixels.dtype, number))
        levels.append(out)
    return levels


def strides_of(rows: int, columns: int, channels: int) -> np.ndarray:
    row = columns * channels
    return np.array([rows * row, row, channels, 1], np.int64)
