"""What a layout of files must answer to be a data set; each is one file in this room."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from saccade.data.classes import ClassTable
from saccade.data.dataset import Item
from saccade.data.options import DataOptions
from saccade.errors import Fault
from saccade.rasters import RGB, read_label_map, read_rgb


@dataclass
class Found:
    """What lies in a folder.

    Attributes:
        classes: the class table; None where a fault stands in the way of one.
        splits: the items of each split that is there and was asked for.
        faults: everything that is not as it should be and can be told without decoding pixels.
        notices: what a user should know, one line each.
    """

    classes: ClassTable | None
    splits: Mapping[str, Sequence[Item]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


class Format(ABC):
    """One layout of files on a disk, as its makers publish it. Nothing is ever written into it.

    Attributes:
        name: as in ``data.format=``.
        title: what people call it.
        looks_for: by what it is recognised, for the message about a folder that is none.
        source: where it is to be had, in words.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    looks_for: ClassVar[str]
    source: ClassVar[str] = ""

    def __init__(self, options: DataOptions | None = None) -> None:
        self.options = options or DataOptions()

    @classmethod
    @abstractmethod
    def recognises(cls, root: Path) -> bool:
        """Whether the folder ``root`` is, or is meant to be, of this layout."""

    @abstractmethod
    def find(self, root: Path, splits: tuple[str, ...] | None) -> Found:
        """Classes and items; of ``splits`` only, or of all that are there."""

    def image(self, item: Item) -> RGB:
        """(H, W, 3) uint8; raises FileProblem where it cannot be read."""
        return read_rgb(item.image)

    def values(self, item: Item) -> NDArray[np.integer]:
        """(H, W) uint8 or uint16, as the class table means them; raises FileProblem."""
        return read_label_map(item.mask)

    def instances(self, item: Item) -> NDArray[np.integer] | None:
        """(H, W) ids of single objects, 0 where there is none; None where there is no such map."""
        return None

    def has_instances(self, item: Item) -> bool:
        """Whether :meth:`instances` would give a map, without reading it."""
        return False

    def missing(self, path: Path, expected: str, found: str = "nothing there") -> Fault:
        """The fault of a download that is not complete, with where to get the rest."""
        return Fault(path, expected, f"{found}; {self.title} is to be had from {self.source}")
