"""Which part of each image is used."""

from __future__ import annotations

import re
from dataclasses import dataclass

from saccade.errors import InvalidInput
from saccade.rasters import Window

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
        found = _SIZE.fullmatch(text)
        if found is None or min(int(found[1]), int(found[2])) < 1:
            raise InvalidInput("data.crop", "none, square, random_square or ROWSxCOLUMNS", repr(text))
        return cls("size", (int(found[1]), int(found[2])))

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
        wanted = (min(size), min(size)) if self.kind == "square" else self.size
        return min(wanted[0], size[0]), min(wanted[1], size[1])
