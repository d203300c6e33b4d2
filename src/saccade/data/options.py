"""How a data set is read: its layout, its crop, its resolution."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from saccade.data.crop import Crop
from saccade.errors import InvalidInput, nearest_name

GRADE5 = ("ignore", "class")


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
        grade5: of Gleason 2019: ignore (as published: counts nowhere), or class (scored as the others).
    """

    path: str | None = None
    format: str = "auto"
    crop: str = "none"
    target: str | None = None
    max_pixels: int = 50_000_000
    mpp: float | None = None
    grade5: str = "ignore"

    def __post_init__(self) -> None:
        Crop.parse(self.crop)
        if self.max_pixels < 1:
            raise InvalidInput("data.max_pixels", "1 or more", self.max_pixels)
        if self.mpp is not None and not 0 < self.mpp < float("inf"):
            raise InvalidInput("data.mpp", "a positive number of microns a pixel", self.mpp)
        if self.grade5 not in GRADE5:
            fix = nearest_name(self.grade5, GRADE5)
            raise InvalidInput("data.grade5", "one of " + ", ".join(GRADE5), repr(self.grade5), fix)

    @property
    def cropping(self) -> Crop:
        """The parsed ``crop``."""
        return Crop.parse(self.crop)

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
