"""Cityscapes (Cordts et al., CVPR 2016): street scenes, 19 of 30 classes scored, fine annotations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saccade.data.classes import ClassTable, Colour
from saccade.data.dataset import Format, Item, Listing
from saccade.data.folder import files, incomplete, match
from saccade.errors import Fault, FileProblem
from saccade.rasters import read_label_map

_CLASSES: dict[int, tuple[str, Colour]] = {
    7: ("road", (128, 64, 128)),
    8: ("sidewalk", (244, 35, 232)),
    11: ("building", (70, 70, 70)),
    12: ("wall", (102, 102, 156)),
    13: ("fence", (190, 153, 153)),
    17: ("pole", (153, 153, 153)),
    19: ("traffic light", (250, 170, 30)),
    20: ("traffic sign", (220, 220, 0)),
    21: ("vegetation", (107, 142, 35)),
    22: ("terrain", (152, 251, 152)),
    23: ("sky", (70, 130, 180)),
    24: ("person", (220, 20, 60)),
    25: ("rider", (255, 0, 0)),
    26: ("car", (0, 0, 142)),
    27: ("truck", (0, 0, 70)),
    28: ("bus", (0, 60, 100)),
    31: ("train", (0, 80, 100)),
    32: ("motorcycle", (0, 0, 230)),
    33: ("bicycle", (119, 11, 32)),
}
_UNLABELED = 0
_VOID = (1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)
_WHOLE = {"train": 2975, "val": 500, "test": 1525}
_IMAGE, _LABELS, _INSTANCES = "_leftImg8bit.png", "_gtFine_labelIds.png", "_gtFine_instanceIds.png"
_FIRST_OBJECT = 1000


class Cityscapes(Format):
    """``leftImg8bit/SPLIT/CITY/..._leftImg8bit.png`` with ``gtFine/SPLIT/CITY/..._gtFine_labelIds.png``.

    The official splits. Indices are the official ids, so predictions can be handed to the official server;
    the labels of test are dummies of ignored pixels, and papers score val. ``_gtFine_instanceIds.png`` gives
    single objects where it lies beside the labels (ids of 1000 and above; groups are none).
    """

    name = "cityscapes"
    scored = "val"
    title = "Cityscapes"
    looks_for = "leftImg8bit/, gtFine/"
    source = "the Cityscapes site (leftImg8bit_trainvaltest and gtFine_trainvaltest, after registration)"

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return any((root / name).is_dir() for name in ("leftImg8bit", "gtFine"))

    def find(self, root: Path, splits: tuple[str, ...] | None) -> Listing:
        listing = Listing(_table())
        items: dict[str, list[Item]] = {}
        listing.faults = [
            self.missing(root / name, "a folder, unpacked from its archive")
            for name in ("leftImg8bit", "gtFine")
            if not (root / name).is_dir()
        ]
        if listing.faults:
            return listing
        for split in splits or [s for s in _WHOLE if (root / "leftImg8bit" / s).is_dir()]:
            items[split], faults = self._split(root, split)
            listing.faults += faults
        listing.splits = items
        listing.notices = incomplete({name: len(some) for name, some in items.items()}, _WHOLE)
        return listing

    def _split(self, root: Path, split: str) -> tuple[list[Item], list[Fault]]:
        folders = root / "leftImg8bit" / split, root / "gtFine" / split
        images, masks = (
            {path.name.removesuffix(end): path for path in files(folder, f"*/*{end}")}
            for folder, end in zip(folders, (_IMAGE, _LABELS), strict=True)
        )
        if not images or not masks:
            pairs = zip(folders, (images, masks), (_IMAGE, _LABELS), strict=True)
            return [], [self.missing(folder, f"CITY/*{end}") for folder, some, end in pairs if not some]
        items, faults = match(self, images, masks, lambda s: s + _LABELS, lambda s: s + _IMAGE)
        return list(items.values()), faults

    def has_instances(self, item: Item) -> bool:
        return _instances_of(item).is_file()

    def instances(self, item: Item) -> NDArray[np.integer]:
        return official_instances(_instances_of(item), item)


def official_instances(path: Path, item: Item) -> NDArray[np.integer]:
    """(H, W) ids of single objects from a map of class * 1000 + number; 0 for groups and for stuff.

    Raises:
        FileProblem: where the map cannot be read, or has not the size of the labels.
    """
    values = read_label_map(path)
    shape = read_label_map(item.mask).shape
    if values.shape != shape:
        raise FileProblem(path, f"the size of {item.mask.name}, {shape}", values.shape)
    return np.where(values >= _FIRST_OBJECT, values, 0).astype(np.int32)


def _instances_of(item: Item) -> Path:
    return item.mask.with_name(item.mask.name.removesuffix(_LABELS) + _INSTANCES)


def _table() -> ClassTable:
    names, colours = zip(*_CLASSES.values(), strict=True)
    return ClassTable(names, tuple(_CLASSES), colours, _UNLABELED, _VOID)
