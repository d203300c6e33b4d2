"""Windows, tiles and sizes: whole numbers of rows and columns, without an image."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

from saccade.errors import InvalidInput


def require_size(size: Sequence[int], name: str = "size") -> tuple[int, int]:
    """``size`` as (rows, columns), both whole numbers of at least 1.

    Raises:
        InvalidInput: when it is not a pair of whole numbers of at least 1.
    """
    expected = "a pair (rows, columns) of whole numbers of at least 1"
    try:
        rows, columns = (require_count(side, name) for side in size)
    except (TypeError, ValueError):
        raise InvalidInput(name, expected, repr(size)) from None
    return rows, columns


def require_count(value: object, name: str) -> int:
    """``value`` as a whole number of at least 1; a bool is no number here.

    Raises:
        InvalidInput: when it is something else.
    """
    try:
        count = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        count = 0
    if isinstance(value, bool) or count < 1:
        raise InvalidInput(name, "a whole number of at least 1", repr(value))
    return count


@dataclass(frozen=True, order=True)
class Window:
    """Rows ``top <= y < bottom`` and columns ``left <= x < right`` of an image, in whole pixels.

    Raises:
        InvalidInput: a side is not a whole number, is negative, or the window holds no pixel.

    Examples:
        >>> from saccade.rasters import Window
        >>> window = Window(2, 6, 0, 5)
        >>> window.size, window.intersection(Window(4, 9, 3, 9))
        ((4, 5), Window(top=4, bottom=6, left=3, right=5))
    """

    top: int
    bottom: int
    left: int
    right: int

    def __post_init__(self) -> None:
        for name in ("top", "bottom", "left", "right"):
            object.__setattr__(self, name, _whole(getattr(self, name), name))
        if self.top < 0 or self.left < 0 or self.bottom <= self.top or self.right <= self.left:
            raise InvalidInput("window", "0 <= top < bottom and 0 <= left < right", repr(self))

    @classmethod
    def full(cls, size: tuple[int, int]) -> Window:
        """The window of a whole image of ``size`` (H, W)."""
        return cls(0, size[0], 0, size[1])

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """What indexes an array (H, W, ...) of the whole image."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def inside(self, size: tuple[int, int]) -> bool:
        return self.bottom <= size[0] and self.right <= size[1]

    def shifted(self, down: int, right: int) -> Window:
        return Window(self.top + down, self.bottom + down, self.left + right, self.right + right)

    def intersection(self, other: Window) -> Window | None:
        """The pixels both windows hold, or None where they hold none together."""
        top, bottom = max(self.top, other.top), min(self.bottom, other.bottom)
        left, right = max(self.left, other.left), min(self.right, other.right)
        return Window(top, bottom, left, right) if top < bottom and left < right else None


def tile_windows(size: tuple[int, int], tile: tuple[int, int]) -> Iterator[Window]:
    """Windows of at most ``tile`` (rows, columns) that cover ``size`` (H, W) once, row by row.

    Examples:
        >>> from saccade.rasters import tile_windows
        >>> [window.size for window in tile_windows((5, 8), (4, 4))]
        [(4, 4), (4, 4), (1, 4), (1, 4)]
    """
    for top in range(0, size[0], tile[0]):
        for left in range(0, size[1], tile[1]):
            yield Window(top, min(top + tile[0], size[0]), left, min(left + tile[1], size[1]))


def _whole(value: object, name: str) -> int:
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidInput(f"window {name}", "a whole number of pixels", repr(value)) from None


MOST_OVERLAP = 0.5


