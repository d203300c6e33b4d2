"""A data set is known by content: pixels, labels, splits, classes and what is ignored."""

from __future__ import annotations

import json
import re
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from data_folders import CLASSES, FolderMaker
from PIL import Image, ImageOps

from saccade.data import open_data
from saccade.data.open import require_something_to_learn
from saccade.data.record import DataRecord
from saccade.errors import DataFaults


@pytest.fixture
def folder(tmp_path: Path) -> FolderMaker:
    return FolderMaker(tmp_path / "data")


def record(root: Path) -> DataRecord:
    return DataRecord.of(open_data(root), ["train", "val"])


def test_a_record_survives_json_and_the_folder_may_move(folder: FolderMaker, tmp_path: Path) -> None:
    first = record(folder.root)
    moved = record(shutil.copytree(folder.root, tmp_path / "moved"))
    again = DataRecord.from_json(json.loads(json.dumps(moved.to_json())), tmp_path)
    assert first == moved == again
    assert first.digest == again.digest
    assert first.differences(again) == []


def test_files_that_are_saved_otherwise_hold_the_same_data(folder: FolderMaker) -> None:
    before = record(folder.root)
    with Image.open(folder.image("a")) as image:
        image.save(folder.image("a").with_suffix(".tif"))
    folder.image("a").unlink()
    assert before.differences(record(folder.root)) == []


def spoil_mask(folder: FolderMaker) -> None:
    folder.write_mask("b", np.roll(np.array(Image.open(folder.mask("b"))), 1, 0))


def spoil_image(folder: FolderMaker) -> None:
    Image.fromarray(np.array(Image.open(folder.image("a"))) ^ 1).save(folder.image("a"))


def spoil_size(folder: FolderMaker) -> None:
    for path in (folder.image("a"), folder.mask("a")):
        with Image.open(path) as image:
            image.crop((0, 0, 11, 8)).save(path)


def swap_splits(folder: FolderMaker) -> None:
    folder.write_json("splits.json", {"train": ["a"], "val": ["c"], "test": ["b"]})


def ignore_a_value(folder: FolderMaker) -> None:
    folder.write_json("classes.json", {**CLASSES, "ignore_index": 7})


def swap_contents(folder: FolderMaker) -> None:
    for kind in ("images", "masks"):
        one, other, kept = (folder.root / kind / f"{name}.png" for name in ("b", "c", "kept"))
        one.rename(kept)
        other.rename(one)
        kept.rename(other)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (spoil_mask, "val has 1 masks with other labels: b"),
        (spoil_image, "train has 1 images with other pixels: a"),
        (spoil_size, r"train has 1 images of another size: a \(8x11 instead of 8x12\)"),
        (swap_splits, "val has 1 images that are missing: b"),
        (ignore_a_value, r"ignored values \(ignore_index\) are 7 instead of 255"),
        (swap_contents, "val has 1 images with other pixels: b"),
    ],
)
def test_what_differs_is_told(folder: FolderMaker, spoil, told: str) -> None:
    before = record(folder.root)
    spoil(folder)
    now = record(folder.root)
    assert before.digest != now.digest
    [line] = [line for line in before.differences(now) if "new" not in line]
    assert re.search(told, line)


def test_images_in_nested_folders_are_found_by_their_path(folder: FolderMaker) -> None:
    for kind in ("images", "masks"):
        for site in ("north", "south"):
            (folder.root / kind / site).mkdir()
            shutil.copy(folder.root / kind / "a.png", folder.root / kind / site / "a.png")
    spoilt = folder.root / "images" / "south" / "a.png"
    Image.fromarray(255 - np.array(Image.open(spoilt))).save(spoilt)
    folder.write_json("splits.json", {"train": ["north/a"], "val": ["south/a"], "test": ["c"]})
    data = open_data(folder.root)
    north, south = data.split("train")[0], data.split("val")[0]
    assert (data.read(north).image == 255 - data.read(south).image).all()
    assert data.facts["north/a"].image != data.facts["south/a"].image


