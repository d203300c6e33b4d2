"""Images and the annotations that belong to them, in the layouts of others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from saccade.data.dataset import Item
from saccade.data.format import Format
from saccade.errors import Fault

MOST_NAMED = 20
"""Faults of one kind that are named one by one."""


def files(folder: Path, pattern: str) -> list[Path]:
    """The files of a pattern, in order; hidden ones (as macOS leaves them in archives) are left out."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith(".") and path.is_file())


def match(
    format: Format,
    images: Mapping[str, Path],
    masks: Mapping[str, Path],
    mask_of: Callable[[str], str],
    image_of: Callable[[str], str],
) -> tuple[dict[str, Item], list[Fault]]:
    """The item of each stem that has an image and a mask, and a fault for each that has only one.

    Args:
        format: the data set.
        images, masks: by stem.
        mask_of: the file that is missing beside an image, in words, of its stem.
        image_of: the same of a mask.
    """
    items = {stem: Item(stem, images[stem], masks[stem]) for stem in images if stem in masks}
    without = [(images[stem], f"its annotation {mask_of(stem)}") for stem in images if stem not in masks]
    orphans = [(masks[stem], f"its image {image_of(stem)}") for stem in masks if stem not in images]
    return items, [*limited(format, without), *limited(format, orphans)]


def limited(format: Format, missing: Iterable[tuple[Path, str]]) -> list[Fault]:
    """A fault for each (file, what belongs to it and is not there); one for all beyond the first twenty."""
    pairs = list(missing)
    faults = [Fault(path, expected, "no such file") for path, expected in pairs[:MOST_NAMED]]
    if len(pairs) > MOST_NAMED:
        path, expected = pairs[MOST_NAMED]
        faults.append(format.missing(path, expected, f"{len(pairs) - MOST_NAMED} more files without"))
    return faults


def incomplete(counts: Mapping[str, int], whole: Mapping[str, int]) -> list[str]:
    """A notice for each split that has another number of images than the published set."""
    return [
        f"{counts[name]} images in {name}; the published set has {number}"
        for name, number in whole.items()
        if name in counts and counts[name] != number
    ]
