"""COCO's JSON: polygons and run lengths in pixels of the images that it lists (Lin et al., 2014)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data.polygons import closed
from saccade.data.splits import composed
from saccade.data.vectors import Feature, JsonVectors, has_area
from saccade.errors import FileProblem

_EXPECTED = "COCO JSON: images, annotations and categories"


def is_coco(value: Any) -> bool:
    """Whether a JSON value lists images and annotations."""
    return isinstance(value, dict) and "annotations" in value and "images" in value


@dataclass(frozen=True)
class CocoFile:
    """The objects of every image that a COCO file lists.

    Attributes:
        path: the file.
        sizes: (H, W) that it gives each image, by file name; None where it gives none.
        objects: those of each image, likewise.
        broken: ids of annotations of an image that is not listed.
    """

    path: Path
    sizes: Mapping[str, tuple[int, int] | None]
    objects: Mapping[str, JsonVectors]
    broken: tuple[Any, ...]

    @classmethod
    def parse(cls, value: dict[str, Any], path: Path) -> CocoFile:
        """Raises FileProblem where a part is missing, or an object is neither polygons nor run lengths."""
        try:
            names = {row["id"]: str(row["file_name"]).replace("\\", "/") for row in value["images"]}
            sizes = {names[row["id"]]: _size(row) for row in value["images"]}
            categories = {row["id"]: str(row["name"]) for row in value.get("categories") or []}
            rows = list(value["annotations"])
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise FileProblem(path, _EXPECTED, f"an entry without {error}") from None
        features: dict[str, list[Feature]] = {name: [] for name in sizes}
        empty = dict.fromkeys(sizes, 0)
        broken = []
        for number, row in enumerate(rows):
            name = _meant(names, row.get("image_id")) if isinstance(row, dict) else None
            if name is None:
                broken.append(row.get("id", number) if isinstance(row, dict) else number)
                continue
            feature = _feature(row, number, categories, path)
            if feature is None:
                empty[name] += 1
            else:
                features[name].append(feature)
        objects = {
            name: JsonVectors(path, None, "pixels", empty[name], tuple(some))
            for name, some in features.items()
        }
        return cls(path, sizes, objects, tuple(broken))

    def name_of(self, stem: str) -> str | None:
        """The file name in it of the image with this stem, folders included; else by its last part alone."""
        stems = {composed(PurePosixPath(name).with_suffix("").as_posix()): name for name in self.sizes}
        if stem in stems:
            return stems[stem]
        last = [name for full, name in stems.items() if full.rpartition("/")[2] == stem.rpartition("/")[2]]
        return last[0] if len(last) == 1 else None


def _meant(table: Mapping[Any, str], identity: Any, otherwise: Any = None) -> Any:
    """What an id stands for; a list or a mapping in its place stands for nothing."""
    return table.get(identity, otherwise) if isinstance(identity, Hashable) else otherwise


def _size(row: Mapping[str, Any]) -> tuple[int, int] | None:
    return (int(row["height"]), int(row["width"])) if row.get("height") and row.get("width") else None


def _feature(
    row: Mapping[str, Any], number: int, categories: Mapping[Any, str], path: Path
) -> Feature | None:
    identity = row.get("id", number)
    category = row.get("category_id")
    attributes = {"category": _meant(categories, category, category), "category_id": category}
    outline = row.get("segmentation")
    try:
        if isinstance(outline, dict):
            _ = runs_of(outline)
            return Feature(number, (), attributes, outline)
        rings = [closed(np.asarray(flat, float).reshape(-1, 2)) for flat in outline or [] if len(flat)]
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError) as error:
        found = f"annotation {identity} has none ({error})"
        raise FileProblem(path, "polygons or run lengths", found) from None
    polygons = tuple((ring,) for ring in rings if has_area(ring))
    return Feature(number, polygons, attributes) if polygons else None


def runs_of(mask: Mapping[str, Any]) -> NDArray[np.int64]:
    """Lengths of runs, outside first, down the columns, from a list or from COCO's text.

    Raises:
        ValueError: they do not fill the size that the mask names.
    """
    counts = mask["counts"]
    runs = _unpacked(counts) if isinstance(counts, str | bytes) else [int(count) for count in counts]
    height, width = (int(side) for side in mask["size"])
    if sum(runs) != height * width or min(runs, default=0) < 0:
        raise ValueError(f"runs of {sum(runs)} pixels for {height} x {width}")
    return np.asarray(runs, np.int64)


def _unpacked(text: str | bytes) -> list[int]:
    """Five bits a character, least first; from the third run on, what a run is longer than that before the
    last."""
    data = text.encode("ascii") if isinstance(text, str) else text
    runs: list[int] = []
    at = 0
    while at < len(data):
        value, shift, more = 0, 0, True
        while more:
            code = data[at] - 48
            value |= (code & 31) << shift
            more = bool(code & 32)
            at, shift = at + 1, shift + 5
        if code & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return runs


def decode_mask(mask: Mapping[str, Any]) -> NDArray[np.bool_]:
    """(H, W): True inside."""
    height, width = (int(side) for side in mask["size"])
    runs = runs_of(mask)
    inside: Sequence[bool] | NDArray[np.bool_] = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T
