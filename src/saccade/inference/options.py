"""How a user says how densely to sample."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from saccade.errors import InvalidInput, UsageError, nearest_name
from saccade.geometry import MOST_OVERLAP, parse_size

Mode = Literal["auto", "whole", "tiles"]
MODES: tuple[Mode, ...] = ("auto", "whole", "tiles")
_MEMORY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(i?)B?\s*", re.IGNORECASE)
_STEPS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


@dataclass(frozen=True)
class Spacing:
    """A wanted mean distance between samples: ``length`` in "micron" or "metre".

    Examples:
        >>> from saccade.inference import Spacing
        >>> Spacing(0.5, "micron").option
        '--mpp'
    """

    length: float
    unit: Literal["micron", "metre"]

    def __post_init__(self) -> None:
        if not 0 < self.length < float("inf"):
            raise InvalidInput(self.option, "a positive length", self.length)

    @property
    def option(self) -> str:
        return "--mpp" if self.unit == "micron" else "--gsd"


@dataclass(frozen=True)
class SamplingOptions:
    """How densely to sample an image, and in what parts.

    Attributes:
        mode: "whole", the image in one view; "tiles", each overlapping tile with a view of its own; "auto",
            whole unless that would shrink the image too far.
        size: (h, w) samples of a view; None: as trained, or what follows from the others.
        pixels: at most so many samples of the whole image in all.
        gflops: at most so many 10^9 operations for the whole image.
        seconds: about so many for the whole image, on this machine, from the file to its labels.
        spacing: mean distance between samples.
        tile: (rows, columns) of a tile in pixels of the image.
        overlap: share of a tile that overlaps with the next, 0 to 0.5.
        memory: bytes of RAM that the program may use in all.
        skip: leave tiles out that are empty (glass, nodata), and pixels that were not measured.

    Raises:
        InvalidInput: for values that are out of range or say the same thing twice.

    Examples:
        >>> from saccade.inference import SamplingOptions
        >>> SamplingOptions(mode="tiles", size=(64, 64), overlap=0.25).mode
        'tiles'
        >>> SamplingOptions(overlap=0.9)
        Traceback (most recent call last):
        ...
        saccade.errors.InvalidInput: expected --overlap to be a share from 0 to 0.5, but got 0.9
    """

    mode: Mode = "auto"
    size: tuple[int, int] | None = None
    pixels: int | None = None
    gflops: float | None = None
    seconds: float | None = None
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
        for option in ("gflops", "seconds"):
            if getattr(self, option) is not None:
                parse_amount(str(getattr(self, option)), f"--{option}")
        budgets = [f"--{name}" for name in ("pixels", "gflops", "seconds") if getattr(self, name) is not None]
        budgets += [] if self.spacing is None else [self.spacing.option]
        if len(budgets) > 1:
            raise InvalidInput(budgets[0], f"given without {budgets[1]}", "both", "choose one")
        closeness = bool(budgets)
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
    match = _MEMORY.fullmatch(text)
    value = float(match[1]) * (1024 if match[3] else 1000) ** _STEPS[match[2].upper()] if match else 0.0
    if match is None or value < 1 << 20:
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


def parse_amount(text: str, what: str) -> float:
    """A positive number of GFLOPs or seconds; raises InvalidInput for anything else."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise InvalidInput(what, "a positive number", repr(text))
    return value


_SECONDS = {
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
}


def parse_seconds(text: str, what: str) -> float:
    """``60``, ``60s``, ``1.5min``, ``2h`` in seconds; raises InvalidInput for anything else."""
    match = re.fullmatch(r"\s*([0-9.eE+-]+)\s*([a-z]*?)s?\s*", text)
    unit = _SECONDS.get((match[2] or "s") if match else "")
    try:
        return parse_amount(match[1], what) * unit if match and unit else parse_amount("", what)
    except InvalidInput:
        raise InvalidInput(what, "a time above 0, such as 60, 60s or 2min", repr(text)) from None


def parse_tile(text: str) -> tuple[int, int]:
    """``2048x2048``, or ``2048`` for a square."""
    return parse_size(text if not text.strip().isdecimal() else f"{text.strip()}x{text.strip()}", "--tile")


class SamplingKeywords(TypedDict, total=False):
    """How closely to look, as ``saccade predict`` is told: each option by its name, as text or as a value."""

    mode: str
    size: str | Sequence[int] | None
    pixels: str | float | None
    gflops: float | None
    seconds: str | float | None
    mpp: float | None
    gsd: float | None
    tile: str | int | Sequence[int] | None
    overlap: float
    memory: str | int | None
    skip: bool


def require_known(options: Iterable[str], known: type) -> None:
    """Refuses what is no key of a TypedDict.

    Raises:
        UsageError: for an option that there is not, with the nearest that there is.
    """
    names = known.__annotations__
    for name in options:
        if name not in names:
            raise UsageError(f"unknown option {name!r}; {nearest_name(name, names)}")


def sampling_of(options: Mapping[str, Any]) -> SamplingOptions:
    """The :class:`SamplingOptions` that :class:`SamplingKeywords` describe.

    Raises:
        UsageError: for an option that there is not, with the nearest that there is.
        InvalidInput: for a value that is not allowed.
    """
    require_known(options, SamplingKeywords)
    values = {name: value for name, value in options.items() if value is not None}
    if "mpp" in values and "gsd" in values:
        raise InvalidInput("mpp", "given without gsd", "both", "choose one")
    units: tuple[tuple[str, Literal["micron", "metre"]], ...] = (("mpp", "micron"), ("gsd", "metre"))
    spacing = next((Spacing(values[name], unit) for name, unit in units if name in values), None)
    parsers: dict[str, Callable[[str], Any]] = {
        "size": lambda text: parse_size(text, "--size"),
        "pixels": parse_pixels,
        "gflops": lambda text: parse_amount(text, "--gflops"),
        "seconds": lambda text: parse_seconds(text, "--seconds"),
        "tile": parse_tile,
        "memory": parse_memory,
    }
    kept = {name: values[name] for name in values if name not in ("mpp", "gsd")}
    for name, parse in parsers.items():
        if name in kept:
            kept[name] = parse(_as_text(kept[name]))
    return SamplingOptions(spacing=spacing, **kept)


def _as_text(value: Any) -> str:
    """A value as it would stand on the command line."""
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
