"""Smooth random fields, the raw material of the program's own scenes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.float32]


def smooth_field(rng: np.random.Generator, size: tuple[int, int], cells: float) -> Field:
    """(H, W): random values on a raster with ``cells`` rows, interpolated; mean about 0, spread about 1."""
    height, width = size
    rows = max(2, min(height, round(cells) + 2))
    columns = max(2, min(width, round(cells * width / height) + 2))
    coarse = Image.fromarray(rng.standard_normal((rows, columns), np.float32))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)


def fractal_field(rng: np.random.Generator, size: tuple[int, int], cells: float, octaves: int) -> Field:
    """(H, W): a sum of smooth fields, each twice as fine and half as strong as the one before."""
    field = np.zeros(size, np.float32)
    for octave in range(octaves):
        field += smooth_field(rng, size, cells * 2**octave) * np.float32(0.5**octave)
    return field
