"""Tiny made-up data sets in the layouts of the real ones, for tests and for trying a configuration."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saccade.data.apolloscape import ApolloScape
from saccade.data.cityscapes import Cityscapes
from saccade.data.classes import ClassTable
from saccade.data.deepglobe import DeepGlobe
from saccade.errors import InvalidInput, nearest_name

_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class _Order:
    """What is to be made: where, how large, how many in train, val and test, and by which generator."""

    root: Path
    size: tuple[int, int]
    count: tuple[int, int, int]
    rng: np.random.Generator

    @property
    def total(self) -> int:
        return sum(self.count)

    def names(self, start: str) -> list[tuple[str, str]]:
        """(split, name) of each image."""
        splits = [split for split, n in zip(_SPLITS, self.count, strict=True) for _ in range(n)]
        return [(split, f"{start}{number:06}") for number, split in enumerate(splits)]

    def blobs(self, values: Sequence[int]) -> NDArray[np.integer]:
        """(H, W) mask values in patches of four pixels, every value present where there is room."""
        rows, columns = (-(-side // 4) for side in self.size)
        cells = np.resize(self.rng.permutation(np.array(values)), rows * columns)
        cells = self.rng.permutation(cells).reshape(rows, columns)
        return cells.repeat(4, 0).repeat(4, 1)[: self.size[0], : self.size[1]]

    def picture(self, labels: NDArray[np.integer]) -> Image.Image:
        """A noisy image in which labels can be told apart."""
        shade = (labels.astype(int)[..., None] * (53, 97, 31)) % 200 + 28
        return Image.fromarray((shade + self.rng.integers(-25, 26, shade.shape)).astype(np.uint8))


def make_fake(
    name: str,
    folder: Path | str,
    *,
    size: tuple[int, int] = (16, 24),
    count: tuple[int, int, int] = (3, 2, 2),
    seed: int = 0,
) -> Path:
    """Makes a tiny data set of random patches in the layout ``name``.

    Args:
        name: one of :data:`saccade.data.FORMATS`.
        folder: where; made, with its parents.
        size: (H, W) of each image.
        count: images in train, val and test. Layouts without splits get their sum and are split by their own
            rule; Inria Aerial has no test, and the test labels of Cityscapes and ApolloScape are dummies.
        seed: of the patches.

    Returns:
        The folder.

    Raises:
        InvalidInput: for a name that there is not.

    Examples:
        >>> from saccade.data import open_data
        >>> from saccade.testing import make_fake
        >>> open_data(make_fake("inria", "tiny"), splits=["train"]).classes.names
        ('not building', 'building')
    """
    if name not in _MAKERS:
        raise InvalidInput("name", "one of " + ", ".join(_MAKERS), repr(name), nearest_name(name, _MAKERS))
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    _MAKERS[name](_Order(root, size, count, np.random.default_rng(seed)))
    return root


def _save(path: Path, image: Image.Image | NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(path, quality=95)


def _folder(order: _Order) -> None:
    names = order.names("image_")
    for _, stem in names:
        labels = order.blobs((0, 1, 2)).astype(np.uint8)
        _save(order.root / "images" / f"{stem}.png", order.picture(labels))
        _save(order.root / "masks" / f"{stem}.png", labels)
    _write_classes(order.root, ("ground", "tree", "bird"))
    splits = {split: [stem for s, stem in names if s == split] for split in _SPLITS}
    _write(order.root / "splits.json", {split: some for split, some in splits.items() if some})


def _cityscapes(order: _Order) -> None:
    table = _table(Cityscapes, order.root)
    for split, name in order.names("aachen_"):
        labels = order.blobs(table.allowed_values if split != "test" else (0, 3)).astype(np.uint8)
        start = order.root / "gtFine" / split / "aachen" / f"{name}_000019_gtFine"
        image = order.root / "leftImg8bit" / split / "aachen" / f"{name}_000019_leftImg8bit.png"
        _save(image, order.picture(labels))
        _save(start.with_name(f"{start.name}_labelIds.png"), labels)
        objects = np.where(labels >= 24, labels.astype(np.uint16) * 1000, labels.astype(np.uint16))
        _save(start.with_name(f"{start.name}_instanceIds.png"), objects)


def _deepglobe(order: _Order) -> None:
    table = _table(DeepGlobe, order.root)
    colours = np.array([*table.colours, (0, 0, 0)], np.uint8)
    for _, name in order.names(""):
        labels = order.blobs(range(7))
        _save(order.root / "land-train" / f"{int(name) + 119}_sat.jpg", order.picture(labels))
        _save(order.root / "land-train" / f"{int(name) + 119}_mask.png", colours[labels])


def _gleason(order: _Order) -> None:
    for number, (_, _) in enumerate(order.names("")):
        stem = f"slide001_core{number:03}"
        truth = order.blobs((0, 1, 3, 4, 5, 6)).astype(np.uint8)
        _save(order.root / "Train Imgs" / f"{stem}.jpg", order.picture(truth))
        for annotator in range(1, 7):
            if (number + annotator) % 6:
                drawn = np.where(order.rng.random(truth.shape) < 0.03 * annotator, 1, truth).astype(np.uint8)
                _save(order.root / f"Maps{annotator}_T" / f"{stem}_classimg_nonconvex.png", drawn)


def _apolloscape(order: _Order) -> None:
    table = _table(ApolloScape, order.root)
    lines: dict[str, list[str]] = {split: [] for split in _SPLITS}
    for split, number in order.names("170908_"):
        name = f"{number}_Camera_5"
        labels = order.blobs((*table.allowed_values, 161, 164) if split != "test" else (255,)).astype(
            np.uint8
        )
        paths = (
            f"road01_ins/ColorImage/Record001/Camera 5/{name}.jpg",
            f"road01_ins/Label/Record001/Camera 5/{name}_bin.png",
        )
        _save(order.root / paths[0], order.picture(labels))
        _save(order.root / paths[1], labels)
        objects = np.where((labels >= 33) & (labels <= 40), labels.astype(np.uint16) * 1000 + 1, 255)
        _save((order.root / paths[1]).with_name(f"{name}_instanceIds.png"), objects.astype(np.uint16))
        lines[split].append("\t".join(paths))
    for split, some in lines.items():
        path = order.root / "public_image_lists" / f"road01_ins_{split}.lst"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(some) + "\n", encoding="utf-8")


def _synthia(order: _Order) -> None:
    for _, name in order.names("ap_000_"):
        labels = order.blobs(range(12)).astype(np.uint8)
        _save(order.root / "RGB" / f"{name}.png", order.picture(labels))
        path = order.root / "GTTXT" / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            "\n".join(" ".join(map(str, row)) for row in labels.tolist()) + "\n", encoding="ascii"
        )


def _supervisely(order: _Order) -> None:
    height, width = order.size
    _write(order.root / "meta.json", {"classes": [{"title": "person_poly"}, {"title": "person_bmp"}]})
    for number, (_, name) in enumerate(order.names("photo-")):
        person = np.zeros(order.size, np.uint8)
        person[1 : height // 2, 1 : width // 2] = 1
        folder, file = order.root / f"ds{number % 2 + 1}", f"{name}.png"
        _save(folder / "img" / file, order.picture(person))
        right, low = width - 2, height - 2
        corners = [[width // 2, 2], [right, 2], [right, low], [width // 2, low]]
        objects = [
            {"classTitle": "person_bmp", "bitmap": {"origin": [1, 1], "data": _packed(person[1:, 1:])}},
            {"classTitle": "person_poly", "bitmap": None, "points": {"exterior": corners, "interior": []}},
            {
                "classTitle": "neutral",
                "points": {"exterior": [[0, low], [3, low], [3, height]], "interior": []},
            },
        ]
        (folder / "ann").mkdir(parents=True, exist_ok=True)
        size = {"height": height, "width": width}
        _write(folder / "ann" / f"{file}.json", {"size": size, "objects": objects, "tags": []})


def _packed(mask: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.repeat(mask[..., None] * np.uint8(255), 4, 2)).save(buffer, "PNG")
    return base64.b64encode(zlib.compress(buffer.getvalue())).decode("ascii")


def _inria(order: _Order) -> None:
    train, val, _ = order.count
    for number in [*range(1, val + 1), *range(6, 6 + train)]:
        labels = order.blobs((0, 255)).astype(np.uint8)
        _save(order.root / "train" / "images" / f"austin{number}.tif", order.picture(labels))
        _save(order.root / "train" / "gt" / f"austin{number}.tif", labels)
    _save(order.root / "test" / "images" / "bellingham1.tif", order.picture(labels))


def _slides(order: _Order) -> None:
    names = ("unlabelled", "benign", "Gleason grade 3", "Gleason grade 4", "atrophy", "HGPIN")
    _write_classes(order.root, names)
    height, width = order.size
    for number, (_, name) in enumerate(order.names("biopsy_")):
        labels = np.zeros(order.size, np.uint8)
        boxes = {1: (0, 0, width // 2, height // 2), 2 + number % 4: (width // 2, 1, width - 1, height - 1)}
        for index, (left, top, right, bottom) in boxes.items():
            labels[top:bottom, left:right] = index
        _save(order.root / "slides" / f"{name}.tif", order.picture(labels))
        place = order.root / "annotations" / f"{name}.geojson"
        if number == 0:
            _save(place.with_suffix(".png"), labels)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        _write(
            place, {"type": "FeatureCollection", "features": [_box(names[k], *b) for k, b in boxes.items()]}
        )


def _vectors(order: _Order) -> None:
    classes = ("ground", "tree", "bird")
    _write_classes(order.root, classes)
    height, width = order.size
    names = order.names("field_")
    (order.root / "labels").mkdir(parents=True, exist_ok=True)
    for number, (_, stem) in enumerate(names):
        labels = np.zeros(order.size, np.uint8)
        boxes = {1: (0, 0, width // 2, height // 2), 2: (width // 2, 1 + number % 2, width - 1, height - 1)}
        for index, (left, top, right, bottom) in boxes.items():
            labels[top:bottom, left:right] = index
        _save(order.root / "images" / f"{stem}.png", order.picture(labels))
        every = {0: (0, 0, width, height), **boxes}
        features = [_box(classes[index], *box) for index, box in every.items()]
        _write(order.root / "labels" / f"{stem}.geojson", {"type": "FeatureCollection", "features": features})
    splits = {split: [stem for s, stem in names if s == split] for split in _SPLITS}
    _write(order.root / "splits.json", {split: some for split, some in splits.items() if some})


def _box(name: str, left: int, top: int, right: int, bottom: int) -> dict[str, Any]:
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "geometry": geometry, "properties": {"classification": {"name": name}}}


def _table(kind: type, root: Path) -> ClassTable:
    """The class table of a layout, whatever lies in the folder."""
    table: ClassTable = kind().find(root, ()).classes
    return table


def _write_classes(root: Path, names: Sequence[str]) -> None:
    _write(root / "classes.json", {"classes": [{"index": k, "name": name} for k, name in enumerate(names)]})


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


_MAKERS: dict[str, Callable[[_Order], None]] = {
    "folder": _folder,
    "cityscapes": _cityscapes,
    "deepglobe": _deepglobe,
    "gleason2019": _gleason,
    "apolloscape": _apolloscape,
    "synthia": _synthia,
    "supervisely": _supervisely,
    "inria": _inria,
    "slides": _slides,
    "vectors": _vectors,
}
