"""How a data set is read: its layout, its crop, its resolution."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields, replace
from typing import Any

from saccade.errors import InvalidInput, nearest_name
from saccade.geometry import Window
from saccade.rasters.bands import COLOUR

_SIZE = re.compile(r"([0-9]{1,6})[xX×]([0-9]{1,6})")


@dataclass(frozen=True)
class Crop:
    """A part of an image.

    Attributes:
        kind: "none", "square" or "size".
        size: (rows, columns) of kind "size".
        random: a square that lies anywhere in a training image; in the middle of all others.
    """

    kind: str = "none"
    size: tuple[int, int] = (0, 0)
    random: bool = False

    @classmethod
    def parse(cls, text: str) -> Crop:
        """From ``none``, ``square``, ``random_square`` or ``ROWSxCOLUMNS``; raises InvalidInput otherwise."""
        if text in ("none", "square"):
            return cls(text)
        if text == "random_square":
            return cls("square", random=True)
        match = _SIZE.fullmatch(text)
        if match is None or min(int(match[1]), int(match[2])) < 1:
            raise InvalidInput("data.crop", "none, square, random_square or ROWSxCOLUMNS", repr(text))
        return cls("size", (int(match[1]), int(match[2])))

    def window(self, size: tuple[int, int]) -> Window | None:
        """The part in the middle of an image of ``size`` (H, W); None where that is all of it.

        Of an odd rest the larger half lies below and right. A crop that is longer than the image on an axis
        takes all of that axis.
        """
        rows, columns = self.extent(size)
        if (rows, columns) == tuple(size):
            return None
        top, left = (size[0] - rows) // 2, (size[1] - columns) // 2
        return Window(top, top + rows, left, left + columns)

    def anywhere(self, size: tuple[int, int], place: tuple[float, float]) -> Window:
        """The part at ``place`` (down, right), each in [0, 1): 0 at the top left, towards 1 at the bottom
        right; uniform where ``place`` is."""
        rows, columns = self.extent(size)
        top = int(place[0] * (size[0] - rows + 1))
        left = int(place[1] * (size[1] - columns + 1))
        return Window(top, top + rows, left, left + columns)

    def extent(self, size: tuple[int, int]) -> tuple[int, int]:
        """(rows, columns) of the part of an image of ``size``."""
        if self.kind == "none":
            return size
        sides = (min(size), min(size)) if self.kind == "square" else self.size
        return min(sides[0], size[0]), min(sides[1], size[1])


def parse_value_range(text: str, what: str = "--value-range") -> tuple[float, float]:
    """``LOW,HIGH``: the values of black and white; raises InvalidInput where it is anything else."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not -math.inf < low < high < math.inf:
        raise InvalidInput(what, "LOW,HIGH with LOW below HIGH, such as 0,4095", repr(text))
    return low, high


GRADE5 = ("ignore", "class")
BALANCES = ("area", "classes")

LEAST_WINDOW = 16


def window_size(text: str | int) -> tuple[int, int]:
    """``512x512``, or ``512`` for a square: (rows, columns); raises InvalidInput for anything else."""
    match = _SIZE.fullmatch(str(text)) or _SIZE.fullmatch(f"{text}x{text}")
    size = (0, 0) if match is None else (int(match[1]), int(match[2]))
    if min(size) < LEAST_WINDOW:
        expected = f"ROWSxCOLUMNS of at least {LEAST_WINDOW} pixels, such as 512x512"
        raise InvalidInput("data.window", expected, repr(text))
    return size


SCALES = ("data", "percentiles", "imagenet")

Limits = tuple[tuple[float, float], ...]
"""LOW and HIGH of each band, which become -1 and 1; one pair is for all."""

Words = str | int | tuple[str | int, ...]
"""Names or numbers of bands: ``B4,B3,B2``, a number, or a list."""


def parse_limits(text: str) -> Limits:
    """``LOW,HIGH`` of all bands, or one behind the other, of each; raises InvalidInput for anything else."""
    pairs = text.replace(";", " ").split()
    try:
        return tuple(parse_value_range(pair, "data.scale") for pair in pairs or [text])
    except InvalidInput:
        expected = "one of " + ", ".join(SCALES) + ", or LOW,HIGH of all bands or of each"
        raise InvalidInput("data.scale", expected, repr(text), nearest_name(text, SCALES)) from None