@dataclass(frozen=True)
class Tiling:
    """Tiles of one size that cover an image.

    Attributes:
        size: (H, W) of the image.
        tile: (rows, columns) of a tile; cut to the image where it is larger.
        overlap: share of a tile that at least overlaps with the next one, 0 to 0.5.

    Raises:
        InvalidInput: for an overlap outside 0 to 0.5.
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    overlap: float = 0.125

    def __post_init__(self) -> None:
        if not 0 <= self.overlap <= MOST_OVERLAP:
            raise InvalidInput("overlap", f"a share from 0 to {MOST_OVERLAP}", self.overlap)
        rows, columns = require_size(self.tile, "tile")
        object.__setattr__(self, "tile", (min(rows, self.size[0]), min(columns, self.size[1])))

    def starts(self, axis: int) -> list[int]:
        """The first pixel of each tile along an axis (0 down, 1 across), evenly spread."""
        length, side = self.size[axis], self.tile[axis]
        if side >= length:
            return [0]
        shared = int(side * self.overlap)
        gaps = max(1, -(-(length - side) // max(1, side - shared)))
        return [(length - side) * number // gaps for number in range(gaps + 1)]

    @property
    def count(self) -> tuple[int, int]:
        """(down, across): how many tiles there are."""
        return len(self.starts(0)), len(self.starts(1))

    @property
    def windows(self) -> list[Window]:
        """Every tile, row by row."""
        rows, columns = self.tile
        return [
            Window(top, top + rows, left, left + columns) for top in self.starts(0) for left in self.starts(1)
        ]

    def weights(self, start: int, axis: int) -> NDArray[np.float32]:
        """How much each row (axis 0) or column (axis 1) of the tile at ``start`` weighs: 1, and a smooth step
        down to 0 over what it shares with its neighbours, so that the weights of all tiles add up to 1."""
        starts, side = self.starts(axis), self.tile[axis]
        number = starts.index(start)
        place = np.arange(side) + 0.5
        weights = np.ones(side)
        if number > 0 and (shared := starts[number - 1] + side - start) > 0:
            weights *= _step(place / shared)
        if number + 1 < len(starts) and (shared := start + side - starts[number + 1]) > 0:
            weights *= 1 - _step((place - (side - shared)) / shared)
        return weights.astype(np.float32)


def _step(at: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 0 at 0 to 1 at 1, level at both ends."""
    at = at.clip(0, 1)
    return at * at * (3 - 2 * at)


def fitted_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """(h, w) of an image of (H, W) whose longer side is at most ``longest`` pixels, in its proportions."""
    shrink = max(1.0, max(size) / longest)
    return max(1, int(size[0] / shrink)), max(1, int(size[1] / shrink))


LEAST = 2
"""Rows or columns of the thinnest: a mesh needs two."""


