"""What a data set is: what a layout of files answers, and what training and evaluation are handed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from saccade.data.bands import BandFacts, scaled
from saccade.data.classes import ClassTable
from saccade.data.options import DataOptions
from saccade.data.region import Region
from saccade.errors import Fault, FileProblem, InvalidInput
from saccade.figures import table_html, titled_html
from saccade.geometry import Window
from saccade.rasters import RGB, Raster, open_raster, read_label_map, read_rgb
from saccade.rasters.bands import Bands, read_bands
from saccade.rasters.part import PartRaster


@dataclass(frozen=True)
class Item:
    """One image of a data set and its labels.

    Attributes:
        stem: name without extension, with its folders below the one of all images; unique in the data set.
        image: path of the image.
        mask: path of the labels.
        others: further files that the labels come from, such as those of other annotators.
        window: the part of the image that this item is; None for all of it.

    Examples:
        >>> from pathlib import Path
        >>> from saccade.data import Item
        >>> Item("leaf_1", Path("images/leaf_1.jpg"), Path("masks/leaf_1.png")).stem
        'leaf_1'
    """

    stem: str
    image: Path
    mask: Path
    others: tuple[Path, ...] = ()
    window: Window | None = None


@dataclass(frozen=True)
class Decoded:
    """The pixels of an item.

    Attributes:
        image: (H, W, 3) uint8, red, green, blue, upright (EXIF orientation applied); of a data set of bands
            (H, W, C) uint8 or float32 in the file's own values, or (H, W, 2 C) float32 where some were not
            measured: 0 there, and behind the values 1 where something was.
        labels: (H, W) uint8 ids 0..K-1, ignored pixels 255, upright as the image is.
        notices: what was done to the image on the way ("alpha channel dropped"); empty where nothing was.
        read_instances: reads (H, W) integer ids of single objects, 0 where there is none; None where the data
            set has no such maps. Read only when asked for: training needs none.

    Examples:
        >>> from saccade.data import open_data
        >>> from saccade.testing import make_fake
        >>> data = open_data(make_fake("folder", "leaves", size=(16, 24)))
        >>> decoded = data.read(data.split("train")[0])
        >>> decoded.image.shape, decoded.labels.dtype
        ((16, 24, 3), dtype('uint8'))
    """

    image: NDArray[Any]
    labels: NDArray[np.uint8]
    notices: tuple[str, ...] = ()
    read_instances: Callable[[], NDArray[np.integer]] | None = None


class DataSet(Protocol):
    """Classes, items by split, and pixels of an item. One data set a file in this room.

    Examples:
        >>> from saccade.data import DataSet, open_data
        >>> from saccade.testing import make_fake
        >>> def images(data: DataSet) -> int:
        ...     return len(data.split("train"))
        >>> images(open_data(make_fake("folder", "leaves", count=(3, 1, 1))))
        3
    """

    @property
    def classes(self) -> ClassTable: ...

    def split(self, name: str) -> Sequence[Item]:
        """The items of "train", "val" or "test"; raises InvalidInput where the data set has no such split."""
        ...

    def read(self, item: Item) -> Decoded:
        """Pixels of an item; raises FileProblem where they cannot be read."""
        ...


@dataclass
class Listing:
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
        any_split: whether ``splits.json`` may have splits of any name, which are opened when asked for.
        scored: the split that is scored where none is named: val where the labels of test are not public.
        windowed: whether it can be read in windows (``data.window``): it has the four methods for that.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    looks_for: ClassVar[str]
    source: ClassVar[str] = ""
    any_split: ClassVar[bool] = False
    scored: ClassVar[str] = "test"
    windowed: ClassVar[bool] = False

    def __init__(self, options: DataOptions | None = None) -> None:
        self.options = options or DataOptions()

    @classmethod
    @abstractmethod
    def recognises(cls, root: Path) -> bool:
        """Whether the folder ``root`` is, or is meant to be, of this layout."""

    @abstractmethod
    def find(self, root: Path, splits: tuple[str, ...] | None) -> Listing:
        """Classes and items; of ``splits`` only, or of all that are there."""

    bands: Bands | None = None
    """What images are read as, in their own values; None for colour of eight bits. Set when a data set is
    opened."""

    @property
    def like(self) -> str:
        """Whose bands images must have, for messages."""
        return "the run" if self.bands is not None and self.bands.mean else "the data set"

    some_pixels: int = 1
    """Of how many pixels of an image the values are kept, for percentiles."""

    def image(self, item: Item) -> RGB:
        """(H, W, 3) uint8, or the bands as :func:`saccade.rasters.bands.read_bands` gives them; raises
        FileProblem where it cannot be read."""
        if self.bands is not None:
            return RGB(*read_bands(item.image, self.bands, like=self.like))
        return read_rgb(item.image, value_range=self.options.value_range)

    def values(self, item: Item) -> NDArray[np.integer]:
        """(H, W) uint8 or uint16, as the class table means them; raises FileProblem."""
        return read_label_map(item.mask, **self.ignored)

    ignored: Mapping[str, int | None] = MappingProxyType({})
    """Which value of mask files is read as which, as :func:`saccade.rasters.read_label_map` takes it."""

    def instances(self, item: Item) -> NDArray[np.integer] | None:
        """(H, W) ids of single objects, 0 where there is none; None where there is no such map."""
        return None

    def remarks(self) -> list[str]:
        """What a user should know once every item was read, one line each."""
        return []

    def has_instances(self, item: Item) -> bool:
        """Whether :meth:`instances` would give a map, without reading it."""
        return False

    def open_labels(self, path: Path) -> Any:
        """The file of labels, for :meth:`check_labels` and :meth:`values_in`; raises FileProblem."""
        raise NotImplementedError

    def check_labels(self, item: Item, raster: Raster, labels: Any) -> None:
        """Raises FileProblem where open labels are not those of a whole image."""
        raise NotImplementedError

    def values_in(self, item: Item, part: PartRaster, labels: Any) -> NDArray[np.integer]:
        """As :meth:`values`, of the window of an item, which ``part`` is; raises FileProblem."""
        raise NotImplementedError

    def outside(self, item: Item) -> NDArray[np.bool_] | None:
        """(h, w) of a window: True where it is outside of an area of interest; None where nothing is."""
        return None

    def missing(self, path: Path, expected: str, found: str = "nothing there") -> Fault:
        """The fault of a download that is not complete, with where to get the rest."""
        return Fault(path, expected, f"{found}; {self.title} is to be had from {self.source}")


@dataclass(frozen=True)
class ItemFacts:
    """What was seen of an item.

    Attributes:
        size: (H, W) of the upright image, cropped where that was asked for.
        counts: K numbers of pixels, one a class.
        ignored: the number of ignored pixels.
        image: digest of the pixels that :meth:`DataFolder.read` gives, "" where none was made.
        labels: digest of the class ids, likewise.
        bands: what was seen of the bands; None for colour of eight bits.
    """

    size: tuple[int, int]
    counts: tuple[int, ...]
    ignored: int
    image: str = ""
    labels: str = ""
    bands: BandFacts | None = field(default=None, compare=False, repr=False)


class EpochDraws(Protocol):
    """Items to train on, which differ from epoch to epoch."""

    @property
    def number(self) -> int: ...

    def of(self, seed: int, epoch: int) -> list[Item]:
        """As many as ``number``, and the same for the same numbers."""
        ...


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
        draws: what an epoch trains on where that is not the split train itself: windows of it.

    Examples:
        >>> from saccade.data import open_data
        >>> from saccade.testing import make_fake
        >>> data = open_data(make_fake("folder", "leaves", size=(16, 24), count=(3, 2, 1)))
        >>> {name: len(items) for name, items in data.splits.items()}
        {'train': 3, 'val': 2, 'test': 1}
        >>> dict(data.sizes("val"))
        {(16, 24): 2}
    """

    path: Path
    classes: ClassTable
    splits: Mapping[str, tuple[Item, ...]]
    facts: Mapping[str, ItemFacts]
    notices: tuple[str, ...] = ()
    format: Format = field(kw_only=True, repr=False)
    draws: EpochDraws | None = field(default=None, kw_only=True, repr=False)

    def _repr_html_(self) -> str:
        """Images of each split and the share of each class, for a notebook."""
        counts = {name: self.class_counts(name) for name in self.splits}
        shares = {name: count / max(1, count.sum()) for name, count in counts.items()}
        rows = [
            (name, *(f"{100 * share[k]:.3g} %" for share in shares.values()))
            for k, name in enumerate(self.classes.names)
        ]
        head = ("class", *(f"{name} ({len(items)} images)" for name, items in self.splits.items()))
        colours = dict(zip(self.classes.names, self.classes.colours, strict=True))
        notes = "".join(f"<p>{escape(notice)}</p>" for notice in self.notices)
        return titled_html(f"{self.path}: {self.format.title}", table_html(head, rows, colours) + notes)

    @property
    def options(self) -> DataOptions:
        """What was chosen when it was opened, ``path`` and ``format`` filled in."""
        return self.format.options

    @property
    def bands(self) -> Bands | None:
        """The bands that images are read as; None for colour of eight bits."""
        return self.format.bands

    def scaled_bands(self, split: str | None = "train") -> Bands | None:
        """The bands with what a training on a split normalises them with (``data.scale``), over the pixels
        that were measured.

        Raises:
            InvalidInput: for a scale or a picture that does not go with the bands.
        """
        seen = [facts for item in self._items(split) if (facts := self.facts[item.stem].bands) is not None]
        return None if self.bands is None or not seen else scaled(self.bands, seen, self.options)

    def split(self, name: str) -> tuple[Item, ...]:
        """The items of a split; raises InvalidInput where there is none of that name."""
        if name not in self.splits:
            raise InvalidInput("split", f"one of {', '.join(self.splits)}", repr(name))
        return self.splits[name]

    @property
    def training_items(self) -> int:
        """How many an epoch trains on."""
        return len(self.split("train")) if self.draws is None else self.draws.number

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

    def ignored_pixels(self, split: str) -> int:
        """How many pixels of a split count nowhere."""
        return sum(self.facts[item.stem].ignored for item in self._items(split))

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
    image: NDArray[Any],
    labels: NDArray[np.uint8],
    notices: Iterable[str],
    trained_on: bool,
) -> Decoded:
    """What a data set hands out of an item: cropped, and with its instances to be read when asked for.

    Args:
        format: of the data set.
        item: whose pixels these are.
        image: (H, W, 3), or bands, whole.
        labels: (H, W) ids, whole.
        notices: of the image.
        trained_on: the item is of the split train.
    """
    cuts: list[Window] = []
    if item.window is not None:
        outside = format.outside(item)
        if outside is not None:
            labels = np.where(outside, np.uint8(ClassTable.ignore_index), labels)
    elif format.options.region is not None:
        image, labels, cut = cut_to_region(Region.parse(format.options.region), item, image, labels)
        cuts.append(cut)
    crop = format.options.cropping
    window = None if crop.random and trained_on else crop.window((labels.shape[0], labels.shape[1]))
    cuts += [] if window is None else [window]
    has_instances = item.window is None and format.has_instances(item)
    reader = _instances_reader(format, item, cuts) if has_instances else None
    return Decoded(_cut(image, window), _cut(labels, window), tuple(notices), reader)


