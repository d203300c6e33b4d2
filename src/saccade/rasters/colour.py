"""Any samples as 8-bit red, green and blue, by one documented rule."""

from __future__ import annotations

import numpy as np

from saccade.errors import FileProblem
from saccade.rasters.raster import RasterInfo

DARK = 16


def to_rgb(pixels: np.ndarray, info: RasterInfo, limits: tuple[float, float]) -> np.ndarray:
    """Samples (h, w, C) of a raster as (h, w, 3) uint8.

    ``limits`` (low, high) become 0 and 255, linearly, rounded, values beyond clipped, NaN 0. Palettes are
    expanded, grey is repeated, opacity and bands after the third are left out, CMYK is (1 - ink)(1 - key).
    """
    if info.meaning == "palette" and info.palette is not None:
        table = np.zeros((max(256, int(pixels.max(initial=0)) + 1), 3), np.uint8)
        table[: len(info.palette)] = info.palette[: len(table)]
        return table[pixels[..., 0]]
    colours = pixels[..., : colour_channels(info)]
    bytes_ = to_bytes(colours, limits)
    if info.meaning == "white_is_zero":
        bytes_ = 255 - bytes_
    if info.meaning == "cmyk":
        ink = 255 - bytes_.astype(np.uint16)
        bytes_ = ((ink[..., :3] * ink[..., 3:] + 127) // 255).astype(np.uint8)
    bytes_ = np.repeat(bytes_, 3, axis=2) if bytes_.shape[2] == 1 else bytes_
    return np.ascontiguousarray(bytes_)


def to_bytes(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """``low`` to 0, ``high`` to 255, rounded to nearest."""
    low, high = limits
    if values.dtype == np.uint8 and (low, high) == (0.0, 255.0):
        return values
    scaled = np.subtract(values, low, dtype=np.float32 if values.dtype.itemsize < 4 else np.float64)
    scaled *= 255.0 / (high - low)
    np.clip(np.nan_to_num(scaled, copy=False, nan=0.0), 0, 255, out=scaled)
    return np.rint(scaled, out=scaled).astype(np.uint8)


def colour_channels(info: RasterInfo) -> int:
    """How many of the channels make the colours: 1 (grey), 3, or 4 (CMYK)."""
    if info.meaning == "cmyk":
        return 4
    return 3 if info.channels - info.alpha >= 3 else 1


def value_limits(info: RasterInfo, values: np.ndarray) -> tuple[float, float]:
    """The values that mean black and white: 0 and full scale for integers; floats are taken as 0 to 1 where
    no value of ``values`` (a whole image or its overview) lies outside it, else as 0 to 255.

    Raises:
        FileProblem: floats outside 0 to 255.
    """
    if info.white is not None:
        return 0.0, float(info.white)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if low < 0 or high > 255:
        raise FileProblem(
            info.path,
            "float samples in 0 to 1 or 0 to 255",
            f"{low:g} to {high:g}",
            "name the values of black and white (value_range)",
        )
    return (0.0, 1.0) if high <= 1 else (0.0, 255.0)


def colour_notices(info: RasterInfo, values: np.ndarray, limits: tuple[float, float]) -> tuple[str, ...]:
    """What ``to_rgb`` left out or changed, one line each."""
    notices = []
    used = colour_channels(info)
    if info.alpha:
        notices.append("alpha dropped")
    if info.channels - info.alpha > used:
        named = "the first three bands as red, green, blue" if used == 3 else "the first band as grey"
        notices.append(f"{info.channels - info.alpha} bands: {named}")
    if info.meaning == "cmyk":
        notices.append("CMYK converted to RGB without a colour profile")
    if info.dtype != np.uint8:
        notices.append(f"{info.dtype} scaled to 8 bits: {limits[0]:g} to {limits[1]:g} became 0 to 255")
        highest = float(np.fmax.reduce(values, axis=None)) if values.size else 0.0  # fmax passes over NaN
        if np.isnan(highest):
            notices.append("no value is a number: all are taken as 0")
        if 0 < highest < limits[1] / DARK:
            notices.append(
                f"very dark: no value above {highest:g}; name the values of black and white (value_range)"
            )
    return tuple(notices)
