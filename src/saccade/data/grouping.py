"""Which images stay in one split together, so that neighbours do not leak from training into the test."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256

from saccade.errors import InvalidInput

SHARES = {"train": 70, "val": 15, "test": 15}
LEAST_GROUPS = 3
"""A rule that parts the images into fewer groups cannot fill three splits."""
MANY_GROUPS = 5
"""As many part the images finely enough: a coarser rule is taken before a finer one."""

_LAST_NUMBER = re.compile(r"(.*?)[^A-Za-z0-9]*[A-Za-z]{0,2}[0-9]+[^0-9]*")


def prefix_of(stem: str) -> str:
    """A stem without its last number and what stands around: "0006R0_f01050" to "0006R0"."""
    number = _LAST_NUMBER.fullmatch(stem)
    return number[1] if number else stem


def grouped_stems(stems: list[str], by: str) -> tuple[str, dict[str, list[str]]]:
    """The rule that parts the stems, and the stems of each group by its name.

    Args:
        stems: of all images.
        by: folder, prefix, none, a regular expression, or auto: the first of folder and prefix that gives
            three groups or more, else none.

    Raises:
        InvalidInput: for a pattern that is none, or that a stem does not have.
    """
    rules: dict[str, Callable[[str], str]] = {
        "folder": lambda stem: stem.rpartition("/")[0],
        "none": lambda stem: stem,
    }
    if by == "auto":
        groups = _grouped(stems, rules["folder"])
        if len(groups) >= LEAST_GROUPS:
            return "folder", groups
        coarse = _by_prefix(stems)
        return ("prefix", coarse) if coarse is not None else ("none", _grouped(stems, rules["none"]))
    if by == "prefix":
        return by, _by_prefix(stems) or _grouped(stems, prefix_of)
    if by in rules:
        return by, _grouped(stems, rules[by])
    try:
        pattern = re.compile(by)
    except re.error as error:
        expected = "auto, folder, prefix, none or a regular expression"
        raise InvalidInput("--group", expected, f"{by!r} ({error})") from error

    def match(stem: str) -> str:
        matched = pattern.search(stem)
        if matched is None:
            raise InvalidInput("--group", "a pattern that every stem has", f"{by!r}, which {stem} has not")
        return matched[1] if pattern.groups and matched[1] is not None else matched[0]

    return by, _grouped(stems, match)


def _by_prefix(stems: list[str]) -> dict[str, list[str]] | None:
    """Groups by the shortest beginning, numbers taken off the end one by one, that gives five of them, else
    three: tiles "slide1_x0_y512" stay with their slide. None where no beginning is shared by any two."""
    levels, names = [], {stem: stem for stem in stems}
    while (shorter := {stem: prefix_of(name) for stem, name in names.items()}) != names:
        names = shorter
        levels.append(_grouped(stems, names.__getitem__))
    for least in (MANY_GROUPS, LEAST_GROUPS):
        for groups in reversed(levels):
            if least <= len(groups) < len(stems):
                return groups
    return None


def _grouped(stems: Iterable[str], rule: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for stem in stems:
        groups.setdefault(rule(stem), []).append(stem)
    return groups


def share_groups(groups: Mapping[str, Sequence[str]], seed: int = 0) -> dict[str, tuple[str, ...]]:
    """Whole groups shared out to train, val and test, about 70 : 15 : 15 images, by chance.

    Groups are put in the order of SHA-256 of "seed name". Each goes to the split that is farthest below its
    share; val and test get one each first, where there are three or more, and of these the smaller groups.

    Args:
        groups: the stems of each.
        seed: another gives other splits.
    """
    order = sorted(groups, key=lambda name: sha256(f"{seed} {name}".encode()).digest())
    total = sum(len(groups[name]) for name in order)
    goals = {split: total * share / sum(SHARES.values()) for split, share in SHARES.items()}
    if len(order) < LEAST_GROUPS:
        goals.pop("test")
    if len(order) < 2:
        goals.pop("val")
    shared: dict[str, list[str]] = {split: [] for split in goals}
    # The largest group is for training: a split of a few images must not become the larger one by chance.
    largest = max(order, key=lambda name: len(groups[name]))
    shared["train"] += groups[largest]
    rest = [name for name in order if name != largest]
    for number, name in enumerate(rest):
        empty = [split for split in shared if not shared[split]]
        left = len(rest) - number
        among = empty if len(empty) >= left else list(shared)
        split = max(among, key=lambda s: (goals[s] - len(shared[s])) / goals[s])
        shared[split] += groups[name]
    return {split: tuple(sorted(some)) for split, some in shared.items() if some}


def notes_on(splits: Mapping[str, Sequence[str]], groups: Mapping[str, Sequence[str]], by: str) -> list[str]:
    """What a user should know of the splits; ``by`` as it was asked for."""
    notes = []
    images = sum(map(len, splits.values()))
    if lacking := [name for name in ("val", "test") if name not in splits]:
        unit = "image" if len(groups) == images else "group"
        count = f"{len(groups)} {unit}{'s' if len(groups) > 1 else ''}"
        notes.append(
            f"no {' and no '.join(lacking)}: there {'are' if len(groups) > 1 else 'is'} only {count}"
        )
    if images == 1:
        notes.append(
            "one scene can be train, val and test in blocks: name it in each split of splits.json "
            "and train with data.window=512"
        )
    if images and "train" in splits and len(splits["train"]) < images / 2:
        notes.append("less than half of the images are for training: the groups are few and large")
    if by == "auto" and len(groups) == images and len({prefix_of(name) for name in groups}) < len(groups):
        alike = "neighbours that look alike (frames of a video, tiles of one picture)"
        way_out = "keep them together with --group folder, prefix or a pattern"
        notes.append(f"{alike} may come into different splits: {way_out}")
    return notes
