"""DeepGlobe land cover (Demir et al., CVPR workshops 2018): satellite images, 6 of 7 classes scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saccade.data.classes import ClassTable
from saccade.data.dataset import Format, Item, Listing
from saccade.data.folder import files, match
from saccade.data.splits import seeded_splits
from saccade.errors import Fault, FileProblem
from saccade.rasters import read_rgb

_IMAGE, _MASK = "_sat.jpg", "_mask.png"
_NAMES = ("urban", "agriculture", "rangeland", "forest", "water", "barren")
_COLOURS = ((0, 255, 255), (255, 255, 0), (255, 0, 255), (0, 255, 0), (0, 0, 255), (255, 255, 255))
_UNKNOWN = 6
_NO_CLASS = 255
_INDEX_OF_BITS = np.array([_UNKNOWN, 4, 3, 0, _NO_CLASS, 2, 1, 5], np.uint8)
"""Of red * 4 + green * 2 + blue, each 1 at 128 and above."""
_WHOLE = {"train": 454, "val": 207, "test": 142}
_LABELLED = sum(_WHOLE.values())


class DeepGlobe(Format):
    """``ID_sat.jpg`` with ``ID_mask.png`` in one folder (``land-train/``, ``train/`` or the folder itself).

    Colours are brought to 0 and 255 at 128, as the makers ask. "unknown" (black) is ignored and stands in no
    mean. Only the training part of the challenge has labels: 803 images, which the papers split at random
    into 455, 207 and 142 (which makes 804) without naming them; here by seed 0 into 454, 207 and 142.
    """

    name = "deepglobe"
    title = "DeepGlobe land cover"
    looks_for = "*_sat.jpg with *_mask.png, here or one folder down"
    source = "the DeepGlobe 2018 challenge's site (land cover classification, training data)"

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return any(next(root.glob(f"{below}*{_IMAGE}"), None) is not None for below in ("", "*/"))

    def find(self, root: Path, splits: tuple[str, ...] | None) -> Listing:
        items: dict[str, Item] = {}
        faults: list[Fault] = []
        for folder in sorted({path.parent for path in [*root.glob(f"*{_MASK}"), *root.glob(f"*/*{_MASK}")]}):
            images, masks = (
                {path.name.removesuffix(end): path for path in files(folder, f"*{end}")}
                for end in (_IMAGE, _MASK)
            )
            matched, unmatched = match(self, images, masks, lambda s: s + _MASK, lambda s: s + _IMAGE)
            items |= matched
            faults += unmatched
        if not items and not faults:
            faults = [self.missing(root, f"*{_MASK} beside *{_IMAGE}", "images without labels")]
        names = seeded_splits(items, _WHOLE)
        listed = {name: [items[s] for s in names[name]] for name in splits or names if name in names}
        faults += [
            self.missing(root, f"images enough for {name}", f"{len(items)} with labels")
            for name in splits or ()
            if name not in names and not faults
        ]
        short = len(items) != _LABELLED
        notices = [f"{len(items)} labelled images; the published set has {_LABELLED}"] if short else []
        return Listing(ClassTable(_NAMES, tuple(range(6)), _COLOURS, _UNKNOWN), listed, faults, notices)

    def values(self, item: Item) -> NDArray[np.integer]:
        bits = (read_rgb(item.mask).array >= 128).astype(np.uint8)
        values = _INDEX_OF_BITS[bits[..., 0] * 4 + bits[..., 1] * 2 + bits[..., 2]]
        strange = int((values == _NO_CLASS).sum())
        if strange:
            raise FileProblem(item.mask, "the colours of the seven classes", f"{strange} pixels of red")
        return values
