"""Whole images as 8-bit RGB, for networks that were trained on photographs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from saccade.errors import InvalidInput
from saccade.rasters.colour import colour_channels, colour_notices, to_rgb, value_limits
from saccade.rasters.open import open_raster


@dataclass(frozen=True)
class RGB:
    """``array`` (H, W, 3) uint8, and what was dropped or changed to get it, one line each."""

    array: np.ndarray
    notices: tuple[str, ...] = ()


def read_rgb(path: Path | str, *, value_range: tuple[float, float] | None = None) -> RGB:
    """Read a whole image as it is shown: EXIF orientation applied, (H, W, 3) uint8.

    Grey is repeated in three channels, palettes are expanded, alpha and bands after the third are dropped
    with a notice. Other types are scaled to 8 bits by a rule that does not depend on the image: integers by
    their full scale (16 bits: round(v / 257); the file's own bit depth where it says 12), floats from 0 to 1
    (or 0 to 255 where a value is above 1). ``value_range`` (black, white) overrides it.

    Raises:
        FileProblem: missing, empty, damaged, unknown format, or floats outside 0 to 255.
        InvalidInput: value_range is not (low, high) with low < high.
    """
    with open_raster(path, place=False) as raster:
        info = raster.info
        pixels = raster.read()
    if value_range is not None and not value_range[0] < value_range[1]:
        raise InvalidInput("value_range", "(low, high) with low < high", value_range)
    colours = pixels[..., : colour_channels(info)]
    limits = value_range or value_limits(info, colours)
    return RGB(to_rgb(pixels, info, limits), (*info.notices, *colour_notices(info, colours, limits)))


def image_size(path: Path | str) -> tuple[int, int]:
    """(H, W) of an image as it is shown, without decoding it.

    Raises:
        FileProblem: as ``open_raster``.
    """
    with open_raster(path, place=False) as raster:
        return raster.size
