"""A rectangle of pixels: half-open rows and columns."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass

from saccade.errors import InvalidInput


@dataclass(frozen=True, order=True)
class Window:
    """Rows ``top <= y < bottom`` and columns ``left <= x < right`` of an image, in whole pixels.

    Raises:
        InvalidInput: a side is not a whole number, is negative, or the window holds no pixel.
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
    """Windows of at most ``tile`` (rows, columns) that cover ``size`` (H, W) once, row by row."""
    for top in range(0, size[0], tile[0]):
        for left in range(0, size[1], tile[1]):
            yield Window(top, min(top + tile[0], size[0]), left, min(left + tile[1], size[1]))


def _whole(value: object, name: str) -> int:
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidInput(f"window {name}", "a whole number of pixels", repr(value)) from None
