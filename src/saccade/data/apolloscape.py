"""ApolloScape scene parsing (Huang et al., 2018): streets in China, 22 classes, 8 of them targets."""

from __future__ import annotations

from os.path import isdir, isfile
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from saccade.data.cityscapes import official_instances
from saccade.data.classes import ClassTable, Colour
from saccade.data.dataset import Format, Item, Listing
from saccade.data.folder import files, limited
from saccade.errors import Fault
from saccade.runtime.reading import read_text

_CLASSES: dict[int, tuple[str, Colour]] = {
    17: ("sky", (70, 130, 180)),
    33: ("car", (0, 0, 142)),
    34: ("motorbicycle", (0, 0, 230)),
    35: ("bicycle", (119, 11, 32)),
    36: ("person", (0, 128, 192)),
    37: ("rider", (128, 64, 128)),
    38: ("truck", (128, 0, 192)),
    39: ("bus", (192, 0, 64)),
    40: ("tricycle", (128, 128, 192)),
    49: ("road", (192, 128, 192)),
    50: ("sidewalk", (192, 128, 64)),
    65: ("traffic cone", (255, 128, 64)),
    66: ("road pile", (0, 0, 192)),
    67: ("fence", (64, 64, 128)),
    81: ("traffic light", (192, 64, 128)),
    82: ("pole", (192, 128, 128)),
    83: ("traffic sign", (0, 64, 64)),
    84: ("wall", (192, 192, 128)),
    85: ("dustbin", (64, 0, 192)),
    86: ("billboard", (192, 0, 192)),
    97: ("building", (192, 0, 128)),
    113: ("vegetation", (128, 128, 64)),
}
TARGET_CLASSES = ("car", "motorbicycle", "bicycle", "person", "rider", "truck", "bus", "tricycle")
"""Annotated with care; ICCV 2019 takes boundaries of these, and gives their mean on its own."""
_GROUPS = tuple((index + 128, index) for index in range(33, 41))
_UNLABELED = 255
_VOID = (0, 1, 98, 99, 100)
_LABELS, _INSTANCES = "_bin.png", "_instanceIds.png"


class ApolloScape(Format):
    """``ROAD/ColorImage/RECORD/CAMERA/NAME.jpg`` with ``ROAD/Label/RECORD/CAMERA/NAME_bin.png``.

    The splits are those of the makers' lists ``ROAD_train.lst`` and ``ROAD_val.lst`` (here or in
    ``public_image_lists/`` or ``image_lists/``), one pair of paths a line; of the listed images, those of
    roads that were not downloaded are left out with a notice. The labels of test are dummies. A group of
    objects is of their class, as the makers score it. ``NAME_instanceIds.png`` is taken to hold class * 1000
    + number, as in the makers' challenge of 2018.
    """

    name = "apolloscape"
    scored = "val"
    title = "ApolloScape scene parsing"
    looks_for = "ROAD/ColorImage/ and ROAD/Label/ (road01_ins, ...) with their lists *_train.lst, *_val.lst"
    source = "the ApolloScape site (scene parsing: the roads, and the image lists)"

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return next(root.glob("road*/ColorImage"), None) is not None or bool(_lists(root, "*"))

    def find(self, root: Path, splits: tuple[str, ...] | None) -> Listing:
        names, colours = zip(*_CLASSES.values(), strict=True)
        listing = Listing(ClassTable(names, tuple(_CLASSES), colours, _UNLABELED, _VOID, _GROUPS))
        listed = {split: _lists(root, split) for split in splits or ("train", "val", "test")}
        items = {}
        for split, lists in listed.items():
            if lists:
                items[split] = self._read(root, split, lists, listing)
            elif splits is not None:
                listing.faults.append(self.missing(root, f"lists of the images of {split}: *_{split}.lst"))
        if not any(listed.values()) and splits is None:
            listing.faults.append(self.missing(root, "lists of the images: *_train.lst and *_val.lst"))
        listing.splits = items
        return listing

    def _read(self, root: Path, split: str, lists: list[Path], listing: Listing) -> list[Item]:
        """The items of a split; what is wrong is added to ``listing``."""
        items, missing, absent = [], [], 0
        for path in lists:
            for number, line in enumerate(read_text(path, "a list of images").splitlines(), 1):
                pair = [_resolve(root, part) for part in line.strip().split("\t") if part]
                if len(pair) != 2 and line.strip():
                    expected = f"an image and its labels, with a tab between, in line {number}"
                    listing.faults.append(Fault(path, expected, repr(line)[:60]))
                elif pair and not isdir(_road(root, pair[0])):
                    absent += 1
                elif pair:
                    missing += [(p, f"a file that {path.name} lists") for p in pair if not isfile(p)]
                    items.append(Item(_stem(root, pair[0]), pair[0], pair[1]))
        listing.faults += limited(self, missing)
        if absent:
            listing.notices.append(f"{absent} listed images in {split} are of roads that are not here")
        if not items:
            listing.faults.append(self.missing(root, f"images of {split}"))
        gone = {path for path, _ in missing}
        return [item for item in items if item.image not in gone and item.mask not in gone]

    def has_instances(self, item: Item) -> bool:
        return _instances_of(item).is_file()

    def instances(self, item: Item) -> NDArray[np.integer]:
        return official_instances(_instances_of(item), item)


def _lists(root: Path, split: str) -> list[Path]:
    return [
        p
        for below in (".", "public_image_lists", "image_lists")
        for p in files(root / below, f"*_{split}.lst")
    ]


def _resolve(root: Path, text: str) -> Path:
    """A listed path; the lists write "Camera_5" where some archives have "Camera 5"."""
    parts = PurePosixPath(text.strip().lstrip("/")).parts
    path = root.joinpath(*(part for part in parts if part != ".."))
    if isfile(path):  # pathlib raises for names too long for a file
        return path
    spaced = path.parent.with_name(path.parent.name.replace("_", " ")) / path.name
    return spaced if isfile(spaced) else path


def _road(root: Path, path: Path) -> Path:
    return root / path.relative_to(root).parts[0]


def _stem(root: Path, path: Path) -> str:
    """Road, record and name: names alone are not promised to differ."""
    parts = path.relative_to(root).parts
    return "_".join([parts[0], *parts[2:3], path.stem])


def _instances_of(item: Item) -> Path:
    return item.mask.with_name(item.mask.name.removesuffix(_LABELS) + _INSTANCES)
