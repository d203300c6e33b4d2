"""Our own layout: ``images/``, ``masks/`` with the same stems, ``classes.json`` and ``splits.json``."""

from __future__ import annotations

from pathlib import Path

from saccade.data.classesfile import read_classes
from saccade.data.format import Format, Found
from saccade.data.pairs import pair_files
from saccade.data.recognise import PARTS, is_data_folder
from saccade.data.splitsfile import read_splits, wanted_splits


class FolderFormat(Format):
    """The data folder of docs/data.md."""

    name = "folder"
    title = "a data folder"
    looks_for = ", ".join(f"{part}/" if "." not in part else part for part in PARTS)

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return is_data_folder(root)

    def find(self, root: Path, splits: tuple[str, ...] | None) -> Found:
        classes, faults = read_classes(root / "classes.json")
        stems, split_faults = read_splits(root / "splits.json")
        faults += split_faults
        if splits is not None:
            stems, missing = wanted_splits(stems, splits, root / "splits.json")
            faults += [] if split_faults else missing
        items, pair_faults, notices = pair_files(root, stems)
        found = {name: tuple(items[s] for s in stems[name] if s in items) for name in stems}
        return Found(classes, found, [*faults, *pair_faults], notices if splits is None else [])
