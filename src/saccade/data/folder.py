"""The data folder: ``images/``, ``masks/`` with the same stems, ``classes.json`` and ``splits.json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saccade.data.classes import ClassTable
from saccade.data.classesfile import read_classes
from saccade.data.dataset import SPLITS, Decoded, Item
from saccade.data.inspection import ItemFacts, OnDecoded, OnProgress, inspect_items
from saccade.data.pairs import pair_files, shared_contents
from saccade.data.splitsfile import Splits, read_splits
from saccade.errors import DataFaults, Fault, FileProblem, InvalidInput
from saccade.rasters import read_label_map, read_rgb


@dataclass(frozen=True)
class DataFolder:
    """A data folder in which no fault was found; it satisfies :class:`saccade.data.dataset.DataSet`.

    Attributes:
        path: the folder.
        classes: its class table.
        splits: the items of each split that was opened, in the order of ``splits.json``.
        facts: by stem, the size and the pixels of each class.
        notices: what a user should know, one line each with a count ("alpha channel dropped: 3 images").
    """

    path: Path
    classes: ClassTable
    splits: Mapping[str, tuple[Item, ...]]
    facts: Mapping[str, ItemFacts]
    notices: tuple[str, ...] = ()

    def split(self, name: str) -> tuple[Item, ...]:
        """The items of a split; raises InvalidInput where the folder has none of that name."""
        if name not in self.splits:
            raise InvalidInput("split", f"one of {', '.join(self.splits)}", repr(name))
        return self.splits[name]

    def size(self, item: Item) -> tuple[int, int]:
        """(H, W) of an item's upright image."""
        return self.facts[item.stem].size

    def sizes(self, split: str | None = None) -> Counter[tuple[int, int]]:
        """How many items have each (H, W), in one split or in all."""
        return Counter(self.size(item) for item in self._items(split))

    def class_counts(self, split: str | None = None) -> NDArray[np.int64]:
        """(K,) pixels of each class, pooled over one split or all; ignored pixels count nowhere."""
        rows = [self.facts[item.stem].counts for item in self._items(split)]
        return np.sum(np.array(rows, np.int64).reshape(-1, len(self.classes)), axis=0)

    def read(self, item: Item) -> Decoded:
        """Pixels of an item, image and labels; raises FileProblem where one cannot be read."""
        image, values = read_rgb(item.image), read_label_map(item.mask)
        if image.array.shape[:2] != values.shape:
            raise FileProblem(item.mask, f"the size of its image {image.array.shape[:2]}", values.shape)
        return Decoded(image.array, self.classes.encode(values), tuple(image.notices))

    def _items(self, split: str | None) -> Iterable[Item]:
        if split is not None:
            return self.split(split)
        return [item for items in self.splits.values() for item in items]


def open_data(
    path: Path | str,
    *,
    splits: Iterable[str] | None = None,
    on_decoded: OnDecoded | None = None,
    on_progress: OnProgress | None = None,
) -> DataFolder:
    """Opens a data folder and checks everything in it, files and pixels, before any work starts.

    Args:
        path: the folder.
        splits: the splits whose files are needed ("train", "val", "test"); None for all that the folder has.
        on_decoded: called, from a few threads, once with each item and its pixels, which the check decodes
            anyway: hand in :meth:`saccade.data.cache.SampleCache.keep`.
        on_progress: called with how many items of how many are checked.

    Raises:
        FileProblem: where ``path`` is not a folder.
        DataFaults: with every fault that was found: file, what was expected, what was found.
    """
    root = Path(path)
    if not root.is_dir():
        found = "a file" if root.exists() else "no such folder"
        raise FileProblem(root, "a data folder (images/, masks/, classes.json, splits.json)", found)
    classes, faults = read_classes(root / "classes.json")
    stems, split_faults = read_splits(root / "splits.json")
    faults += split_faults
    if splits is not None:
        stems, missing = _only(stems, tuple(splits), root / "splits.json", bool(split_faults))
        faults += missing
    items, pair_faults, notices = pair_files(root, stems)
    inspections = inspect_items(list(items.values()), classes, on_decoded, on_progress)
    faults += [*pair_faults, *shared_contents(items, stems)]
    faults += [fault for inspection in inspections for fault in inspection.faults]
    if faults or classes is None:
        raise DataFaults(faults)
    facts = {i.item.stem: i.facts for i in inspections if i.facts is not None}
    folder = DataFolder(root, classes, {n: tuple(items[s] for s in stems[n]) for n in stems}, facts)
    counted = Counter(notice for inspection in inspections for notice in inspection.notices)
    lines = [f"{notice}: {n} image{'s' if n > 1 else ''}" for notice, n in sorted(counted.items())]
    notices = [*(notices if splits is None else []), *lines, *_unseen_classes(folder)]
    return DataFolder(root, classes, folder.splits, facts, tuple(notices))


def _only(
    stems: Splits, names: tuple[str, ...], path: Path, already_faulty: bool
) -> tuple[Splits, list[Fault]]:
    if unknown := [name for name in names if name not in SPLITS]:
        raise InvalidInput("split", f"one of {', '.join(SPLITS)}", repr(unknown[0]))
    missing = [name for name in names if name not in stems]
    has = ", ".join(stems) or "none"
    faults = [Fault(path, f"a split named {name!r}", f"only {has}") for name in missing]
    return {name: stems[name] for name in names if name in stems}, [] if already_faulty else faults


def _unseen_classes(folder: DataFolder) -> list[str]:
    lines = []
    for split in folder.splits:
        counts = folder.class_counts(split)
        absent = [name for name, count in zip(folder.classes.names, counts, strict=True) if count == 0]
        if absent:
            lines.append(f"no pixel of {', '.join(absent)} in {split}")
    return lines