@pytest.mark.parametrize(("listed", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_may_be_spelled_in_two_ways(folder: FolderMaker, listed: str, on_disk: str) -> None:
    for kind in ("images", "masks"):
        path = folder.root / kind / "a.png"
        path.rename(path.with_name(unicodedata.normalize(on_disk, "weiß-é.png")))  # type: ignore[arg-type]
    name = unicodedata.normalize(listed, "weiß-é")  # type: ignore[arg-type]
    folder.write_json("splits.json", {"train": [name], "val": ["b"], "test": ["c"]})
    assert len(open_data(folder.root).split("train")) == 1


def test_a_mask_of_0_and_255_that_is_ignored_is_refused_with_the_cause(folder: FolderMaker) -> None:
    mask = np.zeros((8, 12), np.uint8)
    mask[:4] = 255
    for stem in ("a", "b", "c"):
        folder.write_mask(stem, mask)
    rows = CLASSES["classes"][:2]  # type: ignore[index]
    folder.write_json("classes.json", {"ignore_index": 255, "classes": rows})
    data = open_data(folder.root)
    assert any("255 covers 50 % and is ignored; did you mean class 1 (tree)?" in one for one in data.notices)
    with pytest.raises(DataFaults, match=r"train, found only ground.*255 covers 50 %.*did you mean class 1"):
        require_something_to_learn(data)
    folder.write_json("classes.json", {"ignore_index": None, "classes": rows})
    with pytest.raises(DataFaults, match=r"255 \(48 pixels\); if 255 means tree, give that class the index"):
        open_data(folder.root)


def test_one_class_alone_is_meant_so(folder: FolderMaker) -> None:
    for stem in ("a", "b", "c"):
        folder.write_mask(stem, np.zeros((8, 12), np.uint8))
    folder.write_json("classes.json", {"ignore_index": 255, "classes": CLASSES["classes"][:1]})  # type: ignore[index]
    require_something_to_learn(open_data(folder.root))


def turned(image: Image.Image, path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("side", ["image", "mask"])
def test_one_side_of_a_square_pair_is_never_turned_alone(
    folder: FolderMaker, orientation: int, side: str
) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8))
    mask = Image.fromarray(rng.integers(0, 3, (9, 9), np.uint8))
    for stem in ("a", "b", "c"):
        turned(image if stem == "a" else image.rotate(90), folder.image(stem), 1)
        turned(mask, folder.mask(stem), 1)
    Image.fromarray(255 - np.array(image)).save(folder.image("c"))
    turned(image, folder.image("a"), orientation if side == "image" else 1)
    turned(mask, folder.mask("a"), orientation if side == "mask" else 1)
    with pytest.raises(DataFaults, match=r"a\.png: expected the EXIF orientation of its image, \d"):
        open_data(folder.root)
    turned(image, folder.image("a"), orientation)
    turned(mask, folder.mask("a"), orientation)
    data = open_data(folder.root)
    pixels = data.read(data.split("train")[0])
    with Image.open(folder.image("a")) as one, Image.open(folder.mask("a")) as other:
        assert (pixels.image == np.array(ImageOps.exif_transpose(one))).all()
        assert (pixels.labels == np.array(ImageOps.exif_transpose(other))).all()


def test_a_turn_by_180_degrees_of_the_image_alone_is_refused(folder: FolderMaker) -> None:
    with Image.open(folder.image("a")) as image:
        turned(image.copy(), folder.image("a"), 3)
    with pytest.raises(DataFaults, match="turned by 180 degrees"):
        open_data(folder.root)


def test_a_mask_of_the_upright_size_proves_that_it_was_drawn_upright(folder: FolderMaker) -> None:
    with Image.open(folder.image("a")) as image:
        turned(image.transpose(Image.Transpose.ROTATE_90), folder.image("a"), 6)
    data = open_data(folder.root)
    assert data.size(data.split("train")[0]) == (8, 12)
