"""The one protocol of every image on disk: sizes, levels, units, orientation, and ``read(window, level)``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

import numpy as np

from saccade.errors import FileProblem, FinalProblem, InvalidInput
from saccade.geometry import Window
from saccade.rasters.claims import require_honest_pieces
from saccade.runtime.memory import physical_memory

T = TypeVar("T")
# tag: (flip stored rows, flip stored columns, then swap axes)
_STEPS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (True, True, False),
    4: (True, False, False),
    5: (False, False, True),
    6: (True, False, True),
    7: (True, True, True),
    8: (False, True, True),
}


def orient(array: np.ndarray, tag: int) -> np.ndarray:
    """A stored image (h, w, ...) as it is shown; a view, no copy. Unknown tags mean 1, as viewers do."""
    rows, columns, swap = _STEPS.get(tag, _STEPS[1])
    array = array[:: -1 if rows else 1, :: -1 if columns else 1]
    return array.swapaxes(0, 1) if swap else array


def oriented_pair(pair: tuple[T, T], tag: int) -> tuple[T, T]:
    """A (rows, columns) pair of the stored image, as shown."""
    return (pair[1], pair[0]) if _STEPS.get(tag, _STEPS[1])[2] else pair


def stored_window(window: Window, shown: tuple[int, int], tag: int) -> Window:
    """The stored rectangle whose oriented pixels are ``window`` of an image shown as ``shown`` (H, W)."""
    rows, columns, swap = _STEPS.get(tag, _STEPS[1])
    top, bottom, left, right = window.top, window.bottom, window.left, window.right
    height, width = shown
    if swap:
        top, bottom, left, right, height, width = left, right, top, bottom, width, height
    if rows:
        top, bottom = height - bottom, height - top
    if columns:
        left, right = width - right, width - left
    return Window(top, bottom, left, right)


Meaning = Literal["grey", "white_is_zero", "rgb", "cmyk", "palette", "bands"]


@dataclass(frozen=True)
class Level:
    """One resolution of an image: ``size`` (h, w), and how many full-resolution pixels one of its pixels
    spans along y and x (1.0, 1.0 for level 0); ``tile`` (rows, columns) is what one access to the file
    decodes at least.

    Examples:
        >>> from saccade.rasters import Level
        >>> Level.of((250, 500), (1000, 2000), (256, 256)).downsample
        (4.0, 4.0)
    """

    size: tuple[int, int]
    downsample: tuple[float, float]
    tile: tuple[int, int]

    @classmethod
    def of(cls, size: tuple[int, int], full: tuple[int, int], tile: tuple[int, int]) -> Level:
        """The level of an image of ``full`` pixels; a ratio that rounding up or down made uneven is whole."""
        down, across = (_ratio(whole, part) for whole, part in zip(full, size, strict=True))
        return cls(size, (down, across), (min(tile[0], size[0]), min(tile[1], size[1])))


def _ratio(whole: int, part: int) -> float:
    factor = max(1, round(whole / part))
    return float(factor) if part in (whole // factor, -(-whole // factor)) else whole / part


@dataclass(frozen=True)
class PixelSize:
    """The physical size of one pixel of level 0 along y and x, in ``unit``.

    Examples:
        >>> from saccade.rasters import PixelSize
        >>> PixelSize(0.25, 0.25, "micron").microns, PixelSize(2, 2, "metre").metres
        ((0.25, 0.25), (2.0, 2.0))
    """

    y: float
    x: float
    unit: Literal["micron", "metre"]

    def __post_init__(self) -> None:
        if not (0 < self.y < float("inf") and 0 < self.x < float("inf")):
            raise InvalidInput("pixel size", "two positive finite lengths", (self.y, self.x))

    @property
    def metres(self) -> tuple[float, float]:
        factor = 1e-6 if self.unit == "micron" else 1.0
        return self.y * factor, self.x * factor

    @property
    def microns(self) -> tuple[float, float]:
        factor = 1e6 if self.unit == "metre" else 1.0
        return self.y * factor, self.x * factor


@dataclass(frozen=True)
class RasterInfo:
    """What a file says about itself.

    Attributes:
        path: the file or folder.
        levels: level 0 is the full resolution; coarser ones follow, sizes falling.
        dtype: of the samples that ``read`` gives.
        channels: C of ``read``'s (h, w, C).
        bands: the names of the channels, "" where one has none; () where no channel has one.
        meaning: what the channels are; "palette" reads as indices, C = 1, with ``palette`` (N, 3) uint8.
        white: the sample value of full brightness (255, 4095, 1 for black and white); None for floats.
        alpha: one channel is opacity, not colour.
        opacity: which channel that is; the last unless the file says otherwise.
        colours: the channels that are red, green and blue (grey alone; cyan, magenta, yellow and black), in
            this order; () for the first ones.
        premultiplied: colours are stored multiplied by the opacity.
        profile: the ICC profile of the colours where they are not to be taken as sRGB.
        pixel_size: physical size of a pixel of level 0, None where the file does not say.
        crs: coordinate reference system ("EPSG:32632" or WKT), None without one.
        transform: (a, b, c, d, e, f): map x = a col + b row + c, map y = d col + e row + f, with pixel
            corners at whole col and row; None without one.
        nodata: the value that means "nothing was measured here", of the first band.
        nodata_of_bands: the same, one a channel, where bands differ; () where they do not.
        scaling: (scale, offset) of each channel, by which the file says that its samples become reflectances
            or the like (sample * scale + offset); () where it says nothing. They are not applied.
        masked: some pixels may be unmeasured; ``Raster.valid`` tells which. Not set for floats only because
            they may be NaN.
        notices: what a user should know about how the file was taken, one line each.
        resident: bytes that stay in memory once anything was read (formats without windows).
        origin: (x, y) in pixels of level 0 from which viewers of slides count (QuPath: the corner of what was
            scanned).
        background: the value that thumbnails and samples take where nothing was measured.
        folder: whether it is a folder of files (Zarr).

    Examples:
        >>> import numpy as np
        >>> from PIL import Image
        >>> from saccade.rasters import open_raster
        >>> Image.new("RGB", (640, 480)).save("photo.png")
        >>> with open_raster("photo.png") as raster:
        ...     print(raster.info.meaning, raster.info.channels, raster.info.crs)
        rgb 3 None
    """

    path: Path
    levels: tuple[Level, ...]
    dtype: np.dtype
    channels: int
    meaning: Meaning
    white: float | None = None
    alpha: bool = False
    opacity: int = -1
    colours: tuple[int, ...] = ()
    premultiplied: bool = False
    profile: bytes | None = None
    palette: np.ndarray | None = None
    pixel_size: PixelSize | None = None
    crs: str | None = None
    transform: tuple[float, float, float, float, float, float] | None = None
    nodata: float | None = None
    nodata_of_bands: tuple[float | None, ...] = ()
    scaling: tuple[tuple[float, float], ...] = ()
    masked: bool = False
    notices: tuple[str, ...] = ()
    resident: int = 0
    origin: tuple[int, int] = (0, 0)
    background: float = 0.0
    bands: tuple[str, ...] = ()
    folder: bool = False

    def as_handed_out(self, **changes: Any) -> RasterInfo:
        """Of another view of the file, whose values mean what ``changes`` say: no opacity, profile, palette,
        nodata value or name of a band of the file is left to be applied to them."""
        of_the_file = {
            "alpha": False, "opacity": -1, "colours": (), "premultiplied": False, "profile": None,
            "palette": None, "nodata": None, "nodata_of_bands": (), "scaling": (), "bands": (),
        }  # fmt: skip
        return replace(self, **{**of_the_file, **changes})


def measured(pixels: np.ndarray, info: RasterInfo, *, by_mask: bool = False) -> np.ndarray:
    """Where samples (h, w, C) of a raster say that something was measured: bool (h, w).

    False where every band holds its nodata value or no finite number, and where opacity is 0. As in GDAL the
    opacity is one of the bands: opaque black is measured although 0 is the nodata value. ``by_mask`` tells
    that a mask goes with the pixels: then a nodata value that is a colour too, such as 0 or 255, is left to
    the mask.
    """
    count = pixels.shape[2]
    nodata = info.nodata_of_bands or (info.nodata,) * count
    valid = np.zeros(pixels.shape[:2], bool)
    for band in range(count):
        value = nodata[band]
        is_colour = value is not None and 0 <= value <= (info.white or 255)
        valid |= ~_is_empty(pixels[..., band], None if by_mask and is_colour else value)
    if info.alpha and count > 1:
        opacity = info.opacity % count
        if pixels.dtype.kind == "f":
            valid &= np.isfinite(np.delete(pixels, opacity, axis=2)).any(axis=2)
        valid &= pixels[..., opacity] > 0
    return valid


def _is_empty(values: np.ndarray, nodata: float | None) -> np.ndarray:
    empty = np.zeros(values.shape, bool) if nodata is None or np.isnan(nodata) else values == nodata
    return empty | ~np.isfinite(values) if values.dtype.kind == "f" else empty


def scaling_of(scales: Sequence[float | None], offsets: Sequence[float | None]) -> dict[str, Any]:
    """The attribute of ``RasterInfo`` for what a file says of each channel, None where it says nothing."""
    each = [
        (1.0 if scale is None else scale, 0.0 if offset is None else offset)
        for scale, offset in zip(scales, offsets, strict=True)
    ]
    return {"scaling": tuple(each) if any(pair != (1.0, 0.0) for pair in each) else ()}


_UNNAMED = ("gray", "undefined", "palette")


def band_names(descriptions: Sequence[str | None], roles: Sequence[str]) -> tuple[str, ...]:
    """The names of bands: what the file calls them, else GDAL's word for their role; () without any."""
    named = tuple((name or "").strip() for name in descriptions) or ("",) * len(roles)
    names = tuple(name or ("" if role in _UNNAMED else role) for name, role in zip(named, roles, strict=True))
    return names if any(names) else ()


