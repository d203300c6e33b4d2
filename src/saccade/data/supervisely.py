"""Supervisely Person (2018): people in photographs, as polygons and bitmaps in JSON."""

from __future__ import annotations

import base64
import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saccade.data.classes import ClassTable
from saccade.data.dataset import Format, Item, Listing
from saccade.data.folder import files, match
from saccade.data.polygons import fill_polygon
from saccade.data.splits import seeded_splits
from saccade.errors import Fault, FileProblem
from saccade.rasters import image_size
from saccade.runtime.reading import read_json

_PERSON, _NEUTRAL = ("person_poly", "person_bmp", "person"), ("neutral",)
_IGNORED = 255
_WHOLE = {"train": 4626, "val": 514, "test": 571}
_ALL = sum(_WHOLE.values())
_EXPECTED = "a Supervisely annotation"
_MOST_BITMAP = 1 << 26
"""Bytes of an object's bitmap, a PNG, once unpacked."""


class SuperviselyPerson(Format):
    """``DS/img/NAME.EXT`` with ``DS/ann/NAME.EXT.json`` (older: ``DS/ann/NAME.json``), ``meta.json`` above.

    Two classes, background and person; "neutral", which marks what nobody could tell, is ignored. Each object
    is an instance. ICCV 2019 splits the 5,711 images at random into 5,140 and 571 without naming them; here
    by seed 0, a tenth of the 5,140 being held back as val.
    """

    name = "supervisely"
    title = "Supervisely Person"
    looks_for = "meta.json and DS/img/ with DS/ann/"
    source = "the Supervisely site (the Persons data set)"

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return next(root.glob("*/ann"), None) is not None and next(root.glob("*/img"), None) is not None

    def find(self, root: Path, splits: tuple[str, ...] | None) -> Listing:
        listing = Listing(ClassTable(("background", "person"), (0, 1), ((0, 0, 0), (255, 80, 40)), _IGNORED))
        items: dict[str, Item] = {}
        for folder in sorted(path.parent for path in {*root.glob("*/img"), *root.glob("*/ann")}):
            some, faults = self._folder(folder)
            items |= some
            listing.faults += [fault for fault in faults if fault not in listing.faults]
        if not items and not listing.faults:
            listing.faults.append(self.missing(root, "images in DS/img/"))
        names = seeded_splits(items, _WHOLE)
        listing.splits = {name: [items[s] for s in names.get(name, ())] for name in splits or names}
        if len(items) != _ALL:
            listing.notices.append(f"{len(items)} images; the published set has {_ALL}")
        return listing

    def _folder(self, folder: Path) -> tuple[dict[str, Item], list[Fault]]:
        """The items of one DS, and their faults."""
        pictures, notes = files(folder / "img", "*"), files(folder / "ann", "*.json")
        by_note = {path.name: f"{folder.name}_{path.stem}" for path in pictures}
        by_note |= {path.stem: f"{folder.name}_{path.stem}" for path in pictures}
        images = {f"{folder.name}_{path.stem}": path for path in pictures}
        masks = {by_note.get(path.name[:-5], f"{folder.name}_{path.name[:-5]}"): path for path in notes}
        return match(
            self, images, masks, lambda s: f"{folder.name}/ann/{images[s].name}.json",
            lambda s: f"{folder.name}/img/{masks[s].name[:-5]}",
        )  # fmt: skip

    def values(self, item: Item) -> NDArray[np.integer]:
        """People over the background, and what nobody could tell over both."""
        size, objects = _objects(item)
        values = np.zeros(size, np.uint8)
        for titles, value in ((_PERSON, 1), (_NEUTRAL, _IGNORED)):
            for person in objects:
                if person["classTitle"] in titles:
                    _paint(values, person, value, item.mask)
        return values

    def has_instances(self, item: Item) -> bool:
        return True

    def instances(self, item: Item) -> NDArray[np.integer]:
        size, objects = _objects(item)
        values = np.zeros(size, np.int32)
        for number, person in enumerate(objects, 1):
            if person["classTitle"] in _PERSON:
                _paint(values, person, number, item.mask)
        return values


def _objects(item: Item) -> tuple[tuple[int, int], list[dict[str, Any]]]:
    """(H, W) and the objects of an annotation; raises FileProblem where it is none, or of another size."""
    value, faults = read_json(item.mask)
    if value is None:
        raise FileProblem(item.mask, faults[0].expected, faults[0].found)
    try:
        size = int(value["size"]["height"]), int(value["size"]["width"])
        objects = [dict(entry) for entry in value["objects"]]
        strange = {str(entry["classTitle"]) for entry in objects} - {*_PERSON, *_NEUTRAL}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FileProblem(item.mask, _EXPECTED, "one without size, objects or classTitle") from error
    if strange:
        expected = "only objects of " + ", ".join((*_PERSON, *_NEUTRAL))
        raise FileProblem(item.mask, expected, ", ".join(sorted(map(str, strange))))
    real = image_size(item.image)
    if size != real:
        expected = f"the size of its image, {real[0]} x {real[1]} (rows x columns)"
        raise FileProblem(item.mask, expected, f"{size[0]} x {size[1]}")
    return size, objects


def _paint(values: NDArray[np.integer], person: dict[str, Any], value: int, path: Path) -> None:
    """Draws an object, in place."""
    try:
        if person.get("bitmap"):
            _paint_bitmap(values, person["bitmap"], value)
        else:
            rings = [person["points"]["exterior"], *person["points"].get("interior", [])]
            # corners are pixels, which the outline passes through in the middle
            fill_polygon(values, [np.array(ring, float) + 0.5 for ring in rings], value)
    except (KeyError, TypeError, ValueError, OSError, AttributeError, OverflowError, zlib.error) as error:
        raise FileProblem(path, _EXPECTED, f"an object that cannot be drawn ({error})") from error


def _paint_bitmap(values: NDArray[np.integer], bitmap: dict[str, Any], value: int) -> None:
    left, top = (int(at) for at in bitmap["origin"])
    unpacked = zlib.decompressobj().decompress(base64.b64decode(bitmap["data"]), _MOST_BITMAP)
    picture = Image.open(io.BytesIO(unpacked), formats=("PNG",))
    if picture.size[0] > values.shape[1] or picture.size[1] > values.shape[0]:
        raise ValueError("a bitmap larger than the image")
    mask = np.asarray(picture.getchannel("A") if "A" in picture.getbands() else picture.convert("L")) > 0
    if picture.mode == "P":
        mask = np.asarray(picture.convert("RGBA").getchannel("A")) > 0
    bottom, right = top + mask.shape[0], left + mask.shape[1]
    if top < 0 or left < 0 or bottom > values.shape[0] or right > values.shape[1]:
        raise ValueError("a bitmap that reaches past the image")
    values[top:bottom, left:right][mask] = value
