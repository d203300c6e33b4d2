"""Any samples as 8-bit red, green and blue, by one documented rule, window by window."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from saccade.errors import FileProblem, InvalidInput
from saccade.geometry import Window
from saccade.rasters.bands import look_windows
from saccade.rasters.open import open_raster
from saccade.rasters.raster import Raster, RasterInfo

DARK = 16


def to_rgb(pixels: np.ndarray, info: RasterInfo, limits: tuple[float, float]) -> np.ndarray:
    """Samples (h, w, C) of a raster as (h, w, 3) uint8.

    ``limits`` (low, high) become 0 and 255, linearly, rounded, values beyond clipped, NaN 0. Palettes are
    expanded, grey is repeated, opacity and bands after the third are left out, CMYK is (1 - ink)(1 - key).
    Colours that are stored multiplied by their opacity are divided by it; colours with an ICC profile that is
    not sRGB's are converted to sRGB.
    """
    used = list(colour_channels(info))
    if info.meaning == "palette" and info.palette is not None:
        table = np.zeros((max(256, int(pixels.max(initial=0)) + 1), 3), np.uint8)
        table[: len(info.palette)] = info.palette[: len(table)]
        return table[pixels[..., used[0]]]
    colours = pixels[..., : len(used)] if used == list(range(len(used))) else pixels[..., used]
    if info.premultiplied:
        colours = _divided(colours, pixels[..., info.opacity, None], info.white)
    bytes_ = to_bytes(colours, limits)
    if info.meaning == "white_is_zero":
        bytes_ = 255 - bytes_
    if info.meaning == "cmyk":
        ink = 255 - bytes_.astype(np.uint16)
        bytes_ = ((ink[..., :3] * ink[..., 3:] + 127) // 255).astype(np.uint8)
    bytes_ = np.repeat(bytes_, 3, axis=2) if bytes_.shape[2] == 1 else bytes_
    bytes_ = np.ascontiguousarray(bytes_)
    return bytes_ if info.profile is None else in_srgb(bytes_, info.profile)


def _divided(colours: np.ndarray, opacity: np.ndarray, white: float | None) -> np.ndarray:
    """Colours (h, w, n) without the factor of their opacity (h, w, 1); 8 bits are cut off as Pillow does."""
    full = 1.0 if white is None else white
    straight = colours * (full / np.where(opacity > 0, opacity, np.inf))
    if colours.dtype.kind == "f":
        return straight
    return np.minimum(np.floor(straight + 1e-9), full).astype(colours.dtype)


NEAR_SRGB = 3


def in_srgb(colours: np.ndarray, profile: bytes) -> np.ndarray:
    """Colours (h, w, 3) uint8 of an ICC profile in sRGB, relative colorimetric, by littlecms."""
    transform = _to_srgb(profile)
    if transform is None:
        return colours
    height, width, _ = colours.shape
    image = ImageCms.applyTransform(Image.fromarray(colours), transform)
    return np.asarray(image).reshape(height, width, 3).copy()


@lru_cache(maxsize=16)
def _to_srgb(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """The transform; None where it changes no colour by more than ``NEAR_SRGB`` of 255: that is sRGB itself,
    and its pixels stay as they are. A profile that littlecms does not read changes nothing either."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space.strip() != "RGB":
            return None
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            "RGB",
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
        lattice = np.stack(np.meshgrid(*[np.arange(0, 256, 51).astype(np.uint8)] * 3), -1).reshape(6, 36, 3)
        moved = np.asarray(ImageCms.applyTransform(Image.fromarray(lattice), transform))
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    changed = np.abs(moved.astype(int) - lattice).max()
    return transform if changed > NEAR_SRGB else None


