"""Images with polygons beside them: one vector file an image, or one for all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from saccade.data.coco import CocoFile
from saccade.data.dataset import Item, Listing
from saccade.data.folder import limited, list_files
from saccade.data.label_drawing import open_vectors
from saccade.data.placing import no_place, place_vectors
from saccade.data.slides import Slides, kind_faults, label_files
from saccade.data.splits import stems_in
from saccade.data.vectors import VECTOR_SUFFIXES, Vectors
from saccade.errors import Fault, FileProblem
from saccade.rasters import open_raster
from saccade.rasters.suffixes import DATA_SUFFIXES, has_suffix

LABELS = ("labels", "annotations")
"""Folders that vector files may lie in; the first that holds any."""


def labels_folder(root: Path) -> Path | None:
    """Where vector files lie beside ``images``; None where there are none."""
    for name in LABELS:
        folder = root / name
        if folder.is_dir() and any(p.suffix.lower() in VECTOR_SUFFIXES for p in folder.iterdir()):
            return folder
    return None


class VectorFolder(Slides):
    """``images/NAME.*``, ``labels/`` with ``NAME.gpkg``, ``.shp``, ``.fgb``, ``.geojson`` or ``.json``
    (GeoJSON, QuPath's, COCO's), or with one such file for all, ``classes.json`` and ``splits.json``.

    Polygons are brought to the reference system of each image. What none covers is as ``unlabelled`` in
    ``classes.json`` says: ignored, or a class; where it does not say, the class called background, and
    ignored where there is none. Images are read as whole slides are: reduced above ``max_pixels``.
    """

    name = "vectors"
    title = "a folder of images with polygons"
    looks_for = "images/, labels/*.gpkg, .shp, .geojson or .json, classes.json, splits.json"
    zero: ClassVar[bool] = False
    what, where = "an image", "images"

    _outside: tuple[str, ...] = ()

    @classmethod
    def recognises(cls, root: Path) -> bool:
        beside_masks = (root / "masks").is_dir()
        return (root / "images").is_dir() and not beside_masks and labels_folder(root) is not None

    def find(self, root: Path, splits: tuple[str, ...] | None) -> Listing:
        listing = super().find(root, splits)
        listing.notices += self._outside
        return listing

    def _pairs(self, root: Path) -> tuple[dict[str, Item], list[Fault]]:
        folder = labels_folder(root) or root / LABELS[0]
        images, image_faults = list_files(root / "images")
        labels, label_faults = list_files(folder)
        if image_faults or label_faults:
            return {}, [*image_faults, *label_faults]
        pictures = {
            stem: [path for path in some if has_suffix(path, DATA_SUFFIXES)] for stem, some in images.items()
        }
        pictures = {stem: some for stem, some in pictures.items() if some}
        labels = {stem: kept for stem, some in labels.items() if (kept := label_files(some))}
        faults = [
            Fault(some[0], "one file with this stem", " and ".join(path.name for path in some))
            for some in pictures.values()
            if len(some) > 1
        ]
        faults += kind_faults(labels)
        vectors = [
            path for some in labels.values() for path in some if path.suffix.lower() in VECTOR_SUFFIXES
        ]
        if len(vectors) == 1 and not any(stem in pictures for stem in labels):
            items = {stem: Item(stem, some[0], vectors[0]) for stem, some in pictures.items()}
            return items, [*faults, *self._share(vectors[0], list(items.values()))]
        items = {s: Item(s, some[0], labels[s][0]) for s, some in pictures.items() if s in labels}
        self._unlabelled = tuple(stem for stem in pictures if stem not in labels)
        wanted = stems_in(root / "splits.json")
        lacking = [stem for stem in self._unlabelled if wanted is None or stem in wanted]
        without = [(pictures[stem][0], f"its labels {folder.name}/{stem}.*") for stem in lacking]
        orphans = [(some[0], f"its image images/{s}.*") for s, some in labels.items() if s not in pictures]
        return items, [*faults, *limited(self, without), *limited(self, orphans)]

    def _share(self, path: Path, items: Sequence[Item]) -> list[Fault]:
        """Opens the file of all images; its faults are told once, not for each of them."""
        if self._rule is None:
            return []
        try:
            self._shared = open_vectors(path, self._rule.layer)
            if isinstance(self._shared, CocoFile):
                self._outside = _unlisted(self._shared, items)
                return []
            self._rule.attributes_of(self._shared)
            lines, faults = _coverage(self._shared, items)
        except FileProblem as problem:
            self._rule = None
            fix = f"; {problem.fix}" if problem.fix else ""
            return [Fault(problem.path, problem.expected, f"{problem.got}{fix}")]
        self._outside = lines
        return faults


def _unlisted(file: CocoFile, items: Iterable[Item]) -> tuple[str, ...]:
    """What of a COCO file is of no image, and the images that it does not list."""
    names = {item.stem: file.name_of(item.stem) for item in items}
    lines = []
    if without := [stem for stem, name in names.items() if name is None]:
        lines.append(f"{file.path.name} does not list {_few(without)}: without labels")
    if others := sorted(set(file.sizes) - set(names.values())):
        lines.append(f"{file.path.name} lists images that are not there: {_few(others)}")
    if file.broken:
        lines.append(f"{file.path.name}: {len(file.broken)} annotations of images that it does not list")
    return tuple(lines)


def _coverage(vectors: Vectors, items: Iterable[Item]) -> tuple[tuple[str, ...], list[Fault]]:
    """Polygons that touch no image, and images that no polygon touches, by their boxes."""
    near: set[int] = set()
    untouched: list[str] = []
    nowhere = None
    for item in items:
        try:
            raster = open_raster(item.image)
        except FileProblem:
            continue  # told when the image is read
        with raster:
            meaning = place_vectors(vectors, raster)
            numbers = [] if meaning is None else vectors.near(meaning.box).tolist()
            nowhere = no_place(vectors, raster) if nowhere is None and not numbers else nowhere
        near.update(numbers)
        if not numbers:
            untouched.append(item.stem)
    total = len(vectors.numbers)
    if total and not near and nowhere is not None:
        return (), [Fault(nowhere.path, nowhere.expected, f"{nowhere.got}; {nowhere.fix}".rstrip("; "))]
    lines = []
    if outside := total - len(near):
        lines.append(f"{vectors.path.name}: {outside} of {total} polygons touch no image")
    if untouched:
        lines.append(f"{vectors.path.name}: no polygon touches {_few(untouched)}")
    return tuple(lines), []


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
