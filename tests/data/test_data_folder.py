"""A sound data folder opens with its items, sizes and pixel counts."""

from __future__ import annotations

import numpy as np
import pytest
from data_folders import FolderMaker
from PIL import Image

from saccade.data import DataSet, Decoded, Item, open_data
from saccade.errors import InvalidInput


def test_splits_hold_their_items_in_the_order_of_the_file(folder: FolderMaker) -> None:
    folder.write_json(
        "splits.json", {"train": ["c", "a"], "test": ["b"], "rule": "by hand", "dropped": ["x"]}
    )
    data: DataSet = open_data(folder.root)
    assert [item.stem for item in data.split("train")] == ["c", "a"]
    assert data.split("test") == (Item("b", folder.image("b"), folder.mask("b")),)


def test_a_split_that_is_not_there_is_named_with_those_that_are(folder: FolderMaker) -> None:
    folder.write_json("splits.json", {"train": ["a"]})
    data = open_data(folder.root)
    with pytest.raises(InvalidInput, match="one of train"):
        data.split("test")


def test_counts_are_those_of_the_masks(folder: FolderMaker) -> None:
    folder.write_mask("a", np.array([[0, 1, 1], [2, 255, 1]], np.uint8))
    Image.new("RGB", (3, 2)).save(folder.image("a"))
    data = open_data(folder.root)
    assert data.class_counts("train").tolist() == [1, 3, 1]
    assert data.facts["a"].ignored == 1
    assert data.size(data.split("train")[0]) == (2, 3)
    assert data.sizes() == {(8, 12): 2, (2, 3): 1}
    whole = np.concatenate([np.asarray(Image.open(folder.mask(s))).ravel() for s in "abc"])
    assert data.class_counts().tolist() == [int((whole == k).sum()) for k in range(3)]


def test_indices_above_255_and_with_gaps_become_ids(folder: FolderMaker) -> None:
    rows = [{"index": index, "name": str(index)} for index in (7, 400, 9)]
    folder.write_json("classes.json", {"ignore_index": 0, "classes": rows})
    for stem in "abc":
        values = np.full((8, 12), 400, np.uint16)
        values[0, :3] = (7, 9, 0)
        folder.write_mask(stem, values)
    data = open_data(folder.root)
    decoded = data.read(data.split("val")[0])
    assert decoded.labels[0, :4].tolist() == [0, 2, 255, 1]
    assert data.class_counts("val").tolist() == [1, 93, 1]


def test_decoded_pixels_are_handed_on_once_each(folder: FolderMaker) -> None:
    seen: dict[str, Decoded] = {}
    data = open_data(folder.root, on_decoded=lambda item, decoded: seen.update({item.stem: decoded}))
    assert sorted(seen) == ["a", "b", "c"]
    for item in data.split("train"):
        assert (seen[item.stem].image == np.asarray(Image.open(item.image))).all()
        assert (seen[item.stem].labels == np.asarray(Image.open(item.mask))).all()


def test_only_the_wanted_splits_are_checked(folder: FolderMaker) -> None:
    folder.image("a").write_bytes(b"")
    progress = []
    data = open_data(
        folder.root, splits=["test"], on_progress=lambda done, total: progress.append((done, total))
    )
    assert list(data.splits) == ["test"]
    assert progress == [(1, 1)]


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp", ".tif", ".TIFF", ".PNG"])
def test_images_may_have_any_of_the_formats(folder: FolderMaker, suffix: str) -> None:
    image = Image.open(folder.image("a"))
    folder.image("a").unlink()
    image.save(folder.image("a").with_suffix(suffix))
    assert open_data(folder.root).split("train")[0].image.suffix == suffix


def test_palette_masks_are_their_indices_not_their_colours(folder: FolderMaker) -> None:
    values = np.asarray(Image.open(folder.mask("a"))).copy()
    mask = Image.fromarray(values)
    mask.putpalette([9, 9, 9, 200, 0, 0, 0, 0, 77])
    mask.save(folder.mask("a"))
    data = open_data(folder.root)
    assert (data.read(data.split("train")[0]).labels == values).all()


def test_exif_orientation_turns_images_and_masks_alike(folder: FolderMaker) -> None:
    upright = np.asarray(Image.open(folder.mask("a"))).copy()
    exif = Image.Exif()
    exif[0x0112] = 6  # a viewer turns the stored picture by 90 degrees clockwise
    stored = np.rot90(upright, 1)
    Image.fromarray(np.repeat(stored[..., None] * 80, 3, 2)).save(folder.image("a"), exif=exif)
    folder.write_mask("a", np.ascontiguousarray(stored), exif=exif)
    data = open_data(folder.root)
    decoded = data.read(data.split("train")[0])
    assert (decoded.labels == upright).all()
    assert (decoded.image == upright[..., None] * 80).all()


def test_notices_are_counted_not_repeated(folder: FolderMaker) -> None:
    for red, stem in enumerate("ab"):
        Image.new("RGBA", (12, 8), (red, 2, 3, 128)).save(folder.image(stem))
    Image.fromarray(np.full((8, 12), 40000, np.uint16)).save(folder.image("c"))
    Image.new("RGB", (12, 8)).save(folder.root / "images" / "d.png")
    notices = "\n".join(open_data(folder.root, splits=None).notices)
    assert "1 image is in no split" in notices
    lines = notices.splitlines()
    assert [line for line in lines if "alpha" in line and line.endswith("2 images (a.png, b.png)")]
    assert [line for line in notices.splitlines() if "16" in line and line.endswith("1 image (c.png)")]


def test_a_class_without_pixels_in_a_split_is_a_notice(folder: FolderMaker) -> None:
    folder.write_mask("b", np.zeros((8, 12), np.uint8))
    assert "no pixel of tree, bird in val" in open_data(folder.root).notices


def test_classes_may_carry_all_255_ids(folder: FolderMaker) -> None:
    rows = [{"index": k, "name": f"k{k}"} for k in range(255)]
    folder.write_json("classes.json", {"ignore_index": 255, "classes": rows})
    assert len(open_data(folder.root).classes) == 255


def test_notices_that_name_a_file_count_as_one(folder: FolderMaker) -> None:
    for stem in "ab":
        folder.image(stem).rename(folder.image(stem).with_suffix(".jpg"))
    (notice,) = open_data(folder.root).notices
    assert "PNG" in notice
    assert notice.endswith("2 images (a.jpg, b.jpg)")