_PRIMARIES = ("red", "green", "blue")
_INKS = ("cyan", "magenta", "yellow", "black")
_FOREIGN = {"hue", "saturation", "lightness", "Y", "Cb", "Cr"}


def sample_roles(path: Path, roles: Sequence[str]) -> dict[str, Any]:
    """What the samples are by their roles (GDAL's words for them), as attributes of ``RasterInfo``.

    Raises:
        FinalProblem: the roles are those of a colour space that is not converted.
    """
    if _FOREIGN & set(roles):
        raise FinalProblem(
            path, "grey, RGB, CMYK or palette", f"the colour space {', '.join(roles)}", _CONVERT
        )
    alphas = [channel for channel, role in enumerate(roles) if role == "alpha" and len(roles) > 1]
    rest = [channel for channel in range(len(roles)) if channel not in alphas[-1:]]
    meaning, colours = _colours(roles, rest)
    return {
        "meaning": meaning,
        "colours": colours,
        "alpha": bool(alphas),
        "opacity": alphas[-1] if alphas else -1,
    }


_CONVERT = "convert it to RGB first, for example: gdal_translate, vips colourspace IN OUT srgb"


def _colours(roles: Sequence[str], rest: list[int]) -> tuple[Meaning, tuple[int, ...]]:
    inks: tuple[tuple[Meaning, tuple[str, ...]], ...] = (("rgb", _PRIMARIES), ("cmyk", _INKS))
    for meaning, names in inks:
        if set(names) <= set(roles):
            return meaning, tuple(roles.index(name) for name in names)
    if len(rest) == 1:
        return ("palette" if roles[rest[0]] == "palette" else "grey"), tuple(rest)
    return "bands", tuple(rest[:3] if len(rest) >= 3 else rest[:1])


