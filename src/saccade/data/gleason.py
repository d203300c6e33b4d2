"""Gleason 2019 (MICCAI challenge): prostate tissue cores, drawn by six pathologists, fused by STAPLE."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saccade.data.classes import ClassTable
from saccade.data.dataset import Format, Item, Listing
from saccade.data.folder import files, limited
from saccade.data.splits import seeded_splits
from saccade.data.staple import fused_labels
from saccade.errors import Fault

_BENIGN, _GRADE3, _GRADE4, _GRADE5, _UNDECIDED = 1, 3, 4, 5, 255
_COLOURS = {_BENIGN: (0, 160, 80), _GRADE3: (255, 215, 0), _GRADE4: (255, 120, 0), _GRADE5: (200, 0, 40)}
_NAMES = {
    _BENIGN: "benign",
    _GRADE3: "Gleason grade 3",
    _GRADE4: "Gleason grade 4",
    _GRADE5: "Gleason grade 5",
}
_ANNOTATORS = range(1, 7)
_END = "_classimg_nonconvex.png"
_WHOLE = {"train": 241, "val": 27, "test": 30}
_ALL = sum(_WHOLE.values())


class Gleason2019(Format):
    """``Train Imgs/NAME.jpg`` with ``Maps1_T/`` to ``Maps6_T/``, each holding ``NAME_classimg_nonconvex.png``
    of the cores that this annotator drew.

    The maps of a core are fused by STAPLE (Warfield et al., 2004) and kept in the user's cache folder; pixels
    on which it does not decide are ignored. Values 0, 1 and 6 of the maps are benign, as the challenge says.
    Grade 5 (2 % of the pixels) is ignored, as the papers leave it out of their scores; ``grade5="class"``
    makes it the fourth class. The papers crop: ``crop="4400x4400"`` (MICCAI 2020), ``"2448x2448"`` (arXiv
    2020). MICCAI 2020 splits 298 images at random into 268 and 30 without naming them; here by seed 0, a
    tenth of the 268 being held back as val. The public training part has fewer cores.
    """

    name = "gleason2019"
    title = "Gleason 2019"
    looks_for = "Train Imgs/ and Maps1_T/ to Maps6_T/"
    source = "the Gleason 2019 challenge's site (Train Imgs and Maps1_T to Maps6_T, after registration)"

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return bool(_folders(root, r"maps[1-6]_?t?"))

    def find(self, root: Path, splits: tuple[str, ...] | None) -> Listing:
        listing = Listing(_table(self.options.grade5 == "class"))
        pictures = _folders(root, r"train[ _]?(imgs|images)")
        images = {path.stem: path for path in files(pictures[0], "*.jpg")} if pictures else {}
        if not images:
            listing.faults.append(self.missing(root / "Train Imgs", "NAME.jpg"))
        maps: dict[str, list[Path]] = {}
        for number in _ANNOTATORS:
            drawn = self._annotator(root, number, listing.faults)
            for path in drawn:
                maps.setdefault(path.name.removesuffix(_END), []).append(path)
        if images:
            listing.faults += limited(
                self,
                [(images[s], f"a map of one annotator or more, {s}{_END}") for s in images if s not in maps],
            )
            orphans = [
                (path, f"its image {s}.jpg") for s, some in maps.items() if s not in images for path in some
            ]
            listing.faults += limited(self, orphans)
        items = {s: Item(s, images[s], maps[s][0], tuple(maps[s][1:])) for s in images if s in maps}
        names = seeded_splits(items, _WHOLE)
        listing.splits = {name: [items[s] for s in names.get(name, ())] for name in splits or names}
        if len(items) != _ALL:
            listing.notices.append(f"{len(items)} images; the papers used {_ALL}")
        return listing

    def _annotator(self, root: Path, number: int, faults: list[Fault]) -> list[Path]:
        """The maps of one annotator; archives hold Maps1_T, or Maps1_T in Maps1_T."""
        folders = _folders(root, rf"maps{number}_?t?")
        drawn = [
            path for folder in folders for below in ("", "*/") for path in files(folder, f"{below}*{_END}")
        ]
        if not drawn:
            faults.append(
                self.missing(root / f"Maps{number}_T", f"the maps of annotator {number}, NAME{_END}")
            )
        return drawn

    def values(self, item: Item) -> NDArray[np.integer]:
        return fused_labels((item.mask, *item.others), _MEANING, _UNDECIDED)


_MEANING = {0: _BENIGN, 1: _BENIGN, 6: _BENIGN, 3: _GRADE3, 4: _GRADE4, 5: _GRADE5}


def _table(with_grade5: bool) -> ClassTable:
    indices = tuple(index for index in _NAMES if with_grade5 or index != _GRADE5)
    names, colours = tuple(_NAMES[i] for i in indices), tuple(_COLOURS[i] for i in indices)
    return ClassTable(names, indices, colours, _UNDECIDED, () if with_grade5 else (_GRADE5,))


def _folders(root: Path, pattern: str) -> list[Path]:
    """Folders whose names fit, whatever their case."""
    return sorted(p for p in root.iterdir() if p.is_dir() and re.fullmatch(pattern, p.name, re.IGNORECASE))
