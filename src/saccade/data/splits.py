"""Which stems are train, val and test: from ``splits.json``, or drawn where a paper names only numbers."""

from __future__ import annotations

import difflib
import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from saccade.errors import Fault
from saccade.runtime.reading import read_json

SPLITS = ("train", "val", "test")

Splits = dict[str, tuple[str, ...]]


def read_splits(
    path: Path, names: Iterable[str] = SPLITS, *, shared: bool = False
) -> tuple[Splits, list[Fault]]:
    """The stems of each split of ``names`` that the file has, without those that are faults.

    ``shared``: a stem may stand in several splits, which its windows are shared out to.
    """
    value, faults = read_json(path)
    if value is None:
        return {}, faults
    splits: Splits = {}
    for name in names:
        if name in value:
            splits[name], found = _read_split(name, value[name], path)
            faults += found
        elif near := _misspelt(name, value):
            faults.append(Fault(path, f"a split named {name!r}", repr(near)))
    if not splits and not faults:
        faults.append(Fault(path, "at least one split: " + ", ".join(SPLITS), "none of them"))
    usual = {name: stems for name, stems in splits.items() if name in SPLITS}
    return splits, faults if shared else faults + _shared_stems(usual, path)


def stems_in(path: Path) -> frozenset[str] | None:
    """Every stem that a file of splits names, whatever the splits are called; None where it is not there."""
    value = read_json(path)[0] if path.exists() else None
    if value is None:
        return None
    lists = (stems for stems in value.values() if isinstance(stems, list))
    return frozenset(composed(stem) for stems in lists for stem in stems if isinstance(stem, str))


def _read_split(name: str, stems: Any, path: Path) -> tuple[tuple[str, ...], list[Fault]]:
    if not isinstance(stems, list):
        return (), [Fault(path, f"{name} to be a list of stems", repr(stems)[:60])]
    if not stems:
        return (), [Fault(path, f"{name} to hold at least one stem", "an empty list")]
    good = [composed(stem) for stem in stems if isinstance(stem, str) and stem]
    bad = [stem for stem in stems if not (isinstance(stem, str) and stem)]
    faults = [Fault(path, f"{name} to hold stems (texts)", repr(stem)[:60]) for stem in bad]
    repeated = [stem for stem, count in Counter(good).items() if count > 1]
    faults += [Fault(path, f"each stem once in {name}", f"{stem!r} more than once") for stem in repeated]
    return tuple(dict.fromkeys(good)), faults


def composed(name: str) -> str:
    """The one spelling (NFC) of a name whose accents may be letters of their own."""
    return unicodedata.normalize("NFC", name)


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


def seeded_splits(names: Iterable[str], counts: Mapping[str, int], seed: int = 0) -> dict[str, list[str]]:
    """``names`` shared out by chance.

    Names are put in the order of SHA-256 of "seed name": the first go to test, the next to val, the rest to
    train. Where there are as many names as ``counts`` sums to, the splits have those numbers; otherwise they
    have about those shares, and each at least one name where there is one for each.

    Args:
        names: all different.
        counts: of train, val and test in the whole set; a split of 0 stays empty.
        seed: another gives other splits.
    """
    order = sorted(names, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
    total = sum(counts.values())
    drawn = [name for name in ("test", "val") if counts.get(name)]
    splits: dict[str, list[str]] = {}
    at = 0
    for number, split in enumerate(drawn):
        share = max(1, round(len(order) * counts[split] / total))
        left = len(order) - at - (len(drawn) - number)
        size = max(0, min(share, left))
        splits[split] = sorted(order[at : at + size])
        at += size
    splits["train"] = sorted(order[at:])
    return {split: splits[split] for split in ("train", "val", "test") if splits.get(split)}