class Raster(ABC):
    """An image on disk, read window by window; close it, or use it in a ``with`` statement.

    Windows may be read from several threads at once.

    Attributes:
        orientation: 1 to 8 as in EXIF, of the pixels as they are stored; ``read`` gives them upright.

    Examples:
        >>> import numpy as np
        >>> from PIL import Image
        >>> from saccade.rasters import Window, open_raster
        >>> Image.new("L", (640, 480), 7).save("photo.png")
        >>> with open_raster("photo.png") as raster:
        ...     print(raster.read(Window(0, 1, 0, 2)).tolist(), raster.valid(Window(0, 1, 0, 2)).tolist())
        [[[7], [7]]] [[True, True]]
    """

    orientation: int = 1

    def __init__(self, info: RasterInfo, files: Sequence[Path] = ()) -> None:
        """``files``: all that hold its pixels; default the one of its path."""
        levels = [(level.size, level.tile) for level in info.levels]
        require_honest_pieces(info.path, levels, files or (info.path,))
        self.info = info

    @property
    def path(self) -> Path:
        return self.info.path

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of level 0."""
        return self.info.levels[0].size

    @property
    def levels(self) -> tuple[Level, ...]:
        return self.info.levels

    @property
    def dtype(self) -> np.dtype:
        return self.info.dtype

    @property
    def channels(self) -> int:
        return self.info.channels

    @property
    def pixel_size(self) -> PixelSize | None:
        return self.info.pixel_size

    @property
    def crs(self) -> str | None:
        return self.info.crs

    @property
    def transform(self) -> tuple[float, float, float, float, float, float] | None:
        return self.info.transform

    @property
    def nodata(self) -> float | None:
        return self.info.nodata

    @property
    def notices(self) -> tuple[str, ...]:
        return self.info.notices

    def read(self, window: Window | None = None, level: int = 0) -> np.ndarray:
        """The pixels of ``window`` (in pixels of that level; all without one): (h, w, C), ``dtype``.

        Raises:
            InvalidInput: the level does not exist, or the window reaches past it.
            FileProblem: the file is damaged there.
        """
        window = self._checked(window, level)
        self._require_memory(window.height * window.width * self.channels * self.dtype.itemsize)
        return self._read(window, level)

    def _checked(self, window: Window | None, level: int) -> Window:
        if not 0 <= level < len(self.levels):
            raise InvalidInput("level", f"0 to {len(self.levels) - 1} in {self.path}", level)
        size = self.levels[level].size
        window = window or Window.full(size)
        if not window.inside(size):
            raise InvalidInput("window", f"inside {size[0]}x{size[1]} (level {level} of {self.path})", window)
        return window

    def valid(self, window: Window | None = None, level: int = 0) -> np.ndarray:
        """Where something was measured: bool (h, w), False at nodata and outside of what was scanned.

        Raises: as ``read``.
        """
        window = self._checked(window, level)
        self._require_memory(window.height * window.width)
        return self._valid(window, level)

    def _require_memory(self, claimed: int) -> None:
        """The system would rather kill the program than refuse an array that it has no memory for."""
        if claimed > physical_memory():
            got = f"{claimed / 2**30:.1f} GiB of pixels at once"
            raise FileProblem(
                self.path, "a window that fits in memory", got, "read it in windows, or a level"
            )

    def _valid(self, window: Window, level: int) -> np.ndarray:
        if not self.info.masked and self.dtype.kind != "f":
            return np.ones(window.size, bool)
        return measured(self._read(window, level), self.info)

    def has_gaps(self) -> bool:
        """Whether some pixels may be unmeasured: under a mask, or by being no number in floats."""
        return self.info.masked or self.dtype.kind == "f"

    @property
    def for_samples(self) -> Raster:
        """What samples are averaged from: the raster itself, or one of its values and, beside each, the
        share that was measured."""
        return self

    @abstractmethod
    def _read(self, window: Window, level: int) -> np.ndarray: ...

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Raster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
