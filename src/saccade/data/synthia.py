"""SYNTHIA (Ros et al., CVPR 2016): drawn street scenes, the random sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saccade.data.classes import ClassTable, Colour
from saccade.data.dataset import Format, Item, Listing
from saccade.data.folder import files, incomplete, match
from saccade.data.splits import seeded_splits
from saccade.errors import FileProblem
from saccade.rasters import open_raster
from saccade.runtime.reading import read_text

_CLASSES: dict[int, tuple[str, Colour]] = {
    1: ("sky", (70, 130, 180)),
    2: ("building", (70, 70, 70)),
    3: ("road", (128, 64, 128)),
    4: ("sidewalk", (244, 35, 232)),
    5: ("fence", (64, 64, 128)),
    6: ("vegetation", (107, 142, 35)),
    7: ("pole", (153, 153, 153)),
    8: ("car", (0, 0, 142)),
    9: ("traffic sign", (220, 220, 0)),
    10: ("pedestrian", (220, 20, 60)),
    11: ("bicycle", (119, 11, 32)),
}
_LATER: dict[int, tuple[str, Colour]] = {
    12: ("motorcycle", (0, 0, 230)),
    15: ("traffic light", (250, 170, 30)),
    17: ("rider", (255, 0, 0)),
    19: ("bus", (0, 60, 100)),
    21: ("wall", (102, 102, 156)),
    22: ("lane marking", (157, 234, 50)),
}
"""Of the 23 classes of RAND-CITYSCAPES, those that its images show; the others are ignored."""
_VOID = 0
_OTHERS = (13, 14, 16, 18, 20)
_WHOLE = {"train": 10725, "val": 1341, "test": 1341}


class Synthia(Format):
    """``RGB/NAME.png`` with ``GTTXT/NAME.txt`` (SYNTHIA-RAND-CVPR16: 13,407 images of 960 x 720, 11 classes)
    or with ``GT/LABELS/NAME.png`` (SYNTHIA-RAND-CITYSCAPES: 9,400 images of 1280 x 760).

    ICCV 2019 used the 13 thousand of the first, without naming classes or splits; here void is ignored, and
    the images are split by seed 0: 80 % train, 10 % val, 10 % test. Of the second, labels are the first
    channel of a 16-bit PNG and single objects the second; classes that no image shows are ignored.
    """

    name = "synthia"
    title = "SYNTHIA"
    looks_for = "RGB/ with GTTXT/ or GT/LABELS/"
    source = "the SYNTHIA site (SYNTHIA-RAND-CVPR16, or SYNTHIA-RAND-CITYSCAPES)"

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return (root / "RGB").is_dir() and any((root / name).is_dir() for name in ("GTTXT", "GT"))

    def find(self, root: Path, splits: tuple[str, ...] | None) -> Listing:
        folder, end = (
            (root / "GTTXT", ".txt") if (root / "GTTXT").is_dir() else (root / "GT" / "LABELS", ".png")
        )
        images = {path.stem: path for path in files(root / "RGB", "*.png")}
        masks = {path.stem: path for path in files(folder, f"*{end}")}
        listing = Listing(_table(end == ".txt"))
        if not images or not masks:
            pairs = ((root / "RGB", "*.png", images), (folder, f"*{end}", masks))
            listing.faults = [self.missing(place, pattern) for place, pattern, some in pairs if not some]
            return listing
        items, listing.faults = match(
            self, images, masks, lambda s: f"{folder.name}/{s}{end}", lambda s: f"RGB/{s}.png"
        )
        names = seeded_splits(items, _WHOLE)
        listing.splits = {name: [items[s] for s in names.get(name, ())] for name in splits or names}
        if end == ".txt":
            listing.notices = incomplete({name: len(some) for name, some in names.items()}, _WHOLE)
        return listing

    def values(self, item: Item) -> NDArray[np.integer]:
        return _from_text(item.mask) if item.mask.suffix == ".txt" else _channel(item.mask, 0)

    def has_instances(self, item: Item) -> bool:
        return item.mask.suffix == ".png"

    def instances(self, item: Item) -> NDArray[np.integer]:
        return _channel(item.mask, 1)


def _from_text(path: Path) -> NDArray[np.integer]:
    """One row of ids a line."""
    expected = "a text of class ids, one line for each row of the image"
    text = read_text(path, expected)
    try:
        rows = [np.array(line.split(), np.int64) for line in text.splitlines() if line.strip()]
        values = np.stack(rows)
    except (ValueError, OverflowError) as error:
        raise FileProblem(path, expected, "something else, or rows of different lengths") from error
    if values.min() < 0 or values.max() > 65535:
        raise FileProblem(path, "ids from 0 to 65535", f"{values.min()} to {values.max()}")
    return values.astype(np.uint16 if values.max() > 255 else np.uint8)


def _channel(path: Path, number: int) -> NDArray[np.integer]:
    with open_raster(path, place=False) as raster:
        if raster.channels < 2 or raster.dtype.kind != "u":
            got = f"{raster.channels} of {raster.dtype}"
            raise FileProblem(path, "channels of class ids and object numbers (16 bits)", got)
        return raster.read()[..., number]


def _table(first: bool) -> ClassTable:
    """Of RAND-CVPR16, or of RAND-CITYSCAPES."""
    rows = _CLASSES if first else {**_CLASSES, **_LATER}
    names, colours = zip(*rows.values(), strict=True)
    return ClassTable(names, tuple(rows), colours, _VOID, () if first else _OTHERS)
