"""Which bands of a file an image is made of, in the file's own values, and how these are scaled."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.errors import FileProblem, InvalidInput, nearest_name
from saccade.geometry import Window
from saccade.rasters.open import open_raster
from saccade.rasters.raster import Raster, RasterInfo

ALL, COLOUR = "all", "colour"

LARGER, SMALLER = 20.0, 0.02
"""Values that are so many times those of training, in every band, are of another unit."""

COARSER, FEWEST_VALUES = 4, 32
"""Values in steps so many times larger or smaller may be of another unit, where so many of them differ."""


@dataclass(frozen=True)
class Bands:
    """The bands of an image, their type, and what is known of their values.

    Attributes:
        names: of the C bands, no two the same; their numbers where the file has no names.
        numbers: of each in the files it was chosen in, from 1.
        count: bands of these files.
        dtype: of the samples of these files.
        named: whether these files name them: other files are then asked for the names.
        mean, std: of each, in the file's values: pixels are normalised as (value - mean) / std. () where
            nothing is known yet.
        low, high: of each, the 2nd and the 98th percentile of what was trained on.
        step: of each, the largest number that all of these values are multiples of; 0 where they are no
            whole numbers, or too few.
        scaling: of each, (scale, offset) by which these files say that values become reflectances or the
            like; () where they say nothing.
        picture: (red, green, blue), places in ``names``, of what is drawn, -1 for none; one for grey.
        stretch: the values of black and white of the picture, of each of its bands.

    Examples:
        >>> import numpy as np
        >>> from PIL import Image
        >>> from saccade.rasters import open_raster
        >>> from saccade.rasters.bands import Bands
        >>> Image.fromarray(np.full((4, 6), 900, np.uint16)).save("grey16.png")
        >>> with open_raster("grey16.png") as raster:
        ...     bands = Bands.of(raster.info)
        >>> bands.names, bands.dtype
        (('1',), 'uint16')
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    count: int
    dtype: str
    named: bool = False
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    step: tuple[float, ...] = ()
    scaling: tuple[tuple[float, float], ...] = ()
    picture: tuple[int, ...] = ()
    stretch: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        length = len(self.names)
        known = (self.mean, self.std, self.low, self.high, self.step, *zip(*self.scaling, strict=True))
        whole = length == len(self.numbers) > 0 and all(len(some) in (0, length) for some in known)
        whole = whole and all(isfinite(v) for some in known for v in some) and all(s > 0 for s in self.std)
        whole = whole and all(1 <= n <= self.count for n in self.numbers)
        whole = whole and all(-1 <= n < length for n in self.picture) and len(self.picture) in (0, 1, 3)
        if not whole or len(self.stretch) not in (0, len(self.picture)):
            raise InvalidInput("bands", "as many names, numbers, means and deviations", repr(self)[:200])

    @classmethod
    def of(cls, info: RasterInfo, words: str = ALL) -> Bands:
        """Of a file: "all" but its opacity, or names and numbers from 1, separated by commas.

        Raises:
            FileProblem: the file has no such band.
        """
        names = names_of(info)
        if words == ALL:
            opacity = info.opacity % info.channels if info.alpha else -1
            places = [place for place in range(info.channels) if place != opacity]
        else:
            places = [_place(word.strip(), names, info) for word in words.split(",")]
        if len(set(places)) < len(places):
            raise FileProblem(info.path, "each band once", words)
        named = all(name != str(place + 1) for place, name in enumerate(names))
        numbers = tuple(place + 1 for place in places)
        scaling = tuple(info.scaling[n] for n in places) if info.scaling else ()
        names = tuple(names[n] for n in places)
        return cls(names, numbers, info.channels, str(info.dtype), named, scaling=scaling)

    def places_in(self, info: RasterInfo, *, like: str = "the run") -> tuple[int, ...]:
        """Which channels of another file these are: by name where both name them, else by number.

        Raises:
            FileProblem: a band is not there, or the file is of another type; both sides are named.
        """
        names = [_key(name) for name in names_of(info)]
        by_name = self.named and any(info.bands)
        places = [names.index(_key(name)) if _key(name) in names else -1 for name in self.names]
        if by_name and -1 in places:
            lacking = ", ".join(name for name, place in zip(self.names, places, strict=True) if place < 0)
            expected = f"the bands of {like} ({', '.join(self.names)})"
            raise FileProblem(info.path, expected, f"none called {lacking} among {_told(info)}")
        all_of_them = self.count == len(self.numbers)
        if not by_name:
            places = [number - 1 for number in self.numbers]
            if max(self.numbers) > info.channels or (all_of_them and self.count != info.channels):
                expected = f"the {self.count} bands of {like} ({', '.join(self.names)})"
                raise FileProblem(info.path, expected, _told(info))
        if info.dtype != np.dtype(self.dtype):
            fix = f"convert it: gdal_translate -ot {_GDAL.get(self.dtype, self.dtype)}"
            if "f" in (info.dtype.kind, np.dtype(self.dtype).kind):  # a mere conversion cuts fractions off
                fix = "bring it to the same type and unit (reflectance or counts)"
            raise FileProblem(info.path, f"{self.dtype} samples, as of {like}", str(info.dtype), fix)
        self._require_scaling(info, places, like)
        return tuple(places)

    def _require_scaling(self, info: RasterInfo, places: Sequence[int], like: str) -> None:
        """What files say of their unit is compared where both say something."""
        if not self.scaling or not info.scaling:
            return
        for name, trained, place in zip(self.names, self.scaling, places, strict=True):
            said = info.scaling[place]
            if not np.allclose(trained, said, rtol=1e-4, atol=1e-9):
                expected = f"{name} with scale {trained[0]:g} and offset {trained[1]:g}, as of {like}"
                got = f"scale {said[0]:g} and offset {said[1]:g}"
                raise FileProblem(info.path, expected, got, "bring it to the same unit: gdal_calc.py")

    def require_scale(
        self,
        path: Path,
        values: NDArray[np.floating],
        *,
        like: str = "the run",
        finest: Callable[[], NDArray[np.floating]] | None = None,
    ) -> None:
        """Refuses values (n, C) of another unit than was trained on, such as counts for reflectance.

        A scene may be darker, brighter or hazier. Of another unit are values only that differ in every band:
        far larger or far smaller; below zero where training was above, or the other way round; or in other
        steps (12 bits that were moved up to 16), and by a factor nearer to that of the steps than to one.

        Args:
            path: of the file, for the message.
            values: (n, C), NaN where nothing was measured.
            like: whose bands these are, for the message.
            finest: gives some values as they lie in the file, where ``values`` may be means of several.

        Raises:
            FileProblem: with both sides.
        """
        if not self.high or not len(values):
            return
        self._require_sign(path, values, like)
        pairs = self._sizes(values)
        ratios = [here / usual for here, usual in pairs]
        if ratios and (min(ratios) > LARGER or max(ratios) < SMALLER):
            here, usual = pairs[0]
            expected = f"values up to about {usual:.3g} in {self.names[0]}, as of {like}"
            raise FileProblem(path, expected, f"up to about {here:.3g}", _SAME_UNIT)
        suspicious = ratios and (min(ratios) > COARSER**0.5 or max(ratios) < COARSER**-0.5)
        if suspicious and self.step:
            self._require_step(path, values if finest is None else finest(), like)

    def _sizes(self, values: NDArray[np.floating]) -> list[tuple[float, float]]:
        """How large values are in each band, here and in training; without bands that are empty in one."""
        pairs = []
        for band, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            seen = values[np.isfinite(values[:, band]), band]
            usual = max(abs(low), abs(high))
            here = float(np.quantile(np.abs(seen), 0.98)) if seen.size else 0.0
            if here > 0 and usual > 0:
                pairs.append((here, usual))
        return pairs

    def _require_sign(self, path: Path, values: NDArray[np.floating], like: str) -> None:
        """Decibels for powers: all that is above zero in one is below it in the other."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a band that was nowhere measured
            middle = np.nanmedian(values, axis=0)
        if not np.isfinite(middle).all():
            return
        for sign, words in ((1, ("above", "below")), (-1, ("below", "above"))):
            least = np.minimum(sign * np.array(self.low), sign * np.array(self.high))
            usual = np.maximum(np.abs(self.low), np.abs(self.high))
            if (least >= 0).all() and (sign * middle < -0.05 * usual).all():
                expected = f"values {words[0]} zero, as of {like}"
                raise FileProblem(
                    path, expected, f"{middle[0]:.3g} in the middle of {self.names[0]}", _SAME_UNIT
                )

    def _require_step(self, path: Path, values: NDArray[np.floating], like: str) -> None:
        here, ratios = steps_of(values), [size / usual for size, usual in self._sizes(values)]
        if 0 in here or 0 in self.step:
            return
        factors = [step / trained for step, trained in zip(here, self.step, strict=True)]
        if len(ratios) != len(factors):
            return
        for sign in (1, -1):
            pairs = [(factor**sign, ratio**sign) for factor, ratio in zip(factors, ratios, strict=True)]
            if all(factor >= COARSER and ratio > factor**0.5 for factor, ratio in pairs):
                expected = f"values in steps of {self.step[0]:g}, as of {like}"
                got = f"in steps of {here[0]:g}, and {ratios[0]:.3g} times as large"
                raise FileProblem(path, expected, got, _SAME_UNIT)

    @property
    def bare(self) -> Bands:
        """Which bands alone, without what is known of their values."""
        return Bands(self.names, self.numbers, self.count, self.dtype, self.named, scaling=self.scaling)

    def told(self) -> str:
        """For people: ``13 bands of int16 (B1, B2, ...)``."""
        shown = ", ".join(self.names[:13]) + (", ..." if len(self.names) > 13 else "")
        count = f"{len(self.names)} band{'s' if len(self.names) > 1 else ''}"
        return f"{count} of {self.dtype} ({shown})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for YAML and JSON."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], path: Path) -> Bands:
        """The inverse of :meth:`to_dict`; raises FileProblem where ``path`` holds something else."""
        try:
            known = {field.name for field in fields(cls)}
            values = {name: _frozen(item) for name, item in value.items() if name in known}
            return cls(**values)
        except (InvalidInput, TypeError, ValueError) as error:
            raise FileProblem(path, "the bands of a run", "something else", "train the run anew") from error


_SAME_UNIT = "bring it to the same unit (reflectance or counts)"
_GDAL = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "float32": "Float32", "float64": "Float64"}


def steps_of(values: NDArray[np.floating]) -> tuple[float, ...]:
    """The largest number that all values (n, C) of a band are multiples of; 0 where they are no whole
    numbers, or too few of them differ.

    Examples:
        >>> import numpy as np
        >>> from saccade.rasters.bands import steps_of
        >>> counts = np.arange(100, dtype=np.float32)[:, None]
        >>> steps_of(np.concatenate([counts, counts * 16, counts / 7], axis=1))
        (1.0, 16.0, 0.0)
    """
    steps = []
    for column in values.T:
        seen = np.unique(column[np.isfinite(column)])
        whole = len(seen) >= FEWEST_VALUES and bool((seen == np.round(seen)).all())
        steps.append(float(np.gcd.reduce(np.abs(seen).astype(np.int64))) if whole else 0.0)
    return tuple(steps)


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value


def names_of(info: RasterInfo) -> tuple[str, ...]:
    """A name for each channel: the file's, its number (from 1) where it has none or names two alike."""
    names = info.bands or ("",) * info.channels
    if not any(names) and info.meaning == "rgb":
        colours = info.colours or (0, 1, 2)
        names = tuple(
            ("red", "green", "blue")[colours.index(n)] if n in colours else "" for n in range(info.channels)
        )
    keys = [_key(name) for name in names]
    return tuple(
        name if name and keys.count(key) == 1 else str(place + 1)
        for place, (name, key) in enumerate(zip(names, keys, strict=True))
    )


