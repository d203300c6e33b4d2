"""Inria Aerial Image Labeling (Maggiori et al., IGARSS 2017): buildings from above, 0.3 m a pixel."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saccade.data.classes import ClassTable
from saccade.data.dataset import Format, Item, Listing
from saccade.data.folder import files, incomplete, match
from saccade.errors import Fault
from saccade.rasters import read_label_map

_WHOLE = {"train": 155, "val": 25}
_VALIDATION = range(1, 6)


class InriaAerial(Format):
    """``train/images/CITYn.tif`` with ``train/gt/CITYn.tif`` (0, and 255 for buildings).

    The makers' split: n = 1 to 5 of each city are val, the others train. The images of ``test/`` have no
    public labels, so there is no split test.
    """

    name = "inria"
    scored = "val"
    title = "Inria Aerial"
    looks_for = "train/images/ with train/gt/"
    source = "the Inria Aerial Image Labeling site"

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return (root / "train" / "gt").is_dir() or (root / "train" / "images").is_dir()

    def find(self, root: Path, splits: tuple[str, ...] | None) -> Listing:
        listing = Listing(ClassTable(("not building", "building"), (0, 255), ((0, 0, 0), (255, 255, 255))))
        folders = root / "train" / "images", root / "train" / "gt"
        images, masks = ({path.stem: path for path in files(folder, "*.tif")} for folder in folders)
        if not images or not masks:
            pairs = zip(folders, (images, masks), strict=True)
            listing.faults = [self.missing(folder, "CITYn.tif") for folder, some in pairs if not some]
            return listing
        items, listing.faults = match(
            self, images, masks, lambda s: f"train/gt/{s}.tif", lambda s: f"train/images/{s}.tif"
        )
        both: dict[str, list[Item]] = {"train": [], "val": []}
        for stem, item in items.items():
            number = re.search(r"([0-9]+)$", stem)
            if number is None:
                listing.faults.append(
                    Fault(item.image, "a name of a city and a number, as austin1.tif", stem)
                )
            else:
                both["val" if int(number[1]) in _VALIDATION else "train"].append(item)
        listing.splits = {name: both.get(name, []) for name in splits or both}
        for name, some in listing.splits.items():
            if not some and not listing.faults:
                where = "only in train and val" if name == "test" else "none of its numbers"
                listing.faults.append(self.missing(root, f"images of {name} with labels", where))
        listing.notices = incomplete({name: len(some) for name, some in listing.splits.items()}, _WHOLE)
        return listing

    def values(self, item: Item) -> NDArray[np.integer]:
        return read_label_map(item.mask)
