"""Pictures of any bands: which three are drawn as red, green and blue, and between which values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.errors import InvalidInput, nearest_name
from saccade.geometry import Window
from saccade.rasters.bands import BandRaster, Bands, look
from saccade.rasters.raster import Raster, RasterInfo

_PATTERNS = (
    (r"(.*[_\W])?(r|red)", r"(.*[_\W])?(g|green)", r"(.*[_\W])?(b|blue)"),
    (r"(.*[_\W])?b0?4", r"(.*[_\W])?b0?3", r"(.*[_\W])?b0?2"),  # Sentinel-2, and Landsat 8 and 9
)
_STAINS = (
    r".*(rfp|tritc|cy-?3|mcherry|tdtomato|texas|alexa ?(555|561|568|594)|cy-?5|alexa ?6\d\d|red).*",
    r".*(gfp|fitc|alexa ?488|yfp|green).*",
    r".*(dapi|hoechst|405|blue).*",
)
"""Fluorophores by the colour that they are shown in: red, green, blue."""

SENTINEL = (12, 13)
"""Bands of Sentinel-2 L2A and L1C, in their order: the fourth is red, the second blue."""


def usual_picture(names: Sequence[str]) -> tuple[int, ...]:
    """(red, green, blue), places among the bands of an image; of one band that alone, as grey.

    By name where names say it (red, green, blue; B4, B3, B2 of Sentinel-2 and Landsat; fluorophores), else by
    number: bands 4, 3, 2 of 12 or 13, the first three of other counts; two are magenta and green.

    Examples:
        >>> from saccade.rasters.picture import usual_picture
        >>> usual_picture(["B1", "B2", "B3", "B4", "B8"]), usual_picture(["DAPI", "GFP"])
        ((3, 2, 1), (-1, 1, 0))
    """
    if len(names) == 1:
        return (0,)
    for patterns in _PATTERNS:
        channels = [_matching(pattern, names) for pattern in patterns]
        if -1 not in channels and len(set(channels)) == 3:
            return tuple(channels)
    stains = [_matching(pattern, names) for pattern in _STAINS]
    if sum(place >= 0 for place in stains) >= 2 and len({p for p in stains if p >= 0}) >= 2:
        rest = [place for place in range(len(names)) if place not in stains]
        return tuple(place if place >= 0 else (rest.pop(0) if rest else -1) for place in stains)
    if len(names) in SENTINEL:
        return 3, 2, 1
    return (0, 1, 0) if len(names) == 2 else (0, 1, 2)


def _matching(pattern: str, names: Sequence[str]) -> int:
    matching = [place for place, name in enumerate(names) if re.fullmatch(pattern, name.strip().lower())]
    return matching[0] if matching else -1


def parse_picture(text: str, names: Sequence[str]) -> tuple[tuple[int, ...], tuple[tuple[float, float], ...]]:
    """``B4,B3,B2`` or ``B8``, names or numbers from 1, and behind a colon ``LOW,HIGH`` of all of them.

    Raises:
        InvalidInput: for a band that is none of ``names``, or limits that are none.
    """
    words, _, limits = text.partition(":")
    places = []
    for word in (one.strip() for one in words.split(",")):
        lowered = [name.lower() for name in names]
        if word.lower() in lowered:
            places.append(lowered.index(word.lower()))
        elif word.isascii() and word.isdigit() and 1 <= int(word) <= len(names):
            places.append(int(word) - 1)
        else:
            expected = f"bands of the image ({', '.join(names)})"
            raise InvalidInput("data.picture", expected, repr(word), nearest_name(word, names))
    if len(places) not in (1, 3):
        raise InvalidInput("data.picture", "three bands, red first, or one", repr(text))
    if not limits:
        return tuple(places), ()
    try:
        low, high = (float(part) for part in limits.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not -np.inf < low < high < np.inf:
        raise InvalidInput("data.picture", "LOW,HIGH behind the colon, such as B4,B3,B2:0,3000", repr(text))
    return tuple(places), ((low, high),) * len(places)


def picture_of(values: NDArray[np.generic], bands: Bands) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 of the values (h, w, C) of an image of these bands, or (h, w, 2 C) with shares.

    Each band of the picture runs from its low to its high value, values beyond clipped, what is no number
    black.
    """
    count = len(bands.names)
    picture = bands.picture or usual_picture(bands.names)
    stretch = bands.stretch or tuple(
        (bands.low[n], bands.high[n]) if n >= 0 and bands.low else (0.0, 255.0) for n in picture
    )
    planes = []
    for place, (low, high) in zip(picture, stretch, strict=True):
        if place < 0:
            planes.append(np.zeros(values.shape[:2], np.uint8))
            continue
        plane = values[..., place].astype(np.float32)
        if values.shape[2] == 2 * count:
            shares = values[..., count + place].astype(np.float32)
            plane = np.divide(plane, shares, out=np.full_like(plane, low), where=shares > 0)
        plane = (plane - low) * (255.0 / max(high - low, 1e-12))
        planes.append(np.rint(np.clip(np.nan_to_num(plane, nan=0.0), 0, 255)).astype(np.uint8))
    return np.stack(planes * (3 if len(planes) == 1 else 1), axis=2)


