"""What training and evaluation need of any data set; :class:`saccade.data.folder.DataFolder` is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from saccade.data.classes import ClassTable

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Item:
    """One image of a data set and its labels.

    Attributes:
        stem: name without folder and extension, unique in the data set.
        image: path of the image.
        mask: path of the labels.
        others: further files that the labels come from, such as those of other annotators.
    """

    stem: str
    image: Path
    mask: Path
    others: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Decoded:
    """The pixels of an item.

    Attributes:
        image: (H, W, 3) uint8, red, green, blue, upright (EXIF orientation applied).
        labels: (H, W) uint8 ids 0..K-1, ignored pixels 255, upright as the image is.
        notices: what was done to the image on the way ("alpha channel dropped"); empty where nothing was.
        read_instances: reads (H, W) integer ids of single objects, 0 where there is none; None where the data
            set has no such maps. Read only when asked for: training needs none.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    notices: tuple[str, ...] = ()
    read_instances: Callable[[], NDArray[np.integer]] | None = None


class DataSet(Protocol):
    """Classes, items by split, and pixels of an item. One data set a file in this room."""

    @property
    def classes(self) -> ClassTable: ...

    def split(self, name: str) -> Sequence[Item]:
        """The items of "train", "val" or "test"; raises InvalidInput where the data set has no such split."""
        ...

    def read(self, item: Item) -> Decoded:
        """Pixels of an item; raises FileProblem where they cannot be read."""
        ...
