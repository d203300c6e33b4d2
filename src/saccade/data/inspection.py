"""Decodes every image and mask of a data set once, in a few threads, for the faults that only pixels show."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saccade.data.bands import BandFacts
from saccade.data.classes import ClassTable
from saccade.data.dataset import Decoded, Format, Item, ItemFacts, decoded
from saccade.errors import Fault, FileProblem
from saccade.rasters import open_raster
from saccade.rasters.georeference import pixels_apart, system_name
from saccade.runtime.threads import in_order

OnDecoded = Callable[[Item, Decoded], None]
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Inspection:
    """The facts of an item (None where a fault stands in the way), its faults and its notices, and the
    reference system of its image."""

    item: Item
    facts: ItemFacts | None = None
    faults: tuple[Fault, ...] = ()
    notices: tuple[str, ...] = field(default=())
    system: str | None = None


def inspect_items(
    items: Sequence[tuple[Item, bool]],
    classes: ClassTable | None,
    format: Format,
    on_decoded: OnDecoded | None = None,
    on_progress: OnProgress | None = None,
) -> list[Inspection]:
    """Inspects items, in a few threads, and returns what was seen in their order.

    ``items`` come with whether they are trained on. ``on_decoded`` is called in those threads with each that
    has no fault, so that decoded pixels need not wait for each other. Without a class table (its file is
    broken) only files and sizes are checked.
    """
    inspections: list[Inspection] = []
    work = partial(_inspect, classes=classes, format=format, on_decoded=on_decoded)
    with closing(in_order(lambda pair: work(*pair), items)) as results:
        for inspection in results:
            inspections.append(inspection)
            if on_progress is not None:
                on_progress(len(inspections), len(items))
    return inspections


def _inspect(
    item: Item, trained_on: bool, classes: ClassTable | None, format: Format, on_decoded: OnDecoded | None
) -> Inspection:
    faults: list[Fault] = []
    image, values = None, None
    try:
        image = format.image(item)
    except FileProblem as problem:
        faults.append(_as_fault(problem))
    try:
        values = format.values(item)
    except FileProblem as problem:
        faults.append(_as_fault(problem))
    notices = () if image is None else _general(image.notices, item)
    if image is not None and values is not None and image.array.shape[:2] != values.shape:
        faults.append(_size_fault(item, image.array.shape, values.shape))
    elif image is not None and values is not None and _is_first_of_image(item):
        faults += orientation_faults(item, values.shape[0] == values.shape[1])
        faults += place_faults(item)
    if values is None or classes is None:
        return Inspection(item, None, tuple(faults), notices)
    counts = value_counts(values)
    faults += _range_faults(item, counts, classes)
    if faults or image is None:
        return Inspection(item, None, tuple(faults), notices)
    sample = decoded(format, item, image.array, classes.encode_valid(values), notices, trained_on)
    if on_decoded is not None:
        on_decoded(item, sample)
    is_all = format.options.region is None and sample.labels.shape == values.shape
    known = _counts_of_ids(counts, classes) if is_all else None
    system = _system(item) if _is_first_of_image(item) else None
    return Inspection(item, _facts(sample, known, classes, format), (), notices, system)


_ON_MAPS = (".tif", ".tiff", ".jp2", ".vrt", ".img")


def _system(item: Item) -> str | None:
    """The name of the reference system of an image; None where it has none, or is of no kind that has."""
    if item.image.suffix.lower() not in _ON_MAPS:
        return None
    with open_raster(item.image) as raster:
        return system_name(raster.crs) if raster.crs is not None else None


def systems_told(inspections: Sequence[Inspection]) -> list[str]:
    """A line where images lie in several reference systems."""
    images: dict[str, list[str]] = {}
    for inspection in inspections:
        if inspection.system is not None:
            images.setdefault(inspection.system, []).append(inspection.item.image.name)
    if len(images) < 2:
        return []
    each = [
        f"{system} ({names[0] if len(names) == 1 else f'{len(names)} images'})"
        for system, names in images.items()
    ]
    return [f"images in several reference systems, each read in its own: {', '.join(each)}"]


def _is_first_of_image(item: Item) -> bool:
    """Whether it is an image, or the first window of one: what is told of both files is told once."""
    return item.window is None or (item.window.top, item.window.left) == (0, 0)


def value_counts(values: NDArray[np.integer]) -> NDArray[np.int64]:
    """(256 or more,) how often each value occurs in a label map (H, W) of uint8 or uint16."""
    if values.dtype == np.uint8:
        # three times as quick as bincount, which first makes 64-bit integers of all pixels
        return np.asarray(Image.fromarray(np.ascontiguousarray(values)).histogram(), np.int64)
    return np.bincount(values.ravel(), minlength=256)


def _facts(
    pixels: Decoded, known: NDArray[np.int64] | None, classes: ClassTable, format: Format
) -> ItemFacts:
    """``known``: how many pixels have each id, where that was counted already."""
    labels = pixels.labels
    counts = value_counts(labels) if known is None else known
    bands = format.bands
    seen = None if bands is None else BandFacts.of(pixels.image, len(bands.names), format.some_pixels)
    return ItemFacts(
        size=(labels.shape[0], labels.shape[1]),
        counts=tuple(counts[: len(classes)].tolist()),
        ignored=int(counts[classes.ignore_index]),
        image=pixel_digest(pixels.image),
        labels=pixel_digest(labels),
        bands=seen,
    )


def pixel_digest(pixels: NDArray[Any]) -> str:
    """16 hexadecimal digits of an array's shape and values: a tenth of the time that decoding takes."""
    digest = hashlib.blake2b(str(pixels.shape).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _counts_of_ids(counts: NDArray[np.int64], classes: ClassTable) -> NDArray[np.int64]:
    """(256,) from how often each value of a file occurs to how often each id does."""
    present = np.flatnonzero(counts)
    ids = np.zeros(256, np.int64)
    np.add.at(ids, classes.encode_valid(present), counts[present])
    return ids


def _general(notices: Sequence[str], item: Item) -> tuple[str, ...]:
    """Notices without the file's name, so that those of many files count as one."""
    return tuple(notice.replace(item.image.name, "the file") for notice in notices)


def _as_fault(problem: FileProblem) -> Fault:
    fix = f"; {problem.fix}" if problem.fix else ""
    return Fault(problem.path, problem.expected, f"{problem.got}{fix}")


def _size_fault(item: Item, image: tuple[int, ...], mask: tuple[int, ...]) -> Fault:
    found = f"{mask[0]} x {mask[1]}"
    if image[:2] == mask[::-1]:
        found += " (turned by 90 degrees: perhaps only one of the two carries an EXIF orientation)"
    return Fault(item.mask, f"the size of its image, {image[0]} x {image[1]} (rows x columns)", found)


_TURNS = {
    1: "upright", 2: "mirrored", 3: "turned by 180 degrees", 4: "upside down", 5: "transposed",
    6: "turned by 90 degrees", 7: "transposed", 8: "turned by 270 degrees",
}  # fmt: skip
_CARRY_ORIENTATION = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".tif", ".tiff", ".avif", ".jxl")