@dataclass(frozen=True)
class DataOptions:
    """What can be chosen about a data set; in a configuration the section ``data``.

    Attributes:
        path: the folder; filled in when a training starts.
        format: its layout by name (:data:`saccade.data.FORMATS`); auto to recognise it.
        crop: none; square (the largest in the middle); random_square (the same, but anywhere when training,
            as ICCV 2019); or ROWSxCOLUMNS in the middle.
        target: the name of one class, which is told from all others together (ICLR 2022, Fig. 16); default
            all classes.
        max_pixels: whole slides are read so far reduced that none has more pixels.
        mpp: microns a pixel that whole slides are read at; default as fine as ``max_pixels`` allows.
        bands: which bands of the images, by name or number (from 1), such as ``B4,B3,B2``; "all" but opacity;
            "colour", three of eight bits. Default: colour where the files are colour, else all as they are.
        scale: what bands are normalised with: data (mean and deviation of the training pixels), percentiles
            (the 2nd and 98th become -1 and 1), ``LOW,HIGH`` of all bands or, with blanks between, of each, or
            imagenet (of colour of eight bits). Default: imagenet for colour of eight bits, else data.
        picture: the bands that pictures are drawn of, red first, or one, such as ``B4,B3,B2:0,3000`` with the
            values of black and white. Default: by their names, from the 2nd to the 98th percentile.
        value_range: the sample values of black and white, which makes colour of eight bits of any file;
            default by the rule of ``saccade.rasters.as_rgb``.
        region: an area of interest, as :class:`saccade.data.region.Region` takes it: images are cut to it,
            and what lies outside is ignored; images that it does not meet are left out.
        window: rows x columns: images are read in windows of this size, at full resolution, and these are
            what is trained on, validated and evaluated.
        windows: how many an epoch trains on; default as many as the training area has.
        balance: of windows that are trained on: area (each part as often as any other), or classes (each
            class as often as any other).
        grade5: of Gleason 2019: ignore (as published: counts nowhere), or class (scored as the others).

    Examples:
        >>> from saccade.data import DataOptions
        >>> options = DataOptions(crop="12x16")
        >>> options.cropping.extent((20, 30))
        (12, 16)
    """

    path: str | None = None
    format: str = "auto"
    crop: str = "none"
    target: str | None = None
    max_pixels: int = 50_000_000
    mpp: float | None = None
    bands: Words | None = None
    scale: str | None = None
    picture: Words | None = None
    value_range: tuple[float, float] | None = None
    region: str | None = None
    window: str | int | None = None
    windows: int | None = None
    balance: str = "area"
    grade5: str = "ignore"

    def __post_init__(self) -> None:
        Crop.parse(self.crop)
        for name in ("bands", "picture"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                words = value if isinstance(value, tuple | list) else (value,)
                object.__setattr__(self, name, ",".join(map(str, words)))
        self._check_bands()
        if self.max_pixels < 1:
            raise InvalidInput("data.max_pixels", "1 or more", self.max_pixels)
        if self.mpp is not None and not 0 < self.mpp < float("inf"):
            raise InvalidInput("data.mpp", "a positive number of microns a pixel", self.mpp)
        limits = self.value_range
        if limits is not None and not -math.inf < limits[0] < limits[1] < math.inf:
            raise InvalidInput("data.value_range", "LOW,HIGH with LOW below HIGH, such as 0,4095", limits)
        if self.window is not None:
            window_size(self.window)
        elif self.windows is not None or self.balance != "area":
            name = "windows" if self.windows is not None else "balance"
            raise InvalidInput(f"data.{name}", "data.window too, the size of a window", "none")
        if self.windows is not None and self.windows < 1:
            raise InvalidInput("data.windows", "1 or more", self.windows)
        if self.balance not in BALANCES:
            fix = nearest_name(self.balance, BALANCES)
            raise InvalidInput("data.balance", "one of " + ", ".join(BALANCES), repr(self.balance), fix)
        if self.grade5 not in GRADE5:
            fix = nearest_name(self.grade5, GRADE5)
            raise InvalidInput("data.grade5", "one of " + ", ".join(GRADE5), repr(self.grade5), fix)

    def _check_bands(self) -> None:
        if self.scale is not None and self.scale not in SCALES:
            parse_limits(self.scale)
        own = self.bands not in (None, COLOUR)
        if own and self.scale == "imagenet":
            fix = "give data.scale=data, or data.bands=colour"
            raise InvalidInput("data.scale", "imagenet for colour of eight bits alone", self.scale, fix)
        if self.bands == COLOUR and self.scale not in (None, "imagenet"):
            fix = "name the bands, data.bands=red,green,blue or 1,2,3, to scale them otherwise"
            raise InvalidInput("data.scale", "imagenet for data.bands=colour", self.scale, fix)
        if self.value_range is not None and (own or self.scale not in (None, "imagenet")):
            fix = "give data.scale=LOW,HIGH for bands in their own values"
            raise InvalidInput("data.value_range", "given for colour of eight bits alone", "bands too", fix)

    @property
    def band_words(self) -> str | None:
        """``bands``, as one text."""
        return None if self.bands is None else str(self.bands)

    @property
    def picture_words(self) -> str | None:
        """``picture``, as one text."""
        return None if self.picture is None else str(self.picture)

    @property
    def limits(self) -> Limits | None:
        """``scale``, where it is numbers."""
        return None if self.scale is None or self.scale in SCALES else parse_limits(self.scale)

    @property
    def cropping(self) -> Crop:
        """The parsed ``crop``."""
        return Crop.parse(self.crop)

    @property
    def window_size(self) -> tuple[int, int] | None:
        """The parsed ``window``: (rows, columns)."""
        return None if self.window is None else window_size(self.window)

    @property
    def unit(self) -> str:
        """What is checked, counted and read one by one: images, or windows of them."""
        return "images" if self.window is None else "windows"

    @property
    def items_named(self) -> str:
        """What the items are, in words: "images", or "windows of 512 x 512 pixels"."""
        size = self.window_size
        return "images" if size is None else f"windows of {size[0]} x {size[1]} pixels"

    def changed(self, changes: dict[str, Any]) -> DataOptions:
        """A copy with other values; raises InvalidInput for a name that is no option."""
        names = [field.name for field in fields(self)]
        for name in changes:
            if name not in names:
                raise InvalidInput("option", "one that exists", repr(name), nearest_name(name, names))
        return replace(self, **changes)

    def evaluated(self) -> DataOptions:
        """The same without chance: what an evaluation looks at, and a validation."""
        return replace(self, crop="square") if self.cropping.random else self
