"""Sizes that follow an image's proportions, for slides of any shape (ICLR 2022, A.8: "80x800")."""

from __future__ import annotations

from dataclasses import dataclass

from saccade.errors import InvalidInput

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
