"""A data set in which no fault was found, whatever its layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saccade.data.classes import ClassTable
from saccade.data.dataset import Decoded, Item
from saccade.data.format import Format
from saccade.data.options import DataOptions
from saccade.errors import FileProblem, InvalidInput
from saccade.rasters import Window


@dataclass(frozen=True)
class ItemFacts:
    """What was seen of an item.

    Attributes:
        size: (H, W) of the upright image, cropped where that was asked for.
        counts: K numbers of pixels, one a class.
        ignored: the number of ignored pixels.
    """

    size: tuple[int, int]
    counts: tuple[int, ...]
    ignored: int


@dataclass(frozen=True)
class DataFolder:
    """An opened data set; it satisfies :class:`saccade.data.dataset.DataSet`.

    Attributes:
        path: the folder.
        classes: its class table.
        splits: the items of each split that was opened, in order.
        facts: by stem, the size and the pixels of each class.
        notices: what a user should know, one line each with a count ("alpha channel dropped: 3 images").
        format: how its files are read.
    """

    path: Path
    classes: ClassTable
    splits: Mapping[str, tuple[Item, ...]]
    facts: Mapping[str, ItemFacts]
    notices: tuple[str, ...] = ()
    format: Format = field(kw_only=True, repr=False)

    @property
    def options(self) -> DataOptions:
        """What was chosen when it was opened, ``path`` and ``format`` filled in."""
        return self.format.options

    def split(self, name: str) -> tuple[Item, ...]:
        """The items of a split; raises InvalidInput where there is none of that name."""
        if name not in self.splits:
            raise InvalidInput("split", f"one of {', '.join(self.splits)}", repr(name))
        return self.splits[name]

    def size(self, item: Item) -> tuple[int, int]:
        """(H, W) of what :meth:`read` gives of an item."""
        return self.facts[item.stem].size

    def sizes(self, split: str | None = None) -> Counter[tuple[int, int]]:
        """How many items have each (H, W), in one split or in all."""
        return Counter(self.size(item) for item in self._items(split))

    def class_counts(self, split: str | None = None) -> NDArray[np.int64]:
        """(K,) pixels of each class, pooled over one split or all; ignored pixels count nowhere."""
        rows = [self.facts[item.stem].counts for item in self._items(split)]
        return np.sum(np.array(rows, np.int64).reshape(-1, len(self.classes)), axis=0)

    def read(self, item: Item) -> Decoded:
        """Pixels of an item, image and labels; raises FileProblem where one cannot be read.

        They are cropped as the options ask; with a random square, items of the split train are whole, and
        :meth:`saccade.data.Sample.part` takes the square.
        """
        image, values = self.format.image(item), self.format.values(item)
        if image.array.shape[:2] != values.shape:
            raise FileProblem(item.mask, f"the size of its image {image.array.shape[:2]}", values.shape)
        labels, trained_on = self.classes.encode(values), item in self._trained_on
        return decoded(self.format, item, image.array, labels, image.notices, trained_on)

    @cached_property
    def _trained_on(self) -> frozenset[Item]:
        return frozenset(self.splits.get("train", ()))

    def _items(self, split: str | None) -> Iterable[Item]:
        if split is not None:
            return self.split(split)
        return [item for items in self.splits.values() for item in items]


def decoded(
    format: Format,
    item: Item,
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    notices: Iterable[str],
    trained_on: bool,
) -> Decoded:
    """What a data set hands out of an item: cropped, and with its instances to be read when asked for.

    Args:
        format: of the data set.
        item: whose pixels these are.
        image: (H, W, 3), whole.
        labels: (H, W) ids, whole.
        notices: of the image.
        trained_on: the item is of the split train.
    """
    crop = format.options.cropping
    window = None if crop.random and trained_on else crop.window((labels.shape[0], labels.shape[1]))
    reader = _instances_reader(format, item, window) if format.has_instances(item) else None
    return Decoded(_cut(image, window), _cut(labels, window), tuple(notices), reader)


def _cut(pixels: NDArray, window: Window | None) -> NDArray:
    """A copy, so that the whole is not kept in memory."""
    return pixels if window is None else np.ascontiguousarray(pixels[window.slices])


def _instances_reader(format: Format, item: Item, window: Window | None) -> Callable[[], NDArray[np.integer]]:
    def read() -> NDArray[np.integer]:
        found = format.instances(item)
        if found is None:
            raise FileProblem(item.mask, "a map of single objects beside it", "none")
        return _cut(found, window)

    return read