def to_bytes(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """``low`` to 0, ``high`` to 255, rounded to nearest."""
    low, high = limits
    if values.dtype == np.uint8 and (low, high) == (0.0, 255.0):
        return values
    with np.errstate(invalid="ignore", over="ignore"):  # signalling NaN, and what overflows is clipped
        scaled = np.subtract(values, low, dtype=np.float32 if values.dtype.itemsize < 4 else np.float64)
        scaled *= 255.0 / (high - low)
    np.clip(np.nan_to_num(scaled, copy=False, nan=0.0), 0, 255, out=scaled)
    return np.rint(scaled, out=scaled).astype(np.uint8)


def colour_channels(info: RasterInfo) -> tuple[int, ...]:
    """The channels that make the colours: one (grey), three, or four (CMYK)."""
    if info.colours:
        return info.colours
    if info.meaning == "cmyk":
        return 0, 1, 2, 3
    return (0, 1, 2) if info.channels - info.alpha >= 3 else (0,)


def value_limits(info: RasterInfo, values: np.ndarray) -> tuple[float, float]:
    """The values that mean black and white: 0 and full scale for integers.

    Floats are taken as 0 to 1 where at least ``NEARLY_ALL`` of the values other than 0 are at most 1.5, else
    as 0 to 255 where as many are at most 255, so that no single pixel decides; ``values`` is the same sample
    of the image whoever asks (``as_rgb``).

    Raises:
        FileProblem: floats that are mostly above 255, or of which many lie clearly below 0.
    """
    if info.white is not None:
        return 0.0, float(info.white)
    values = values[np.isfinite(values) & (values != 0)]
    if not values.size:
        return 0.0, 1.0
    low, high = np.quantile(values, [1 - NEARLY_ALL, NEARLY_ALL]).tolist()
    white = 1.0 if high <= OVEREXPOSED else 255.0
    if high > 255 or low < -UNDEREXPOSED * white:
        raise FileProblem(
            info.path,
            "float samples in 0 to 1 or 0 to 255",
            f"{values.min():g} to {values.max():g}",
            "name the values of black and white (value_range)",
        )
    return 0.0, white


NEARLY_ALL = 0.95
OVEREXPOSED = 1.5
UNDEREXPOSED = 0.05


def colour_notices(info: RasterInfo, values: np.ndarray, limits: tuple[float, float]) -> tuple[str, ...]:
    """What ``to_rgb`` left out or changed, one line each."""
    notices = []
    used = len(colour_channels(info))
    if info.alpha:
        notices.append("alpha dropped")
    if info.premultiplied:
        notices.append("colours divided by the alpha that they were multiplied by")
    if info.channels - info.alpha > used:
        named = "the first three bands as red, green, blue" if used == 3 else "the first band as grey"
        if info.meaning == "rgb":
            named = "those named red, green and blue"
        notices.append(f"{info.channels - info.alpha} bands: {named}")
    if info.meaning == "cmyk":
        notices.append("CMYK converted to RGB without a colour profile")
    if info.profile is not None and _to_srgb(info.profile) is not None:
        notices.append("converted to sRGB by its ICC profile")
    if info.dtype != np.uint8 and info.meaning != "palette":
        scale = f"{info.dtype} scaled to 8 bits: {limits[0]:g} to {limits[1]:g} became 0 to 255"
        notices.append(f"{scale} in {info.path.name}" if info.white is None else scale)
        highest = float(np.fmax.reduce(values, axis=None)) if values.size else 0.0  # fmax passes over NaN
        if info.white is None and not np.isfinite(values).any():
            notices.append("no value is a number: all are taken as 0")
        if 0 < highest < limits[1] / DARK:
            notices.append(
                f"very dark: no value above {highest:g}; name the values of black and white (value_range)"
            )
    return tuple(notices)


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
        self._same &= limits == (0.0, 255.0) and raster.info.profile is None
        self._same &= colour_channels(raster.info) == (0, 1, 2)
        super().__init__(
            raster.info.as_handed_out(
                dtype=np.dtype(np.uint8),
                channels=3,
                meaning="rgb",
                white=255.0,
                masked=raster.has_gaps(),
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
    """``raster`` as 8-bit RGB. Floats are looked at once, on the coarsest level or in nine windows of it, to
    tell whether they run from 0 to 1 or from 0 to 255 (``value_limits``).

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
    windows = look_windows(raster.levels[number].size)
    used = list(colour_channels(raster.info))
    seen = [raster.read(w, number)[..., used][raster.valid(w, number)] for w in windows]
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
    (or 0 to 255: ``value_limits``). ``value_range`` (black, white) overrides it.

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
    with as_rgb(open_raster(path, place=False), value_range=value_range) as raster:
        return RGB(raster.read(), raster.notices)


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
