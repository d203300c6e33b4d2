"""The values that stand for classes in the files of labels."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data.classes import ClassTable
from saccade.rasters import Output, Raster

OUTPUT_TILE = 512
"""Rows and columns of a tile of labels on the disk, whatever the memory: a resume may have another."""


class Values:
    """What the pixels of an output mean.

    Attributes:
        classes: of the run.
        fill_value: the value of an unlabelled pixel: what masks use for ignored pixels, else 255, or
            the highest value that is no class.
    """

    def __init__(self, classes: ClassTable) -> None:
        self.classes = classes
        ignored = classes.file_ignore_index
        free = (value for value in (*range(255, -1, -1), *range(65535, 255, -1)))
        self.fill_value = (
            ignored if ignored is not None else next(v for v in free if v not in classes.indices)
        )

    @cached_property
    def table(self) -> NDArray[Any]:
        """(256,) the value of each id; 255 is the fill value."""
        wide = max(*self.classes.indices, self.fill_value) > 255
        table = np.full(256, self.fill_value, np.uint16 if wide else np.uint8)
        table[: len(self.classes)] = self.classes.indices
        return table

    def of(self, ids: NDArray[np.uint8]) -> NDArray[Any]:
        """Ids as values; not a copy where they are the same."""
        same = self.table.dtype == np.uint8 and (self.table[: len(self.classes)] == self._counting).all()
        return ids if same and self.fill_value == 255 else self.table[ids]

    @property
    def _counting(self) -> NDArray[np.int64]:
        return np.arange(len(self.classes))

    def ids(self, values: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Values as ids; 255 for what is no class."""
        # A look-up for all 16 bits: indices in masks may be sparse and above 255.
        table = np.full(65536, 255, np.uint8)
        table[list(self.classes.indices)] = range(len(self.classes))
        return table[values]

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each value up to the highest class."""
        named = dict(zip(self.classes.indices, self.classes.names, strict=True))
        return tuple(named.get(value, f"value {value}") for value in range(max(self.classes.indices) + 1))

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...] | None:
        """(256) colours of the values; None where a value is above 255."""
        if self.table.dtype != np.uint8:
            return None
        return tuple((int(r), int(g), int(b)) for r, g, b in self.classes.palette)

    def labels_like(self, raster: Raster, tile: int, *, gaps: bool) -> Output:
        """The label output of an image; ``gaps``: some pixels may be unlabelled."""
        nodata = self.fill_value if gaps else None
        return Output.like(
            raster,
            "labels",
            dtype=self.table.dtype.name,
            palette=self.palette,
            names=self.names,
            nodata=nodata,
            tile=tile,
        )