def with_picture(bands: Bands, words: str | None) -> Bands:
    """The same with what is drawn: as asked, or as usual, between the 2nd and 98th percentile."""
    picture, stretch = (
        (usual_picture(bands.names), ()) if words is None else parse_picture(words, bands.names)
    )
    if not stretch:
        stretch = tuple((bands.low[n], bands.high[n]) if n >= 0 else (0.0, 1.0) for n in picture)
    return replace(bands, picture=picture, stretch=stretch)


def drawn_as(mean: Sequence[float], std: Sequence[float]) -> Bands:
    """Bands of which only mean and deviation are known: drawn within two deviations."""
    names = tuple(str(n + 1) for n in range(len(mean)))
    low = tuple(m - 2 * s for m, s in zip(mean, std, strict=True))
    high = tuple(m + 2 * s for m, s in zip(mean, std, strict=True))
    numbers = tuple(range(1, len(names) + 1))
    bands = Bands(names, numbers, len(names), "float32", False, tuple(mean), tuple(std), low, high)
    return with_picture(bands, None)


class PictureRaster(Raster):
    """Bands as they are drawn: (h, w, 3) uint8. Closing it closes the raster beneath."""

    def __init__(self, raster: Raster, bands: Bands) -> None:
        self._raster, self._bands = raster, bands
        changes: dict[str, Any] = {"dtype": np.dtype(np.uint8), "channels": 3, "meaning": "rgb", "bands": ()}
        changes["white"] = 255.0
        super().__init__(replace(raster.info, **changes), (raster.path,))

    @property
    def told(self) -> str:
        """Which bands are drawn, between which values."""
        pairs = zip(self._bands.picture, self._bands.stretch, strict=True)
        each = [f"{low:g} to {high:g} in {self._bands.names[n]}" for n, (low, high) in pairs if n >= 0]
        return f"bands shown from {', '.join(each)}"

    def _read(self, window: Window, level: int) -> np.ndarray:
        return picture_of(self._raster.read(window, level), self._bands)

    def _valid(self, window: Window, level: int) -> np.ndarray:
        return self._raster.valid(window, level)

    def close(self) -> None:
        self._raster.close()


def seen_alone(raster: Raster, words: str | None = None) -> PictureRaster:
    """A file of bands as a picture, stretched between the percentiles of its own values.

    Raises:
        InvalidInput: for a picture of bands that it has not.
    """
    bands = Bands.of(raster.info)
    view = BandRaster(raster, [number - 1 for number in bands.numbers])
    low, high = percentiles(look(view))
    return PictureRaster(view, with_picture(replace(bands, low=low, high=high), words))


def percentiles(values: NDArray[np.floating]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The 2nd and 98th percentile of each of C bands, of values (n, C); NaN counts nowhere."""
    low, high = [], []
    for band in range(values.shape[1]):
        seen = values[np.isfinite(values[:, band]), band]
        pair = np.quantile(seen, (0.02, 0.98)).tolist() if seen.size else [0.0, 1.0]
        low.append(pair[0])
        high.append(pair[1] if pair[1] > pair[0] else pair[0] + 1.0)
    return tuple(low), tuple(high)


def info_needs_picture(info: RasterInfo) -> bool:
    """Whether a file is no photograph: bands, or grey of more than eight bits."""
    return info.meaning == "bands" or (info.meaning == "grey" and info.dtype != np.uint8)
