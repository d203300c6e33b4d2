"""Training rasters too big to open: windows of them, at full resolution, are items of their own."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data.dataset import Format, Item, ItemFacts, Listing
from saccade.data.region import Area, Region
from saccade.data.splits import SPLITS
from saccade.errors import Fault, FileProblem, InvalidInput
from saccade.geometry import Window
from saccade.rasters import RGB, Raster, as_rgb, open_raster
from saccade.rasters.bands import BandRaster, as_bands, whole
from saccade.rasters.part import PartRaster
from saccade.runtime.seeds import seed_of

SHARES = {"train": 3, "val": 1, "test": 1}
"""Of the labelled area of a scene that stands in several splits."""

MOST_OPEN = 16
"""Scenes whose files stay open."""

FEWEST_BLOCKS = 25
"""Blocks of a scene where it has so many windows: fewer leave a split without a class."""

LARGEST_BLOCK = 8
"""Rows and columns of windows of a block."""


@dataclass(frozen=True)
class Scene:
    """A raster cut into cells.

    Attributes:
        item: of the whole.
        splits: those that it stands in.
        rows, columns: the borders of the cells: one more than there are.
        cells: by (row, column), those that an area of interest meets.
        block: rows and columns of cells that stay together in one split.
    """

    item: Item
    splits: tuple[str, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    cells: Mapping[tuple[int, int], Item]
    block: int

    def window(self, row: int, column: int) -> Window:
        """Of a cell."""
        return Window(self.rows[row], self.rows[row + 1], self.columns[column], self.columns[column + 1])

    def touched(self, window: Window) -> Iterator[tuple[int, int]]:
        """The cells that a window has pixels of."""
        rows, columns = (
            range(bisect_right(edges, first) - 1, bisect_right(edges, last - 1))
            for edges, first, last in (
                (self.rows, window.top, window.bottom), (self.columns, window.left, window.right)
            )
        )  # fmt: skip
        yield from product(rows, columns)

    def piece(self, window: Window) -> Item:
        """The item of a window of it."""
        stem = f"{self.item.stem}@{window.top}_{window.left}"
        return replace(self.item, stem=stem, window=window)


def borders(length: int, side: int) -> tuple[int, ...]:
    """Of cells of ``side`` pixels along an axis; the last has from half to one and a half of that.

    Examples:
        >>> from saccade.data.windows import borders
        >>> borders(1100, 512), borders(1300, 512), borders(300, 512)
        ((0, 512, 1100), (0, 512, 1024, 1300), (0, 300))
    """
    count = max(1, int(length / side + 0.5))
    return *(number * side for number in range(count)), length


def cut(item: Item, splits: Sequence[str], size: tuple[int, int], side: tuple[int, int]) -> Scene:
    """A scene of ``size`` (H, W) in cells of ``side`` (rows, columns)."""
    rows, columns = borders(size[0], side[0]), borders(size[1], side[1])
    count = (len(rows) - 1) * (len(columns) - 1)
    block = min(LARGEST_BLOCK, max(1, int(sqrt(count / FEWEST_BLOCKS))))
    scene = Scene(item, tuple(splits), rows, columns, {}, block)
    places = [(row, column) for row in range(len(rows) - 1) for column in range(len(columns) - 1)]
    return replace(scene, cells={place: scene.piece(scene.window(*place)) for place in places})


Owners = dict[tuple[str, int, int], str]
"""The split of each block, by stem of the scene, row and column of blocks."""


def share_out(scenes: Sequence[Scene], counts: Mapping[str, Sequence[int]]) -> Owners:
    """Gives every block of scenes that stand in several splits to one of these.

    Blocks with most of the rarest classes come first, and go where most of their classes is missing, so that
    each split has its share of each class as far as there are blocks enough (after Sechidis et al., "On the
    stratification of multi-label data", 2011). Nothing is drawn: the same data is always shared out alike.

    Args:
        scenes: each with two splits or more.
        counts: pixels of each class by the stems of cells.
    """
    owners: Owners = {}
    for splits in dict.fromkeys(scene.splits for scene in scenes):
        blocks: dict[tuple[str, int, int], NDArray[np.float64]] = {}
        for scene in scenes:
            if scene.splits != splits:
                continue
            for (row, column), cell in scene.cells.items():
                block = scene.item.stem, row // scene.block, column // scene.block
                blocks[block] = blocks.get(block, 0) + np.asarray(counts[cell.stem], np.float64)
        owners |= _shared_out(blocks, splits)
    return owners


def _shared_out(blocks: Mapping[tuple[str, int, int], NDArray[Any]], splits: Sequence[str]) -> Owners:
    shares = np.array([SHARES[name] for name in splits], float)
    shares /= shares.sum()
    content = np.array(list(blocks.values()))
    content /= np.maximum(content.sum(0), 1)
    got = np.zeros((len(splits), content.shape[1]))
    owners: Owners = {}
    places = list(blocks)
    for number in np.argsort(-content.sum(1), kind="stable"):
        missing = 1 - got / shares[:, None]
        best = int(np.argmax((missing * content[number]).sum(1)))
        got[best] += content[number]
        owners[places[number]] = splits[best]
    return owners


@dataclass(frozen=True)
class Draws:
    """The windows that an epoch trains on, which follow from seed and epoch alone.

    Each is a cell of the split train, moved by up to a quarter of its size along its rows or along its
    columns, and never so far that it has a pixel of a cell of another split. Not along both: a window that
    lies across tiles of the file in both directions takes four times as long to decode as one tile.

    Attributes:
        scenes: with cells of train.
        owners: the split of each block; scenes of one split have none.
        cells: (scene, row, column) of those with labels.
        counts: (n, K) pixels of each class in them.
        number: windows of an epoch.
        balance: area: each cell as often as any other; classes: each class as often as any other, and cells
            by how much they have of it.
    """

    scenes: tuple[Scene, ...]
    owners: Owners
    cells: tuple[tuple[int, int, int], ...]
    counts: NDArray[np.int64]
    number: int
    balance: str
    side: tuple[int, int]

    def of(self, seed: int, epoch: int) -> list[Item]:
        """The windows of an epoch."""
        draw = np.random.default_rng(seed_of(seed, epoch, _DRAWS))
        return [self._moved(self.cells[cell], draw) for cell in self._chosen(draw)]

    def _chosen(self, draw: np.random.Generator) -> NDArray[np.int64]:
        if self.balance == "area":
            rounds = -(-self.number // len(self.cells))
            orders = [np.argsort(draw.random(len(self.cells))) for _ in range(rounds)]
            return np.concatenate(orders)[: self.number]
        present = np.flatnonzero(self.counts.sum(0))
        classes = present[np.arange(self.number) % len(present)]
        chosen = np.empty(self.number, np.int64)
        for label in present:
            upto = np.cumsum(self.counts[:, label], dtype=np.float64)
            of_class = classes == label
            places = draw.random(int(of_class.sum())) * upto[-1]
            chosen[of_class] = np.searchsorted(upto, places, side="right").clip(max=len(upto) - 1)
        return chosen

    def _moved(self, cell: tuple[int, int, int], draw: np.random.Generator) -> Item:
        scene = self.scenes[cell[0]]
        fixed = scene.window(*cell[1:])
        size = scene.rows[-1], scene.columns[-1]
        height, width = min(self.side[0], size[0]), min(self.side[1], size[1])
        shares = draw.random((_TRIES, 2)) - 0.5
        shares[np.arange(_TRIES), draw.integers(2, size=_TRIES)] = 0
        for down, right in shares:
            top = int(fixed.top + (fixed.height - height) / 2 + down * height / 2)
            left = int(fixed.left + (fixed.width - width) / 2 + right * width / 2)
            top, left = min(max(0, top), size[0] - height), min(max(0, left), size[1] - width)
            window = Window(top, top + height, left, left + width)
            if all(self._is_trained_on(scene, *place) for place in scene.touched(window)):
                return scene.piece(window)
        return scene.cells[cell[1:]]

    def _is_trained_on(self, scene: Scene, row: int, column: int) -> bool:
        block = scene.item.stem, row // scene.block, column // scene.block
        return scene.splits == ("train",) or self.owners.get(block) == "train"


_DRAWS = 3
"""What the seed of the windows of an epoch has behind those of other draws."""
_TRIES = 4


class Windowed(Format):
    """The scenes of another layout, in windows.

    Every window of a fixed grid is read once when the data is opened: for faults, and for what is in it.
    Windows without a label are left out. A scene that stands in several splits is shared out in blocks of
    windows, so that no pixel is of two splits.

    Args:
        inner: the layout: folder, slides or vectors.

    Raises:
        InvalidInput: for another layout, or options that do not go with windows.
    """

    def __init__(self, inner: Format) -> None:
        super().__init__(inner.options)
        options = inner.options
        if not inner.windowed:
            expected = "a data set of folder, slides or vectors (data.format)"
            raise InvalidInput("data.window", expected, inner.title)
        if options.crop != "none" or options.mpp is not None:
            other = "data.crop" if options.crop != "none" else "data.mpp"
            fix = f"leave out {other}"
            raise InvalidInput("data.window", "windows at full resolution", f"{other} too", fix)
        self.inner = inner
        # As the layout beneath is called, where a data set is described.
        self.name, self.title = inner.name, inner.title  # type: ignore[misc]
        self.looks_for, self.source = inner.looks_for, inner.source  # type: ignore[misc]
        self.scored = inner.scored  # type: ignore[misc]
        self._region = None if options.region is None else Region.parse(options.region)
        self._scenes: list[Scene] = []
        self._remember()

    def _remember(self) -> None:
        self._raster = lru_cache(MOST_OPEN)(open_raster)
        self._pixels = lru_cache(MOST_OPEN)(self._open_pixels)
        self._labels = lru_cache(MOST_OPEN)(self.inner.open_labels)
        self._area = lru_cache(MOST_OPEN)(self._find_area)

    def __getstate__(self) -> dict[str, Any]:
        """Open files stay behind in another process."""
        return {k: v for k, v in self.__dict__.items() if k not in ("_raster", "_pixels", "_labels", "_area")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._remember()

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return False

    def _open_pixels(self, path: Path) -> Raster:
        raster = self._raster(path)
        if self.bands is not None:
            return as_bands(raster, self.bands, like=self.like)
        return as_rgb(raster, value_range=self.options.value_range)

    def _find_area(self, path: Path) -> Area | None:
        if self._region is None:
            return None
        raster = self._raster(path)
        return self._region.on(raster) if self._region.meets(raster) else None

    def find(self, root: Path, splits: tuple[str, ...] | None) -> Listing:
        listing = self.inner.find(root, None)
        if listing.faults or listing.classes is None:
            return Listing(listing.classes, {}, listing.faults, listing.notices)
        split_names = tuple(listing.splits) if splits is None else splits
        names: dict[Item, list[str]] = {}
        for name in SPLITS:
            for item in listing.splits.get(name, ()):
                names.setdefault(item, []).append(name)
        faults = [
            Fault(root, f"images of {name}", "none; has " + (", ".join(listing.splits) or "no split"))
            for name in split_names
            if name not in listing.splits
        ]
        self._scenes, left_out = [], 0
        for item, some in names.items():
            if not set(some) & set(split_names):
                continue
            try:
                scene = self._cut(item, some)
                self.inner.check_labels(item, self._raster(item.image), self._labels(item.mask))
            except FileProblem as problem:
                fix = f"; {problem.fix}" if problem.fix else ""
                faults.append(Fault(problem.path, problem.expected, f"{problem.got}{fix}"))
                continue
            left_out += not scene.cells
            self._scenes.append(scene)
        cells: dict[str, list[Item]] = {}
        for scene in self._scenes:
            cells.setdefault(scene.splits[0], []).extend(scene.cells.values())
        if self._scenes and not any(cells.values()):
            faults.append(Fault(root, f"images that the region {self.options.region} meets", "none"))
        notices = list(listing.notices)
        if left_out:
            notices.append(f"{left_out} image{'s' * (left_out > 1)} outside of the region: left out")
        return Listing(listing.classes, cells, faults, notices)

    def _cut(self, item: Item, splits: Sequence[str]) -> Scene:
        scene = cut(item, splits, self._raster(item.image).size, self._side)
        if self._region is None:
            return scene
        area = self._area(item.image)
        inside = {
            place: cell
            for place, cell in scene.cells.items()
            if area is not None and area.inside(scene.window(*place)).any()
        }
        return replace(scene, cells=inside)

    @property
    def _side(self) -> tuple[int, int]:
        side = self.options.window_size
        assert side is not None
        return side

    def settle(
        self, facts: Mapping[str, ItemFacts], chosen: Sequence[str] | None
    ) -> tuple[dict[str, tuple[Item, ...]], Draws | None, list[str]]:
        """The windows of each split, how an epoch draws those of train, and what a user should know."""
        counts = {stem: fact.counts for stem, fact in facts.items()}
        owners = share_out([scene for scene in self._scenes if len(scene.splits) > 1], counts)
        names = [name for name in SPLITS if any(name in scene.splits for scene in self._scenes)]
        splits: dict[str, list[Item]] = {name: [] for name in names if chosen is None or name in chosen}
        train: list[tuple[int, int, int]] = []
        empty = 0
        for number, scene in enumerate(self._scenes):
            for (row, column), cell in scene.cells.items():
                block = scene.item.stem, row // scene.block, column // scene.block
                name = owners[block] if len(scene.splits) > 1 else scene.splits[0]
                if not sum(counts[cell.stem]):
                    empty += 1
                elif name in splits:
                    splits[name].append(cell)
                    train += [(number, row, column)] if name == "train" else []
        notices = []
        every = sum(len(scene.cells) for scene in self._scenes)
        if empty:
            notices.append(f"{empty} of {every} windows hold no label: left out")
        for name in [name for name, items in splits.items() if not items]:
            notices.append(f"no window of {name} holds a label")
        kept = {name: tuple(items) for name, items in splits.items()}
        if not train:
            return kept, None, notices
        scenes = tuple(self._scenes)
        table = np.array([counts[scenes[n].cells[row, column].stem] for n, row, column in train], np.int64)
        number = self.options.windows or len(train)
        draws = Draws(scenes, owners, tuple(train), table, number, self.options.balance, self._side)
        return kept, draws, notices

    def image(self, item: Item) -> RGB:
        raster = self._pixels(item.image)
        if isinstance(raster, BandRaster):
            return RGB(whole(raster, item.window), raster.notices)
        return RGB(raster.read(item.window), raster.notices)

    def values(self, item: Item) -> NDArray[np.integer]:
        assert item.window is not None
        part = PartRaster(self._raster(item.image), item.window)
        return self.inner.values_in(item, part, self._labels(item.mask))

    def outside(self, item: Item) -> NDArray[np.bool_] | None:
        area = self._area(item.image)
        return None if area is None or item.window is None else ~area.inside(item.window)

    def remarks(self) -> list[str]:
        return self.inner.remarks()
