"""Any samples as 8-bit red, green and blue, by one documented rule, window by window."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from saccade.errors import FileProblem, InvalidInput
from saccade.geometry import Window
from saccade.rasters.open import open_raster
from saccade.rasters.raster import Raster, RasterInfo

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
    no value of ``values`` (a whole image or its thumbnail) lies outside it, else as 0 to 255.

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


LOOK = 1 << 22


class RGBRaster(Raster):
    """What networks trained on photographs take: (h, w, 3) uint8, by the rule of ``read_rgb``.

    ``limits`` are the values of black and white. Closing it closes the raster beneath.

    Examples:
        >>> import numpy as np
        >>> from PIL import Image
        >>> from saccade.rasters import as_rgb, open_raster
        >>> Image.fromarray(np.full((4, 6), 9, np.uint8)).save("grey.png")
        >>> with as_rgb(open_raster("grey.png")) as rgb:
        ...     print(rgb.read().shape)
        (4, 6, 3)
    """

    def __init__(self, raster: Raster, limits: tuple[float, float], notices: tuple[str, ...]) -> None:
        self._raster, self.limits = raster, limits
        self._same = raster.info.meaning == "rgb" and raster.channels == 3 and raster.dtype == np.uint8
        self._same = self._same and limits == (0.0, 255.0)
        super().__init__(
            replace(
                raster.info,
                dtype=np.dtype(np.uint8),
                channels=3,
                meaning="rgb",
                white=255.0,
                alpha=False,
                palette=None,
                nodata=None,
                notices=notices,
            )
        )

    def _read(self, window: Window, level: int) -> np.ndarray:
        pixels = self._raster.read(window, level)
        return pixels if self._same else to_rgb(pixels, self._raster.info, self.limits)

    def _valid(self, window: Window, level: int) -> np.ndarray:
        return self._raster.valid(window, level)

    def close(self) -> None:
        self._raster.close()


def as_rgb(raster: Raster, *, value_range: tuple[float, float] | None = None) -> RGBRaster:
    """``raster`` as 8-bit RGB. Floats are looked at once, on the coarsest level or in a few windows, to tell
    whether they run from 0 to 1 or from 0 to 255.

    Raises:
        InvalidInput: value_range is not (low, high) with low < high.
        FileProblem: floats outside 0 to 255.

    Examples:
        >>> import numpy as np
        >>> from PIL import Image
        >>> from saccade.rasters import as_rgb, open_raster
        >>> Image.fromarray(np.full((4, 6), 257 * 9, np.uint16)).save("grey16.png")
        >>> with as_rgb(open_raster("grey16.png")) as rgb:
        ...     print(rgb.read()[0, 0].tolist())
        [9, 9, 9]
    """
    if value_range is not None and not value_range[0] < value_range[1]:
        raise InvalidInput("value_range", "(low, high) with low < high", value_range)
    values = np.empty(0)
    if raster.dtype != np.uint8 and raster.info.meaning != "palette":
        values = _look(raster)
    limits = value_range or value_limits(raster.info, values)
    return RGBRaster(raster, limits, (*raster.notices, *colour_notices(raster.info, values, limits)))


def _look(raster: Raster) -> np.ndarray:
    """Colour values of the coarsest level, or of nine windows of it where it is large."""
    number = len(raster.levels) - 1
    height, width = raster.levels[number].size
    if height * width <= LOOK:
        windows = [Window.full((height, width))]
    else:
        rows, columns = min(height, 256), min(width, 256)
        tops = [(height - rows) * i // 2 for i in range(3)]
        lefts = [(width - columns) * i // 2 for i in range(3)]
        windows = [Window(t, t + rows, x, x + columns) for t in tops for x in lefts]
    used = colour_channels(raster.info)
    seen = [raster.read(w, number)[..., :used][raster.valid(w, number)] for w in windows]
    return np.concatenate(seen)


@dataclass(frozen=True)
class RGB:
    """``array`` (H, W, 3) uint8, and what was dropped or changed to get it, one line each.

    Examples:
        >>> import numpy as np
        >>> from PIL import Image
        >>> from saccade.rasters import read_rgb
        >>> Image.fromarray(np.zeros((4, 6, 4), np.uint8)).save("alpha.png")
        >>> read_rgb("alpha.png").notices
        ('alpha dropped',)
    """

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

    Examples:
        >>> import numpy as np
        >>> from PIL import Image
        >>> from saccade.rasters import read_rgb
        >>> Image.fromarray(np.full((4, 6), 9, np.uint8)).save("grey.png")
        >>> read_rgb("grey.png").array[0, 0].tolist()
        [9, 9, 9]
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

    Examples:
        >>> import numpy as np
        >>> from PIL import Image
        >>> from saccade.rasters import image_size
        >>> Image.new("RGB", (640, 480)).save("photo.jpg")
        >>> image_size("photo.jpg")
        (480, 640)
    """
    with open_raster(path, place=False) as raster:
        return raster.size
