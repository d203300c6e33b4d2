"""Splits by chance where a paper names only the numbers: the same on every machine and for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping


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
    wanted = [name for name in ("test", "val") if counts.get(name)]
    splits: dict[str, list[str]] = {}
    at = 0
    for number, split in enumerate(wanted):
        share = max(1, round(len(order) * counts[split] / total))
        left = len(order) - at - (len(wanted) - number)
        size = max(0, min(share, left))
        splits[split] = sorted(order[at : at + size])
        at += size
    splits["train"] = sorted(order[at:])
    return {split: splits[split] for split in ("train", "val", "test") if splits.get(split)}