def _cut(pixels: NDArray[Any], window: Window | None) -> NDArray[Any]:
    """A copy, so that the whole is not kept in memory."""
    return pixels if window is None else np.ascontiguousarray(pixels[window.slices])


def cut_to_region(
    region: Region, item: Item, image: NDArray[Any], labels: NDArray[np.uint8]
) -> tuple[NDArray[Any], NDArray[np.uint8], Window]:
    """Image and ids of the part around a region, what lies outside of it ignored, and which part that is.

    Args:
        region: an area of interest.
        item: whose pixels these are.
        image: (H, W, 3), whole, perhaps reduced.
        labels: (H, W) ids.
    """
    with open_raster(item.image) as raster:
        area = region.on(raster).scaled(raster.size, (labels.shape[0], labels.shape[1]))
    ids = labels[area.window.slices].copy()
    ids[~area.inside(area.window)] = ClassTable.ignore_index
    return _cut(image, area.window), ids, area.window


def _instances_reader(
    format: Format, item: Item, cuts: Sequence[Window]
) -> Callable[[], NDArray[np.integer]]:
    def read() -> NDArray[np.integer]:
        instances = format.instances(item)
        if instances is None:
            raise FileProblem(item.mask, "a map of single objects beside it", "none")
        for window in cuts:
            instances = _cut(instances, window)
        return instances

    return read