def _key(name: str) -> str:
    """B02, b2 and B2 are one band."""
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", name.strip().lower())


def _place(word: str, names: Sequence[str], info: RasterInfo) -> int:
    keys = [_key(name) for name in names]
    if _key(word) in keys:
        return keys.index(_key(word))
    if word.isascii() and word.isdigit() and 1 <= int(word) <= info.channels:
        return int(word) - 1
    near = nearest_name(word, names)
    raise FileProblem(info.path, f"a band {word}", f"none among {_told(info)}", near)


def _told(info: RasterInfo) -> str:
    names = names_of(info)
    shown = ", ".join(names[:13]) + (", ..." if len(names) > 13 else "")
    count = f"{info.channels} band{'s' if info.channels > 1 else ''}"
    return f"{count} of {info.dtype} ({shown})"


class BandRaster(Raster):
    """Bands of a raster in their own values: (h, w, C), uint8 as it is, every other type as float32.

    A pixel is valid where any of its bands was measured; :meth:`band_valid` tells it of each. Closing it
    closes the raster beneath.

    Args:
        raster: the file.
        places: which of its channels.
        notices: one line each.
    """

    def __init__(self, raster: Raster, places: Sequence[int], notices: tuple[str, ...] = ()) -> None:
        self._raster, self._places = raster, list(places)
        info = raster.info
        opacity = info.opacity % info.channels if info.alpha else -1
        self._by_pixel = opacity not in self._places  # else that channel is a band, whatever it was called
        nodata = info.nodata_of_bands or (info.nodata,) * info.channels
        self._nodata = [nodata[place] for place in self._places]
        gaps = raster.has_gaps() if self._by_pixel else self.has_own_gaps(info.dtype)
        plain = info.dtype == np.uint8
        super().__init__(
            info.as_handed_out(
                dtype=np.dtype(np.uint8 if plain else np.float32),
                channels=len(self._places),
                meaning="bands",
                white=255.0 if plain else None,
                masked=gaps,
                bands=tuple(names_of(info)[place] for place in self._places),
                notices=(*info.notices, *notices),
            ),
            (raster.path,),
        )

    def has_own_gaps(self, dtype: np.dtype) -> bool:
        """Whether values of the bands may say that nothing was measured."""
        return dtype.kind == "f" or any(value is not None for value in self._nodata)

    def _read(self, window: Window, level: int) -> np.ndarray:
        return self._taken(self._raster.read(window, level))

    def _taken(self, pixels: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(pixels[..., self._places], self.dtype)

    def _valid(self, window: Window, level: int) -> np.ndarray:
        if not self.info.masked:
            return np.ones(window.size, bool)
        measured = self._measured(window, level, self._raster.read(window, level))
        return np.asarray(measured.any(axis=2))

    def _measured(self, window: Window, level: int, pixels: np.ndarray) -> np.ndarray:
        """(h, w, C) bool."""
        values = pixels[..., self._places]
        valid = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
        for band, value in enumerate(self._nodata):
            if value is not None and not np.isnan(value):
                valid[..., band] &= values[..., band] != value
        if self._by_pixel and self._raster.info.masked:
            valid &= self._raster.valid(window, level)[..., None]
        return valid

    def read_valid(self, window: Window | None = None, level: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """(h, w, C) values, 0 where nothing was measured, and (h, w, C) bool where something was."""
        window = self._checked(window, level)
        pixels = self._raster.read(window, level)
        values = self._taken(pixels)
        if not self.info.masked:
            return values, np.ones(values.shape, bool)
        valid = self._measured(window, level, pixels)
        return np.where(valid, values, values.dtype.type(0)), valid

    def has_gaps(self) -> bool:
        return self.info.masked

    @property
    def for_samples(self) -> Raster:
        """What samples are averaged from: itself, or with the share that was measured beside each band."""
        return _WithShares(self) if self.info.masked else self

    def close(self) -> None:
        self._raster.close()


class _WithShares(Raster):
    """(h, w, 2 C) float32: the values, 0 where nothing was measured, then 1 where something was, else 0.

    Means of both are what is averaged over any footprint, whatever its size: their quotient is the mean of
    what was measured, band by band.
    """

    def __init__(self, raster: BandRaster) -> None:
        self._raster = raster
        changes: dict[str, Any] = {"dtype": np.dtype(np.float32), "white": None, "masked": False, "bands": ()}
        super().__init__(replace(raster.info, channels=2 * raster.channels, **changes), (raster.path,))

    def _read(self, window: Window, level: int) -> np.ndarray:
        return with_shares(*self._raster.read_valid(window, level))

    def _valid(self, window: Window, level: int) -> np.ndarray:
        return np.ones(window.size, bool)

    def has_gaps(self) -> bool:
        return False

    def close(self) -> None:
        """The raster of the bands is closed by whoever opened it."""


def with_shares(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(h, w, 2 C) float32 of values (h, w, C), 0 where they are not valid, and of valid."""
    return np.concatenate([values, valid], axis=2, dtype=np.float32)


def as_bands(raster: Raster, bands: Bands, *, like: str = "the run") -> BandRaster:
    """The bands of a run in another file, which must have them, in the same type and unit.

    Raises:
        FileProblem: it has not; both sides are named.
    """
    places = bands.places_in(raster.info, like=like)
    notices: tuple[str, ...] = ()
    if bands.named and not any(raster.info.bands):
        notices = (f"bands without names, taken by number: {', '.join(bands.names)}",)
    view = BandRaster(raster, places, notices)
    if bands.high:
        bands.require_scale(raster.path, look(view), like=like, finest=lambda: _look_closely(view))
    return view


LOOK = 1 << 22


def look_windows(size: tuple[int, int]) -> list[Window]:
    """All of an image, or nine windows of it where it is large."""
    height, width = size
    if height * width <= LOOK:
        return [Window.full(size)]
    rows, columns = min(height, 256), min(width, 256)
    tops = [(height - rows) * i // 2 for i in range(3)]
    lefts = [(width - columns) * i // 2 for i in range(3)]
    return [Window(t, t + rows, x, x + columns) for t in tops for x in lefts]


def look(raster: BandRaster) -> NDArray[np.float32]:
    """(n, C) values of the coarsest level, or of nine windows of it; NaN where nothing was measured."""
    number = len(raster.levels) - 1
    seen = []
    for window in look_windows(raster.levels[number].size):
        values, valid = raster.read_valid(window, number)
        seen.append(np.where(valid, values, np.float32(np.nan)).reshape(-1, raster.channels))
    return np.concatenate(seen).astype(np.float32, copy=False)


def _look_closely(raster: BandRaster) -> NDArray[np.float32]:
    """(n, C) values of a window in the middle, as they lie in the file: no means of several pixels."""
    height, width = raster.size
    rows, columns = min(height, 256), min(width, 256)
    top, left = (height - rows) // 2, (width - columns) // 2
    values, valid = raster.read_valid(Window(top, top + rows, left, left + columns))
    return np.where(valid, values, np.float32(np.nan)).reshape(-1, raster.channels)


def read_bands(
    path: Path | str, bands: Bands, *, like: str = "the run"
) -> tuple[np.ndarray, tuple[str, ...]]:
    """A whole image: (H, W, C), or (H, W, 2 C) where something was not measured, and its notices.

    Raises:
        FileProblem: as :func:`as_bands`, and for a file that cannot be read.
    """
    with open_raster(path, place=False) as file:
        raster = as_bands(file, bands, like=like)
        return whole(raster), raster.notices


def whole(raster: BandRaster, window: Window | None = None) -> np.ndarray:
    """All pixels of a raster, or of a window: (H, W, C), or (H, W, 2 C) float32 with shares where some were
    not measured."""
    if not raster.info.masked:
        return raster.read(window)
    values, valid = raster.read_valid(window)
    return values if valid.all() else with_shares(values, valid)
