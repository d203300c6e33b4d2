"""Which files are predicted: nothing is left out without a line, and no name stops the others."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from inference_files import CLASSES, picture, segmenter
from PIL import Image

from saccade.errors import FileProblem, InvalidInput, UsageError
from saccade.inference.files import IMAGE_SUFFIXES, claim_of, left_out, list_jobs, make_folder
from saccade.inference.jobs import predict_all
from saccade.inference.predict import PredictionConfig
from saccade.rasters import open as opening
from saccade.rasters import suffixes
from saccade.runtime.files import claimed


def save(path: Path, size: tuple[int, int] = (40, 30)) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path, format="PNG")
    return path


def names(jobs) -> list[str]:
    return [job.image.name for job in jobs]


def test_every_format_that_is_an_image_by_its_name_is_taken_or_told(tmp_path):
    for number, suffix in enumerate(IMAGE_SUFFIXES):
        if suffix != ".zarr":
            save(tmp_path / f"{number}{suffix.upper() if number % 2 else suffix}")
    assert len(list_jobs([tmp_path], tmp_path / "out")) == len(IMAGE_SUFFIXES) - 1
    for suffix in (".jfif", ".j2k", ".jpx", ".dcm", ".jxl", ".avif", ".heic", ".gif", ".jpe"):
        assert suffix in IMAGE_SUFFIXES


def test_files_of_a_registered_format_are_taken_from_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(suffixes, "OWN_SUFFIXES", own := [])
    monkeypatch.setattr(opening, "OWN_SUFFIXES", own)
    monkeypatch.setattr(opening, "OTHERS", [])
    save(tmp_path / "a.png")
    (tmp_path / "b.DOTS").write_bytes(b"DOTS 1 1\n\0")
    assert names(list_jobs([tmp_path], tmp_path / "out")) == ["a.png"]
    opening.register_format(lambda path: path.read_bytes()[:5] == b"DOTS ", save, [".dots"])
    assert names(list_jobs([tmp_path], tmp_path / "out")) == ["a.png", "b.DOTS"]
    assert left_out([tmp_path]) == ()
    with pytest.raises(InvalidInput, match="a dot and letters"):
        opening.register_format(save, save, ["dots"])


def test_what_a_folder_holds_besides_images_is_counted(tmp_path):
    save(tmp_path / "a.png")
    for name in ("b.csv", "c.csv", "README", ".hidden", "a.png.aux.xml", "a.pgw", "e.xyz"):
        (tmp_path / name).write_text("")
    (tmp_path / "more").mkdir()
    (tmp_path / "s.mrxs").write_text("")
    (tmp_path / "s").mkdir()
    assert names(list_jobs([tmp_path], tmp_path / "out")) == ["a.png", "s.mrxs"]
    (line,) = left_out([tmp_path])
    assert line.endswith(
        "5 left out that are no images by their names (.csv 2, .xyz 1, folder 1, no extension 1)"
    )
    assert left_out([tmp_path / "a.png"]) == ()


def test_a_folder_without_images_says_what_it_holds(tmp_path):
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(FileProblem, match=r"1 left out .*\.csv 1"):
        list_jobs([tmp_path], tmp_path / "out")


LISTS = {
    "utf-8": "ä.png\nb.png\n".encode(),
    "a mark": b"\xef\xbb\xbf" + "ä.png\nb.png\n".encode(),
    "windows lines": "ä.png\r\nb.png\r\n".encode(),
    "old mac lines": "ä.png\rb.png".encode(),
    "utf-16": "ä.png\nb.png\n".encode("utf-16"),
    "latin-1": "ä.png\nb.png\n".encode("latin-1"),
    "quotes": "\"ä.png\"\n'b.png'\n".encode(),
    "windows quotes": b"\xef\xbb\xbf" + '"ä.png"\r\n"b.png"\r\n'.encode(),
    "quoted latin-1": '"ä.png"\r\n"b.png"'.encode("latin-1"),
    "blanks and notes": "# a list\n\n  ä.png  \n\tb.png\n\n".encode(),
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_is_read_however_it_was_written(kind, tmp_path):
    for name in ("ä.png", "b.png"):
        save(tmp_path / name)
    (tmp_path / "list.txt").write_bytes(LISTS[kind])
    assert names(list_jobs([tmp_path / "list.txt"], tmp_path / "out")) == ["ä.png", "b.png"]


def test_a_name_that_no_text_says_is_found_by_its_bytes(tmp_path):
    name = os.fsdecode(b"\xff\xe4.png")
    save(tmp_path / name)
    (tmp_path / "list.txt").write_bytes(b"\xff\xe4.png\n")
    assert names(list_jobs([tmp_path / "list.txt"], tmp_path / "out")) == [name]


def test_images_of_one_file_have_labels_of_their_own(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for side in (20, 30):
            file.write(np.zeros((side, side, 3), np.uint8), photometric="rgb", metadata=None)
    jobs = list_jobs([path, Path(f"{path}#1"), Path(f"{path}#2")], tmp_path / "out")
    assert [job.labels.name for job in jobs] == ["a.png", "a_1.png", "a_2.png"]
    (tmp_path / "list.txt").write_text("a.tif#2\n")
    assert names(list_jobs([tmp_path / "list.txt"], tmp_path / "out")) == ["a.tif#2"]
    with pytest.raises(UsageError, match="would replace an image"):
        list_jobs([Path(f"{path}#1"), tmp_path / "a_1.png"] if save(tmp_path / "a_1.png") else [], tmp_path)


def test_one_bad_input_never_stops_the_others(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    save(images / "good.png")
    save(images / ("x" * 251 + ".png"))
    (images / "dangling.png").symlink_to("nowhere")
    (images / "loop.png").symlink_to("loop.png")
    os.mkfifo(images / "pipe.png")
    (images / "empty.png").write_bytes(b"")
    (images / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    (images / "scan.dcm").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "list.txt").write_bytes(b"images/gone.png\nimages/" + b"y" * 300 + b".png\n")
    jobs = list_jobs([images, tmp_path / "list.txt"], tmp_path / "out")
    (tmp_path / "out").mkdir()
    outcomes = list(predict_all(segmenter(), jobs, PredictionConfig(CLASSES)))
    assert len(outcomes) == len(jobs) == 10
    done = [outcome.job.image.name for outcome in outcomes if outcome.fault is None]
    assert done == ["good.png", "x" * 251 + ".png"]
    assert all("\n" not in str(outcome.fault) for outcome in outcomes if outcome.fault)


def test_an_image_of_a_file_is_predicted_by_its_number(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for side in (20, 30):
            file.write(np.zeros((side, side + 4, 3), np.uint8), photometric="rgb", metadata=None)
    (tmp_path / "out").mkdir()
    jobs = list_jobs([Path(f"{path}#2")], tmp_path / "out")
    (outcome,) = predict_all(segmenter(), jobs, PredictionConfig(CLASSES))
    assert outcome.fault is None
    with Image.open(tmp_path / "out" / "a_2.png") as labels:
        assert labels.size == (34, 30)


def test_two_programs_share_the_images_of_a_folder(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in "ab":
        Image.fromarray(picture((24, 36))).save(images / f"{name}.png")
    jobs = list_jobs([images], tmp_path / "out")
    make_folder(tmp_path / "out")
    with claimed(claim_of(jobs[0]), jobs[0].image):  # another program is at the first
        first, second = predict_all(segmenter(), jobs, PredictionConfig(CLASSES))
    assert "a.png: expected an image that no other program predicts" in str(first.fault)
    assert second.fault is None and second.labels is not None
    before = second.labels.stat().st_mtime_ns
    first, second = predict_all(segmenter(), jobs, PredictionConfig(CLASSES, resume=True))
    assert first.labels is not None and second.fault is None and second.labels is None  # done meanwhile
    first, second = predict_all(segmenter(), jobs, PredictionConfig(CLASSES))
    assert "one that exists" in str(first.fault) and "one that exists" in str(second.fault)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]
    assert (tmp_path / "out" / "b.png").stat().st_mtime_ns == before


def test_a_folder_of_folders_is_told_which_holds_the_images(tmp_path: Path) -> None:
    for name in ("a", "images", "masks"):
        (tmp_path / name).mkdir()
    for name in ("images", "masks"):
        (tmp_path / name / "1.png").write_bytes(b"")
    with pytest.raises(FileProblem, match=r"did you mean .*images\?"):
        list_jobs([tmp_path], tmp_path / "out")
