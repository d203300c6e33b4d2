"""Each published layout is read as its makers mean it; faults of a download are named, all at once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.data import FORMATS, DataFolder, SampleCache, open_data
from saccade.data.apolloscape import TARGET_CLASSES
from saccade.errors import DataFaults, FileProblem, InvalidInput
from saccade.testing import make_fake

LAYOUTS = [name for name in FORMATS if name != "folder"]


def stored(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def labels(data: DataFolder, split: str = "train") -> tuple[np.ndarray, Path]:
    """The ids of the first item of a split, and the path of its mask."""
    item = data.split(split)[0]
    return data.read(item).labels, item.mask


def ids(data: DataFolder, values: np.ndarray) -> np.ndarray:
    """Position in the class table of each value; 255 where it is none."""
    table = {value: number for number, value in enumerate(data.classes.indices)}
    return np.vectorize(lambda value: table.get(int(value), 255))(values)


@pytest.mark.parametrize("name", FORMATS)
def test_a_folder_is_recognised_by_what_lies_in_it(name: str, tmp_path: Path) -> None:
    assert open_data(make_fake(name, tmp_path / "data")).format.name == name


def test_slides_beside_images_and_masks_make_no_set_of_slides(tmp_path: Path) -> None:
    make_fake("folder", tmp_path / "data")
    (tmp_path / "data" / "slides").mkdir()
    assert open_data(tmp_path / "data").format.name == "folder"


@pytest.mark.parametrize("name", FORMATS)
def test_a_name_chooses_the_layout(name: str, tmp_path: Path) -> None:
    make_fake("cityscapes" if name != "cityscapes" else "inria", tmp_path)
    make_fake(name, tmp_path)
    assert open_data(tmp_path, format=name, splits=["train"]).format.name == name


def test_cityscapes_ids_are_the_official_nineteen(tmp_path: Path) -> None:
    data = open_data(make_fake("cityscapes", tmp_path))
    assert data.classes.indices == (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
    found, mask = labels(data)
    assert mask.parent == tmp_path / "gtFine" / "train" / "aachen"
    assert (found == ids(data, stored(mask))).all()
    assert {255, 0, 18} <= set(np.unique(found))


def test_cityscapes_instances_are_objects_only_and_crop_with_the_image(tmp_path: Path) -> None:
    make_fake("cityscapes", tmp_path)
    opened = [open_data(tmp_path, splits=["val"], crop=crop) for crop in ("none", "square")]
    whole, square = (SampleCache().get(data, data.split("val")[0]) for data in opened)
    mask = next((tmp_path / "gtFine" / "val").rglob("*000003*_labelIds.png"))
    values = stored(mask).astype(int)
    expected = np.where(values >= 24, values * 1000, 0)
    assert whole.instances is not None and square.instances is not None
    assert (whole.instances[0].numpy() == expected).all()
    assert (square.instances[0].numpy() == expected[:, 4:20]).all()
    assert square.size == (16, 16)


def test_the_dummy_labels_of_test_cannot_be_scored(tmp_path: Path) -> None:
    make_fake("cityscapes", tmp_path)
    with pytest.raises(DataFaults, match="labels in test, found only ignored pixels"):
        open_data(tmp_path, splits=["test"])
    assert "all pixels of test are ignored: it cannot be scored" in open_data(tmp_path).notices


def test_deepglobe_colours_are_cut_at_128_and_unknown_is_ignored(tmp_path: Path) -> None:
    data = open_data(make_fake("deepglobe", tmp_path))
    found, mask = labels(data)
    colours = stored(mask)
    official = {
        "urban": (0, 255, 255), "agriculture": (255, 255, 0), "rangeland": (255, 0, 255),
        "forest": (0, 255, 0), "water": (0, 0, 255), "barren": (255, 255, 255),
    }  # fmt: skip
    for number, name in enumerate(data.classes.names):
        assert ((found == number) == (colours == official[name]).all(-1)).all()
    assert ((found == 255) == (colours == 0).all(-1)).all() and (found == 255).any()
    rng = np.random.default_rng(0)
    faded = np.where(colours > 0, rng.integers(128, 256, colours.shape), 127)
    Image.fromarray(faded.astype(np.uint8)).save(mask)
    assert (labels(open_data(tmp_path))[0] == found).all()
    colours = colours.copy()
    colours[0, :3] = (255, 0, 0)
    Image.fromarray(colours).save(mask)
    with pytest.raises(DataFaults, match="3 pixels of red"):
        open_data(tmp_path)


def test_apolloscape_groups_are_of_their_class_and_22_classes_are_scored(tmp_path: Path) -> None:
    data = open_data(make_fake("apolloscape", tmp_path))
    assert (
        len(data.classes) == 22 and set(TARGET_CLASSES) < set(data.classes.names) and len(TARGET_CLASSES) == 8
    )
    found, mask = labels(data)
    values = stored(mask).astype(int)
    assert 161 in values
    assert (found == ids(data, np.where((values >= 161) & (values <= 168), values - 128, values))).all()
    (sample,) = SampleCache().iterate(data, data.split("train")[:1])
    assert sample.instances is not None
    assert ((sample.instances[0].numpy() > 0) == ((values >= 33) & (values <= 40))).all()


def test_apolloscape_lists_may_write_underscores_and_name_roads_that_are_not_here(tmp_path: Path) -> None:
    make_fake("apolloscape", tmp_path)
    path = tmp_path / "public_image_lists" / "road01_ins_train.lst"
    lines = path.read_text().replace("Camera 5", "Camera_5")
    path.write_text(lines + "road09_ins/ColorImage/a/b/c.jpg\troad09_ins/Label/a/b/c_bin.png\n")
    data = open_data(tmp_path, splits=["train"])
    assert len(data.split("train")) == 3
    assert "1 listed images in train are of roads that are not here" in data.notices


def test_synthia_reads_text_labels_and_the_later_channels(tmp_path: Path) -> None:
    import imagecodecs

    data = open_data(make_fake("synthia", tmp_path / "first"))
    found, mask = labels(data)
    assert (found == ids(data, np.loadtxt(mask))).all() and (found == 255).any()
    later = make_fake("synthia", tmp_path / "later")
    (later / "GT" / "LABELS").mkdir(parents=True)
    for path in (later / "GTTXT").iterdir():
        values = np.loadtxt(path).astype(np.uint16)
        pixels = np.stack([values, values * 7, values * 0], -1)
        (later / "GT" / "LABELS" / f"{path.stem}.png").write_bytes(imagecodecs.png_encode(pixels))
    shutil.rmtree(later / "GTTXT")
    data = open_data(later)
    assert len(data.classes) == 17
    sample = SampleCache().get(data, data.split("train")[0])
    assert sample.instances is not None
    assert (sample.labels[0].numpy() == found).all()
    assert (sample.instances[0].numpy() == np.loadtxt(mask) * 7).all()


def test_supervisely_people_are_drawn_and_numbered_and_neutral_is_ignored(tmp_path: Path) -> None:
    data = open_data(make_fake("supervisely", tmp_path))
    sample = SampleCache().get(data, data.split("train")[0])
    people = np.zeros((16, 24), int)
    people[1:8, 1:12] = 1  # a bitmap, exactly
    assert sample.instances is not None
    instances, found = sample.instances[0].numpy(), sample.labels[0].numpy()
    assert ((instances == 1) == (people == 1)).all()
    polygon = instances == 2
    assert polygon[3:13, 13:21].all() and not polygon[:2].any() and not polygon[:, :12].any()
    assert ((found == 1) == ((instances > 0) & (found != 255))).all()
    assert (found == 255).any()


@pytest.mark.parametrize("name", FORMATS)
def test_one_class_can_be_told_from_all_others(name: str, tmp_path: Path) -> None:
    whole = open_data(make_fake(name, tmp_path), splits=["train"])
    number = len(whole.classes) - 1
    binary = open_data(tmp_path, splits=["train"], target=whole.classes.names[number])
    assert binary.classes.names == ("rest", whole.classes.names[number])
    assert set(binary.classes.indices) <= set(whole.classes.indices)
    for item in whole.split("train"):
        ids = whole.read(item).labels
        assert (binary.read(item).labels == np.where(ids == 255, 255, ids == number)).all()
    counts = whole.class_counts("train")
    assert binary.class_counts("train").tolist() == [counts[:number].sum(), counts[number]]
    with pytest.raises(InvalidInput, match="the name of one of several classes"):
        open_data(tmp_path, target="no such class")


def test_inria_takes_the_first_five_of_each_city_as_val(tmp_path: Path) -> None:
    data = open_data(make_fake("inria", tmp_path, count=(2, 5, 0)))
    assert [item.stem for item in data.split("val")] == [f"austin{n}" for n in range(1, 6)]
    assert [item.stem for item in data.split("train")] == ["austin6", "austin7"]
    found, mask = labels(data)
    assert (found == (stored(mask) == 255)).all()
    with pytest.raises(DataFaults, match="images of test with labels, found only in train and val"):
        open_data(tmp_path, splits=["test"])


def faults(path: Path) -> str:
    with pytest.raises(DataFaults) as caught:
        open_data(path)
    return str(caught.value)


def cropped(path: Path, size: tuple[int, int]) -> None:
    """Makes an image smaller, (width, height), in place."""
    Image.open(path).crop((0, 0, *size)).save(path)


def filled(path: Path, value: int) -> None:
    Image.fromarray(np.full((16, 24), value, np.uint8)).save(path)


def note(folder: Path, number: int) -> Path:
    return folder / "annotations" / f"biopsy_00000{number}.geojson"


def rewrite(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


def write_annotation(folder: Path, **value: object) -> None:
    next(folder.rglob("*0.png.json")).write_text(json.dumps(value))


# layout, what is done to it, texts that must stand in the message
FAULTS: dict[str, tuple[str, Callable[[Path], object], tuple[str, ...]]] = {
    "no labels": ("cityscapes", lambda p: shutil.rmtree(p / "gtFine"), ("gtFine: expected a folder", "site")),
    "no val": (
        "cityscapes",
        lambda p: shutil.rmtree(p / "gtFine" / "val"),
        ("gtFine/val", "labelIds", "site"),
    ),
    "image without labels": (
        "cityscapes",
        lambda p: next(p.rglob("*000000*labelIds.png")).unlink(),
        ("000000_000019_leftImg8bit.png: expected its annotation aachen_000000_000019_gtFine_labelIds.png",),
    ),
    "labels without image": (
        "cityscapes",
        lambda p: next(p.rglob("*000001*leftImg8bit.png")).unlink(),
        ("expected its image",),
    ),
    "resolution": (
        "cityscapes",
        lambda p: cropped(next(p.rglob("*labelIds.png")), (20, 12)),
        ("16 x 24", "found 12 x 20"),
    ),
    "class ids": (
        "cityscapes",
        lambda p: filled(next(p.rglob("*000000*labelIds.png")), 77),
        ("expected only the class indices 7, 8, 11", "found 77 (384 pixels)"),
    ),
    "deepglobe": ("deepglobe", lambda p: next(p.rglob("*_mask.png")).unlink(), ("expected its annotation",)),
    "only valid": (
        "deepglobe",
        lambda p: [m.unlink() for m in p.rglob("*_mask.png")],
        ("without labels", "site"),
    ),
    "annotator": ("gleason2019", lambda p: shutil.rmtree(p / "Maps4_T"), ("Maps4_T", "annotator 4", "site")),
    "no map": (
        "gleason2019",
        lambda p: [m.unlink() for m in p.rglob("*core003*nonconvex.png")],
        ("core003.jpg: expected a map of one annotator or more",),
    ),
    "maps differ": (
        "gleason2019",
        lambda p: cropped(next((p / "Maps3_T").iterdir()), (20, 12)),
        ("Maps3_T", "16 x 24"),
    ),
    "map values": (
        "gleason2019",
        lambda p: filled(next((p / "Maps2_T").iterdir()), 2),
        ("Maps2_T", "only the values 0, 1, 3, 4, 5, 6", "found 2"),
    ),
    "lists": (
        "apolloscape",
        lambda p: shutil.rmtree(p / "public_image_lists"),
        ("*_train.lst and *_val.lst", "site"),
    ),
    "listed": ("apolloscape", lambda p: next(p.rglob("*_bin.png")).unlink(), ("a file that road01_ins_",)),
    "a name too long for a file": (
        "apolloscape",
        lambda p: (p / "public_image_lists" / "road01_ins_val.lst").write_text(
            f"road01_ins/{'1' * 400}\tb\n"
        ),
        ("a file that road01_ins_val.lst lists",),
    ),
    "line": (
        "apolloscape",
        lambda p: (p / "public_image_lists" / "road01_ins_val.lst").write_text("one\n"),
        ("road01_ins_val.lst: expected an image and its labels", "'one'"),
    ),
    "text": (
        "synthia",
        lambda p: next(p.rglob("*.txt")).write_text("1 2\n1\n"),
        ("rows of different lengths",),
    ),
    "no text": (
        "synthia",
        lambda p: [t.unlink() for t in p.rglob("*.txt")],
        ("GTTXT: expected *.txt", "site"),
    ),
    "json": (
        "supervisely",
        lambda p: next(p.rglob("*0.png.json")).write_text("{"),
        ("broken JSON in line 1",),
    ),
    "title": (
        "supervisely",
        lambda p: write_annotation(p, size={"height": 16, "width": 24}, objects=[{"classTitle": "dog"}]),
        ("expected only objects of person_poly", "found dog"),
    ),
    "size": (
        "supervisely",
        lambda p: write_annotation(p, size={"height": 9, "width": 24}, objects=[]),
        ("16 x 24 (rows x columns), found 9 x 24",),
    ),
    "bitmap": (
        "supervisely",
        lambda p: rewrite(next(p.rglob("*0.png.json")), '"data": "', '"data": "AAAA'),
        ("cannot be drawn",),
    ),
    "inria": ("inria", lambda p: shutil.rmtree(p / "train" / "gt"), ("train/gt: expected CITYn.tif", "site")),
    "city": (
        "inria",
        lambda p: [path.rename(path.with_name("austin.tif")) for path in p.rglob("austin6.tif")],
        ("a name of a city and a number",),
    ),
    "two annotations": (
        "slides",
        lambda p: shutil.copy(note(p, 0).with_suffix(".png"), note(p, 1).with_suffix(".png")),
        ("one annotation of a slide, found biopsy_000001.geojson and biopsy_000001.png",),
    ),
    "a slide without": (
        "slides",
        lambda p: note(p, 2).unlink(),
        ("biopsy_000002.tif: expected its annotation",),
    ),
    "polygon's class": (
        "slides",
        lambda p: rewrite(note(p, 2), "benign", "bening"),
        ("as classification, found 'bening' (1 polygon); did you mean 'benign'?",),
    ),
    "point": (
        "slides",
        lambda p: rewrite(note(p, 2), "Polygon", "Point"),
        ("feature 0 is none (Point, where a Polygon",),
    ),
    "annotation's proportions": (
        "slides",
        lambda p: cropped(next((p / "annotations").glob("*.png")), (24, 6)),
        ("the proportions of its slide, 16 x 24",),
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_of_a_download_is_named(case: str, tmp_path: Path) -> None:
    name, spoil, words = FAULTS[case]
    spoil(make_fake(name, tmp_path / "data"))
    message = faults(tmp_path / "data")
    assert [word for word in words if word not in message] == [], message


def test_faults_of_all_kinds_come_together(tmp_path: Path) -> None:
    make_fake("cityscapes", tmp_path)
    next(tmp_path.rglob("*000000*labelIds.png")).unlink()
    next(tmp_path.rglob("*000001*leftImg8bit.png")).write_bytes(b"")
    filled(next(tmp_path.rglob("*000002*labelIds.png")), 99)
    shutil.rmtree(tmp_path / "gtFine" / "val")
    message = faults(tmp_path)
    assert message.startswith("the data set has 4 faults:")


def test_many_missing_files_are_not_listed_one_by_one(tmp_path: Path) -> None:
    make_fake("deepglobe", tmp_path, count=(60, 1, 1), size=(4, 4))
    for path in sorted(tmp_path.rglob("*_mask.png"))[5:]:
        path.unlink()
    message = faults(tmp_path)
    assert len(message.splitlines()) == 3
    assert "19 more files" in message
    assert "37 more files without" in message


def test_hidden_files_of_archives_are_left_alone(tmp_path: Path) -> None:
    make_fake("deepglobe", tmp_path)
    (tmp_path / "land-train" / "._119_sat.jpg").write_bytes(b"\0\5\26\7")
    (tmp_path / "land-train" / "._119_mask.png").write_bytes(b"\0\5\26\7")
    assert sum(len(items) for items in open_data(tmp_path).splits.values()) == 7


def test_a_folder_of_two_layouts_asks_which(tmp_path: Path) -> None:
    make_fake("cityscapes", tmp_path)
    make_fake("synthia", tmp_path)
    with pytest.raises(
        FileProblem, match=r"several: Cityscapes.*SYNTHIA.*data.format=cityscapes or data.format=synthia"
    ):
        open_data(tmp_path)
    assert open_data(tmp_path, format="synthia").format.name == "synthia"


def test_a_folder_of_no_layout_is_told_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(FileProblem) as caught:
        open_data(tmp_path)
    assert "\n" not in str(caught.value)
    assert [kind.name for kind in FORMATS.values() if kind.looks_for not in str(caught.value)] == []


def test_the_folder_inside_or_around_is_pointed_to(tmp_path: Path) -> None:
    make_fake("inria", tmp_path / "AerialImageDataset")
    with pytest.raises(FileProblem, match=r"did you mean .*AerialImageDataset \(Inria Aerial\)\?"):
        open_data(tmp_path)
    make_fake("cityscapes", tmp_path / "c")
    with pytest.raises(FileProblem, match=r"did you mean .*c \(Cityscapes\)\?"):
        open_data(tmp_path / "c" / "leftImg8bit")


def test_an_unknown_name_or_option_is_told_the_nearest(tmp_path: Path) -> None:
    make_fake("folder", tmp_path)
    with pytest.raises(InvalidInput, match="did you mean 'cityscapes'"):
        open_data(tmp_path, format="cityscape")
    with pytest.raises(InvalidInput, match="did you mean 'crop'"):
        open_data(tmp_path, croop="square")
    with pytest.raises(InvalidInput, match="did you mean 'deepglobe'"):
        make_fake("deepglob", tmp_path)