@dataclass(frozen=True)
class Fit:
    """The short side of an image becomes ``short`` pixels, or its long side ``long``: whichever gives fewer
    pixels in all. The other side keeps the proportions, rounded down, at least 2.

    With 80 and 800 an image of 368 x 7986 becomes 36 x 800, one of 2000 x 3000 becomes 80 x 120.

    Attributes:
        short: pixels of the short side, at least 2.
        long: pixels of the long side, at least ``short``.
    """

    short: int
    long: int

    def __post_init__(self) -> None:
        if not LEAST <= self.short <= self.long:
            expected = "SHORTxLONG, the short side at least 2 and the long side no shorter, such as 80x800"
            raise InvalidInput("size to fit", expected, f"{self.short}x{self.long}")

    def of(self, image: tuple[int, int]) -> tuple[int, int]:
        """(h, w) for an image of (H, W) pixels."""
        short, long = min(image), max(image)
        by_long = self.long * short < self.short * long
        pair = (self.long * short // long, self.long) if by_long else (self.short, self.short * long // short)
        thin, wide = max(LEAST, pair[0]), max(LEAST, pair[1])
        return (thin, wide) if image[0] <= image[1] else (wide, thin)


_SIZE = re.compile(r"\s*([0-9]{1,6})\s*[xX×]\s*([0-9]{1,6})\s*")


def parse_size(text: str, what: str = "size") -> tuple[int, int]:
    """``ROWSxCOLUMNS`` as (rows, columns), both at least 1.

    Raises:
        InvalidInput: when ``text`` is anything else.
    """
    match = _SIZE.fullmatch(text)
    rows, columns = (int(match[1]), int(match[2])) if match else (0, 0)
    if rows < 1 or columns < 1:
        raise InvalidInput(what, "ROWSxCOLUMNS, both at least 1, such as 64x128", repr(text))
    return rows, columns


@dataclass(frozen=True)
class SizeRange:
    """Sizes (rows, columns) from ``smallest`` to ``largest``, both sides growing together.

    Attributes:
        smallest, largest: (rows, columns), at least 2 each; no side of ``largest`` is shorter.

    Raises:
        InvalidInput: for sides that are out of order, too short, or two sizes that are one.

    Examples:
        >>> from saccade.geometry import SizeRange
        >>> sizes = SizeRange((32, 64), (128, 256))
        >>> str(sizes), sizes.middle, sizes.ladder()
        ('32x64..128x256', (64, 128), [(32, 64), (45, 91), (64, 128), (91, 181), (128, 256)])
        >>> (45, 90) in sizes, (16, 32) in sizes, sizes.nearest((16, 32))
        (True, False, (32, 64))
    """

    smallest: tuple[int, int]
    largest: tuple[int, int]

    def __post_init__(self) -> None:
        sides = list(zip(require_size(self.smallest), require_size(self.largest), strict=True))
        if min(self.smallest) < LEAST or any(a > b for a, b in sides) or self.smallest == self.largest:
            expected = "SMALLEST..LARGEST, sides of 2 or more, none of them falling, such as 32x64..128x256"
            raise InvalidInput("a range of sizes", expected, repr(str(self)))

    def __str__(self) -> str:
        return "..".join(f"{rows}x{columns}" for rows, columns in (self.smallest, self.largest))

    def __contains__(self, size: tuple[int, int]) -> bool:
        """Whether ``size`` has as many samples as some size of the range, whatever its proportions."""
        return _area(self.smallest) <= _area(size) <= _area(self.largest)

    def at(self, share: float) -> tuple[int, int]:
        """The size at ``share`` of the way, 0 the smallest and 1 the largest: sides grow geometrically."""
        rows, columns = (
            round(a * (b / a) ** share) for a, b in zip(self.smallest, self.largest, strict=True)
        )
        return rows, columns

    @property
    def middle(self) -> tuple[int, int]:
        """Half the way."""
        return self.at(0.5)

    def ladder(self, rungs: int = 5) -> list[tuple[int, int]]:
        """Evenly spread sizes, each once, the smallest first."""
        return list(dict.fromkeys(self.at(number / (rungs - 1)) for number in range(rungs)))

    def nearest(self, size: tuple[int, int]) -> tuple[int, int]:
        """``size`` where it is in the range, else one in the range of about its proportions and as few or
        many samples as the smallest or the largest, but for rounding."""
        least, most = _area(self.smallest), _area(self.largest)
        scale = sqrt(min(max(_area(size), least), most) / _area(size))
        short, long = sorted((max(1, round(size[0] * scale)), max(1, round(size[1] * scale))))
        long = min(max(long, -(-least // short)), most // short)
        return (short, long) if size[0] <= size[1] else (long, short)

    @classmethod
    def parse(cls, text: str, what: str = "size") -> SizeRange:
        """``32x64..128x256``; raises InvalidInput for anything else."""
        smallest, _, largest = text.partition("..")
        return cls(parse_size(smallest, what), parse_size(largest, what))


def nearest_size(sizes: Iterable[tuple[int, int]], size: tuple[int, int]) -> tuple[int, int]:
    """Of some (h, w), the one whose number of samples is nearest, in proportion, to that of ``size``.

    Examples:
        >>> from saccade.geometry import nearest_size
        >>> nearest_size([(8, 8), (32, 32)], (12, 20))
        (8, 8)
    """
    return min(sizes, key=lambda one: abs(log(_area(one) / _area(size))))


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def looks_like_size(text: str) -> bool:
    """Whether a size is meant; YAML would read ``0x10`` as the number 16."""
    return _SIZE.fullmatch(text) is not None
