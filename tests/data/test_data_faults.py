"""Every fault of a data folder is found, all at once, with its file, what was expected and what was found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_folders import CLASSES, FolderMaker
from PIL import Image

from saccade.data import open_data
from saccade.errors import DataFaults, Fault, FileProblem, InvalidInput


def faults_of(folder: FolderMaker) -> list[Fault]:
    with pytest.raises(DataFaults) as caught:
        open_data(folder.root)
    return list(caught.value.faults)


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def save_as(path: Path, suffix: str) -> None:
    Image.open(path).save(path.with_suffix(suffix))
    path.unlink()


# name: (what is done to the folder, the file that is named, a text of what was found)
FILE_FAULTS: dict[str, tuple[Callable[[FolderMaker], object], str, str]] = {
    "missing image": (lambda f: f.image("a").unlink(), "images/a.*", "no such file"),
    "missing mask": (lambda f: f.mask("b").unlink(), "masks/b.*", "no such file"),
    "empty image": (lambda f: f.image("a").write_bytes(b""), "images/a.png", "empty"),
    "empty mask": (lambda f: f.mask("a").write_bytes(b""), "masks/a.png", "empty"),
    "truncated image": (lambda f: truncate(f.image("c")), "images/c.png", "truncated"),
    "truncated mask": (lambda f: truncate(f.mask("c")), "masks/c.png", "truncated"),
    "text as image": (lambda f: f.image("a").write_text("no image"), "images/a.png", "none of the"),
    "colour mask": (
        lambda f: Image.new("RGB", (12, 8), (250, 0, 0)).save(f.mask("a")),
        "masks/a.png",
        "[250, 0, 0] (96 pixels)",
    ),
    "mask as JPEG": (lambda f: save_as(f.mask("a"), ".jpg"), "masks/a.jpg", ".jpg"),
    "mask of floats": (
        lambda f: (f.mask("a").unlink(), Image.new("F", (12, 8), 0.5).save(f.mask("a").with_suffix(".tif"))),
        "masks/a.tif",
        "float32",
    ),
    "size": (lambda f: Image.new("RGB", (11, 8)).save(f.image("b")), "masks/b.png", "8 x 12"),
    "turned": (lambda f: Image.new("RGB", (8, 12)).save(f.image("b")), "masks/b.png", "turned by 90 degrees"),
    "class out of range": (
        lambda f: f.write_mask("c", np.array([[7] * 3 + [1] * 9] * 8, np.uint8)),
        "masks/c.png",
        "7 (24 pixels)",
    ),
    "two images of a stem": (
        lambda f: shutil.copy(f.image("a"), f.image("a").with_suffix(".jpg")),
        "images/a",
        "a.jpg and a.png",
    ),
    "same image in two splits": (
        lambda f: shutil.copy(f.image("a"), f.image("c")),
        "images/c.png",
        "same bytes as a.png of train",
    ),
    "strange format": (
        lambda f: f.image("a").rename(f.image("a").with_suffix(".bmp")),
        "images/a.bmp",
        ".bmp",
    ),
    "no images folder": (lambda f: shutil.rmtree(f.root / "images"), "images", "no such folder"),
    "masks is a file": (
        lambda f: (shutil.rmtree(f.root / "masks"), (f.root / "masks").write_text("")),
        "masks",
        "a file",
    ),
}


@pytest.mark.parametrize("name", FILE_FAULTS)
def test_a_fault_in_a_file_is_named(folder: FolderMaker, name: str) -> None:
    spoil, path, found = FILE_FAULTS[name]
    spoil(folder)
    (fault,) = faults_of(folder)
    assert fault.path == folder.root / path
    assert found in fault.found
    assert fault.expected


# name: (the splits.json, a text of the expected, a text of what was found)
SPLIT_FAULTS: dict[str, tuple[object, str, str]] = {
    "stem in two splits": ({"train": ["a", "b"], "test": ["b"]}, "one split only", "'b' in train and test"),
    "stem twice": ({"train": ["a", "a"]}, "once in train", "'a'"),
    "empty split": ({"train": ["a"], "val": []}, "at least one stem", "an empty list"),
    "no split": ({"seed": 3}, "at least one split", "none"),
    "split is a number": ({"train": ["a"], "test": 3}, "list of stems", "3"),
    "stem is a number": ({"train": ["a", 3]}, "stems (texts)", "3"),
    "misspelt split": ({"train": ["a"], "tests": ["b"]}, "named 'test'", "'tests'"),
    "long name of a split": ({"train": ["a"], "validation": ["b"]}, "named 'val'", "'validation'"),
    "list instead of object": (["a"], "JSON object", "list"),
}


@pytest.mark.parametrize("name", SPLIT_FAULTS)
def test_a_fault_in_the_splits_is_named(folder: FolderMaker, name: str) -> None:
    splits, expected, found = SPLIT_FAULTS[name]
    folder.write_json("splits.json", splits)
    (fault,) = faults_of(folder)
    assert fault.path == folder.root / "splits.json"
    assert expected in fault.expected
    assert found in fault.found


def test_a_stem_with_extension_is_told_from_a_missing_file(folder: FolderMaker) -> None:
    folder.write_json("splits.json", {"train": ["a.png"]})
    assert {fault.expected for fault in faults_of(folder)} == {"a stem without extension in splits.json"}


@pytest.mark.parametrize("stem", ["../a", "/etc/passwd", "images/a", "\u0000", "x" * 5000])
def test_a_stem_never_leads_out_of_the_folder(folder: FolderMaker, stem: str) -> None:
    folder.write_json("splits.json", {"train": [stem]})
    assert all("no such file" in fault.found for fault in faults_of(folder))


def one_class(**fields: object) -> dict:
    return {"classes": [{"index": 0, "name": "a", "colour": [1, 2, 3], **fields}]}


# name: (the classes.json, a text of the expected, a text of what was found)
CLASS_FAULTS: dict[str, tuple[object, str, str]] = {
    "unknown field": (one_class(color=[1, 2, 3]), "only the fields", "did you mean 'colour'?"),
    "unknown top field": ({**CLASSES, "ignore": 255}, "only the fields", "did you mean 'ignore_index'?"),
    "no index": ({"classes": [{"name": "a"}]}, "index to be an integer", "none"),
    "negative index": (one_class(index=-1), "index to be an integer", "-1"),
    "index True": (one_class(index=True), "index to be an integer", "True"),
    "index 1.0": (one_class(index=1.0), "index to be an integer", "1.0"),
    "empty name": (one_class(name=" "), "text that is not empty", "' '"),
    "bad colour": (one_class(colour=[0, 0, 256]), "[red, green, blue]", "[0, 0, 256]"),
    "no classes": ({"ignore_index": 255}, "a list of classes", "no classes"),
    "only ignored": ({**one_class(), "ignore_index": 0}, "between 1 and 255", "0"),
    "class is a text": ({"classes": ["a"]}, "an object", "'a'"),
    "bad ignore_index": ({**CLASSES, "ignore_index": "255"}, "ignore_index", "'255'"),
    "index twice": ({"classes": one_class()["classes"] + one_class(name="b")["classes"]}, "once", "0"),
    "name twice": ({"classes": one_class()["classes"] + one_class(index=4)["classes"]}, "once", "'a'"),
}


@pytest.mark.parametrize("name", CLASS_FAULTS)
def test_a_fault_in_the_classes_is_named(folder: FolderMaker, name: str) -> None:
    value, expected, found = CLASS_FAULTS[name]
    folder.write_json("classes.json", value)
    (fault,) = faults_of(folder)
    assert fault.path == folder.root / "classes.json"
    assert expected in fault.expected
    assert found in fault.found


@pytest.mark.parametrize("name", ["classes.json", "splits.json"])
@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{\n "a": 1,\n "b": ,\n}', "line 3"),
        (b"", "line 1"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"train": [], "train": []}', "'train' more than once"),
        (b"[" * 100000, "nested too deeply"),
    ],
)
def test_broken_json_is_named_with_its_line(
    folder: FolderMaker, name: str, content: bytes, found: str
) -> None:
    (folder.root / name).write_bytes(content)
    (fault,) = faults_of(folder)
    assert fault.path == folder.root / name
    assert found in fault.found


def test_missing_json_files_are_both_named(folder: FolderMaker) -> None:
    for name in ("classes.json", "splits.json"):
        (folder.root / name).unlink()
    assert [fault.found for fault in faults_of(folder)] == [
        f"no such file; 'saccade init {folder.root}' writes it"
    ] * 2


def test_json_with_a_byte_order_mark_is_read(folder: FolderMaker) -> None:
    path = folder.root / "classes.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(CLASSES).encode())
    assert len(open_data(folder.root).classes) == 3


def test_all_faults_come_together(folder: FolderMaker) -> None:
    folder.write_json("classes.json", {"classes": [{"index": 0, "nam": "a"}]})
    folder.write_json("splits.json", {"train": ["a", "zz"], "val": [], "test": ["b", "c"]})
    truncate(folder.image("a"))
    folder.write_mask("b", np.zeros((3, 3), np.uint8))
    Image.new("RGB", (12, 8), (9, 8, 7)).save(folder.mask("c"))
    named = sorted(str(fault.path.relative_to(folder.root)) for fault in faults_of(folder))
    assert named == [
        "classes.json",
        "classes.json",
        "images/a.png",
        "masks/b.png",
        "masks/c.png",
        "splits.json",
        "splits.json",
    ]


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileProblem, match="no such folder"):
        open_data(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileProblem, match="got a file"):
        open_data(tmp_path / "file")


def test_a_wanted_split_that_the_folder_lacks_is_a_fault(folder: FolderMaker) -> None:
    folder.write_json("splits.json", {"train": ["a"]})
    with pytest.raises(DataFaults, match="a split named 'test', found only train"):
        open_data(folder.root, splits=["test"])


def test_a_split_of_no_data_set_is_refused(folder: FolderMaker) -> None:
    with pytest.raises(DataFaults, match="a split named 'tests', found only train, val, test"):
        open_data(folder.root, splits=["tests"])
    with pytest.raises(InvalidInput, match="a name of letters, digits"):
        open_data(folder.root, splits=["../test"])
