"""How a user says how closely to look, and what it may cost."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from saccade.errors import InvalidInput, nearest_name
from saccade.inference.tiling import MOST_OVERLAP
from saccade.training.sizes import parse_size

Mode = Literal["auto", "whole", "tiles"]
MODES: tuple[Mode, ...] = ("auto", "whole", "tiles")
_MEMORY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(i?)B?\s*", re.IGNORECASE)
_STEPS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


@dataclass(frozen=True)
class Spacing:
    """A wanted mean distance between samples: ``length`` in "micron" or "metre"."""

    length: float
    unit: Literal["micron", "metre"]

    def __post_init__(self) -> None:
        if not 0 < self.length < float("inf"):
            raise InvalidInput(self.option, "a positive length", self.length)

    @property
    def option(self) -> str:
        return "--mpp" if self.unit == "micron" else "--gsd"


@dataclass(frozen=True)
class Look:
    """How to look at an image.

    Attributes:
        mode: "whole", the image in one view; "tiles", each overlapping tile with a view of its own; "auto",
            whole unless that would shrink the image too far.
        size: (h, w) samples of a view; None: as trained, or what follows from the others.
        pixels: at most so many samples of the whole image in all.
        spacing: mean distance between samples.
        tile: (rows, columns) of a tile in pixels of the image.
        overlap: share of a tile that overlaps with the next, 0 to 0.5.
        memory: bytes of RAM that the program may use in all.
        skip: leave tiles out that are empty (glass, nodata), and pixels that were not measured.

    Raises:
        InvalidInput: for values that are out of range or say the same thing twice.
    """

    mode: Mode = "auto"
    size: tuple[int, int] | None = None
    pixels: int | None = None
    spacing: Spacing | None = None
    tile: tuple[int, int] | None = None
    overlap: float = 0.125
    memory: int | None = None
    skip: bool = True

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InvalidInput("--mode", " or ".join(MODES), self.mode, nearest_name(self.mode, MODES))
        if self.pixels is not None and self.pixels < 1:
            raise InvalidInput("--pixels", "a positive number", self.pixels)
        if not 0 <= self.overlap <= MOST_OVERLAP:
            raise InvalidInput("--overlap", f"a share from 0 to {MOST_OVERLAP}", self.overlap)
        if self.pixels is not None and self.spacing is not None:
            raise InvalidInput("--pixels", f"given without {self.spacing.option}", "both", "choose one")
        closeness = self.pixels is not None or self.spacing is not None
        if self.mode == "whole" and self.tile is not None:
            raise InvalidInput("--tile", "given only for tiles", "--mode whole", "leave one of them out")
        if self.size is not None and closeness and (self.tile is not None or self.mode == "whole"):
            fix = "leave --size out: it follows from the others"
            raise InvalidInput("--size", "given alone, or for tiles without --tile", "more than enough", fix)


def parse_memory(text: str) -> int:
    """``2GB`` (10^9), ``512MiB`` (2^20) and the like as bytes.

    Raises:
        InvalidInput: when ``text`` is anything else.
    """
    found = _MEMORY.fullmatch(text)
    value = float(found[1]) * (1024 if found[3] else 1000) ** _STEPS[found[2].upper()] if found else 0.0
    if found is None or value < 1 << 20:
        raise InvalidInput("--memory", "an amount of at least 1 MiB, such as 2GB or 512MiB", repr(text))
    return int(value)


def parse_pixels(text: str) -> int:
    """``250000``, ``1e6``, ``2M`` as a number.

    Raises:
        InvalidInput: when ``text`` is anything else.
    """
    factor = {"K": 1e3, "M": 1e6, "G": 1e9}.get(text.strip()[-1:].upper())
    try:
        return max(0, int(float(text.strip()[:-1] if factor else text) * (factor or 1)))
    except (ValueError, OverflowError):
        raise InvalidInput("--pixels", "a number of samples, such as 250000 or 2M", repr(text)) from None


def parse_tile(text: str) -> tuple[int, int]:
    """``2048x2048``, or ``2048`` for a square."""
    return parse_size(text if not text.strip().isdecimal() else f"{text.strip()}x{text.strip()}", "--tile")
