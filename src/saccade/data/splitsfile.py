"""``splits.json``: which stems are train, val and test. Other keys ("seed", "rule", "dropped") are notes."""

from __future__ import annotations

import difflib
from collections import Counter
from pathlib import Path
from typing import Any

from saccade.data.dataset import SPLITS
from saccade.data.jsonfile import read_json
from saccade.errors import Fault

Splits = dict[str, tuple[str, ...]]


def read_splits(path: Path) -> tuple[Splits, list[Fault]]:
    """The stems of each split that the file names, without those that are faults."""
    value, faults = read_json(path)
    if value is None:
        return {}, faults
    splits: Splits = {}
    for name in SPLITS:
        if name in value:
            splits[name], found = _read_split(name, value[name], path)
            faults += found
        elif near := _misspelt(name, value):
            faults.append(Fault(path, f"a split named {name!r}", repr(near)))
    if not splits and not faults:
        faults.append(Fault(path, "at least one split: " + ", ".join(SPLITS), "none of them"))
    return splits, faults + _shared_stems(splits, path)


def _read_split(name: str, stems: Any, path: Path) -> tuple[tuple[str, ...], list[Fault]]:
    if not isinstance(stems, list):
        return (), [Fault(path, f"{name} to be a list of stems", repr(stems)[:60])]
    if not stems:
        return (), [Fault(path, f"{name} to hold at least one stem", "an empty list")]
    good = [stem for stem in stems if isinstance(stem, str) and stem]
    bad = [stem for stem in stems if not (isinstance(stem, str) and stem)]
    faults = [Fault(path, f"{name} to hold stems (texts)", repr(stem)[:60]) for stem in bad]
    repeated = [stem for stem, count in Counter(good).items() if count > 1]
    faults += [Fault(path, f"each stem once in {name}", f"{stem!r} more than once") for stem in repeated]
    return tuple(dict.fromkeys(good)), faults


def _misspelt(name: str, value: dict[str, Any]) -> str | None:
    """A key that looks like the split ``name`` and holds a list: "tests", "Train", "validation"."""
    others = [key for key, stems in value.items() if key not in SPLITS and isinstance(stems, list)]
    starts = [key for key in others if key.lower().startswith(name)]
    return next(iter(starts or difflib.get_close_matches(name, others, n=1, cutoff=0.7)), None)


def _shared_stems(splits: Splits, path: Path) -> list[Fault]:
    homes: dict[str, list[str]] = {}
    for name, stems in splits.items():
        for stem in stems:
            homes.setdefault(stem, []).append(name)
    return [
        Fault(path, "each stem in one split only", f"{stem!r} in {' and '.join(names)}")
        for stem, names in homes.items()
        if len(names) > 1
    ]


def wanted_splits(splits: Splits, names: tuple[str, ...], path: Path) -> tuple[Splits, list[Fault]]:
    """The splits of these names, and a fault for each that is not there."""
    missing = [name for name in names if name not in splits]
    has = ", ".join(splits) or "none"
    faults = [Fault(path, f"a split named {name!r}", f"only {has}") for name in missing]
    return {name: splits[name] for name in names if name in splits}, faults