def orientation_faults(item: Item, square: bool) -> list[Fault]:
    """A fault where only one of image and mask would be turned by its EXIF orientation, and their sizes,
    equal once they are upright, do not prove that this is how the mask was drawn.

    ``square``: the upright image has as many rows as columns.
    """
    files = (item.image, item.mask)
    if any(file.suffix.lower() not in _CARRY_ORIENTATION for file in files):
        return []
    image, mask = (_orientation(file) for file in files)
    proven = not square and (image > 4) != (mask > 4)
    if image == mask or proven:
        return []
    expected = f"the EXIF orientation of its image, {image} ({_TURNS.get(image, 'unknown')})"
    found = f"{mask} ({_TURNS.get(mask, 'unknown')}); save both upright, or with the same orientation"
    return [Fault(item.mask, expected, found)]


def place_faults(item: Item) -> list[Fault]:
    """A fault where image and mask are both on a map, and lie more than half a pixel apart."""
    if any(file.suffix.lower() not in (".tif", ".tiff") for file in (item.image, item.mask)):
        return []
    try:
        with open_raster(item.image) as image, open_raster(item.mask) as mask:
            if image.transform is None or mask.transform is None or image.crs is None or mask.crs is None:
                return []
            apart = pixels_apart(mask, image)
            systems = system_name(image.crs), system_name(mask.crs)
    except FileProblem as problem:
        return [_as_fault(problem)]
    if apart <= MOST_APART:
        return []
    much = f"{apart:.3g} pixels away" if apart < 1e6 else "elsewhere"
    found = much if systems[0] == systems[1] else f"{much}, in {systems[1]}"
    way = f"gdalwarp it to {item.image.name}, with -r near"
    return [Fault(item.mask, f"the place of its image, in {systems[0]}", f"a mask {found}; {way}")]


MOST_APART = 0.5
"""Pixels between the corners of an image and of its mask."""


def _orientation(file: Path) -> int:
    """1 to 8; 1 where the file says nothing, or 0."""
    with open_raster(file, place=False) as raster:
        return max(1, raster.orientation)


def _range_faults(item: Item, counts: NDArray[np.int64], classes: ClassTable) -> list[Fault]:
    strange = [int(v) for v in np.flatnonzero(counts) if int(v) not in set(classes.allowed_values)]
    if not strange:
        return []
    shown = ", ".join(f"{value} ({counts[value]} pixels)" for value in strange[:5])
    more = f" and {len(strange) - 5} other values" if len(strange) > 5 else ""
    expected = "only the class indices " + _spelled(classes.indices)
    if classes.ignored_values:
        expected += f" and {_spelled(tuple(sorted(classes.ignored_values)))} (ignored)"
    return [Fault(item.mask, expected, shown + more + _hint(strange, counts, classes))]


def _hint(strange: list[int], counts: NDArray[np.int64], classes: ClassTable) -> str:
    """The usual mistake: a mask of two values, the second of them 255 instead of the class missing."""
    missing = [index for index in classes.indices if index < len(counts) and not counts[index]]
    if len(strange) != 1 or len(missing) != 1:
        return ""
    name = classes.names[classes.indices.index(missing[0])]
    return (
        f"; if {strange[0]} means {name}, give that class the index {strange[0]} in classes.json; "
        f'if it counts nowhere, say "ignore_index": {strange[0]}'
    )


def _spelled(indices: tuple[int, ...]) -> str:
    if len(indices) > 2 and indices == tuple(range(indices[0], indices[-1] + 1)):
        return f"{indices[0]} to {indices[-1]}"
    return ", ".join(map(str, indices))
