"""Halving: class indices by the most frequent of four, other values by their mean."""

from __future__ import annotations

import numpy as np

from saccade.compiled import kernel
from saccade.rasters.output import Kind


def halve(pixels: np.ndarray, kind: Kind) -> np.ndarray:
    """(h, w) to (ceil(h / 2), ceil(w / 2)); an odd last row or column stands for itself twice."""
    if any(side % 2 for side in pixels.shape):
        pixels = np.pad(pixels, [(0, side % 2) for side in pixels.shape], mode="edge")
    if kind == "labels":
        out = np.empty((pixels.shape[0] // 2, pixels.shape[1] // 2), pixels.dtype)
        _most_frequent(np.ascontiguousarray(pixels), out)
        return out
    mean = pixels.reshape(pixels.shape[0] // 2, 2, -1, 2).mean((1, 3), dtype=np.float32)
    return (np.rint(mean) if pixels.dtype.kind in "ui" else mean).astype(pixels.dtype)


@kernel
def _most_frequent(pixels, out):
    """Of each 2 x 2 block the value that occurs most; of equally frequent ones the first in reading order."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            a, b = pixels[2 * i, 2 * j], pixels[2 * i, 2 * j + 1]
            c, d = pixels[2 * i + 1, 2 * j], pixels[2 * i + 1, 2 * j + 1]
            best = a
            if a != b and a != c and a != d:
                if b in (c, d):
                    best = b
                elif c == d:
                    best = c
            out[i, j] = best
