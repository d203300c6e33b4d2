"""The gallery of a data set and of an evaluated run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import saccade
from saccade.cli import main
from saccade.errors import FileProblem, SaccadeError, UsageError
from saccade.viewer.gallery import Files, Gallery, Legend, Shelf, open_files, positions
from saccade.viewer.open import Overlays, open_gallery
from saccade.viewer.planes import scaled_degrees
from saccade.viewer.tally import count
from saccade.viewer.tiles import patch_of


def drawn(opened, name: str) -> np.ndarray:
    layer = next(layer for layer in opened.layers if layer.name == name)
    return layer.plane.draw(patch_of(opened.size, 0, 0, 0)).pixels


@pytest.fixture(scope="module")
def evaluated(trained_folder: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import shutil

    root = Path(shutil.copytree(trained_folder, tmp_path_factory.mktemp("seen") / "run"))
    saccade.evaluate(root, tiny_data, device="cpu")
    return root


def test_a_data_set_is_its_images_with_their_truth(tiny_data):
    gallery = open_gallery([tiny_data], Overlays())
    assert len(gallery.entries) == 8 and gallery.entries[0].name.startswith("train: ")
    opened = gallery.entries[0].open()
    assert [layer.name for layer in opened.layers] == ["image", "truth"]
    stem = gallery.entries[0].name.removeprefix("train: ")
    mask = np.asarray(Image.open(next((tiny_data / "masks").glob(f"{stem}.*"))))
    assert np.array_equal(drawn(opened, "truth"), mask)
    assert opened.legend.names[0] and opened.truth is not None
    opened.close()


def test_predictions_lie_over_a_data_set_by_their_names(tiny_data, evaluated, tmp_path):
    save = ["--save", "labels,scores,density,uncertainty,samples"]
    paths = [str(evaluated), str(tiny_data / "images"), str(tmp_path / "out")]
    assert main(["predict", *paths, "-q", *save]) == 0
    gallery = open_gallery([tiny_data], Overlays(labels=tmp_path / "out"))
    opened = gallery.entries[0].open()
    names = [layer.name for layer in opened.layers]
    assert names == ["image", "labels", "truth", "errors", "uncertainty", "density", "samples"]
    stem = gallery.entries[0].name.removeprefix("train: ")
    labels = np.asarray(Image.open(tmp_path / "out" / f"{stem}.png"))
    assert np.array_equal(drawn(opened, "labels"), labels)
    assert np.array_equal(drawn(opened, "errors") > 0, labels != drawn(opened, "truth"))
    doubt = np.asarray(Image.open(tmp_path / "out" / f"{stem}_uncertainty.png"))
    assert np.array_equal(drawn(opened, "uncertainty"), doubt)
    assert (drawn(opened, "samples") == 254).any()
    opened.close()


def test_an_evaluated_run_shows_what_it_predicts_the_worst_first(tiny_data, evaluated, tmp_path):
    gallery = open_gallery([evaluated], Overlays(), device="cpu")
    scores = [entry.score for entry in gallery.entries]
    assert gallery.score == "mIoU" and scores == sorted(scores) and len(scores) == 2
    opened = gallery.entries[0].open()
    image = next((tiny_data / "images").glob(f"{gallery.entries[0].name}.*"))
    wanted = saccade.load(evaluated).predict(np.asarray(Image.open(image).convert("RGB")))
    assert np.array_equal(drawn(opened, "labels"), np.asarray(wanted))
    tally = count(opened.labels, opened.truth, opened.legend)
    table = tally.confusion[:4, :4]
    union = table.sum(0) + table.sum(1) - np.diagonal(table)
    assert np.mean((np.diagonal(table) / np.maximum(union, 1))[union > 0]) == pytest.approx(
        scores[0], abs=1e-6
    )
    save = ["--save", "labels,uncertainty"]
    assert main(["predict", str(evaluated), str(image), str(tmp_path / "out"), "-q", *save]) == 0
    doubt = np.asarray(Image.open(tmp_path / "out" / f"{image.stem}_uncertainty.png")).astype(int)
    assert np.abs(drawn(opened, "uncertainty") - doubt).max() <= 3
    opened.close()


def test_a_run_without_an_evaluation_or_data_says_what_to_do(trained_folder, evaluated, tmp_path):
    with pytest.raises(FileProblem, match="saccade evaluate"):
        open_gallery([trained_folder], Overlays(), device="cpu")
    with pytest.raises(FileProblem, match="--data"):
        open_gallery([evaluated], Overlays(), data=tmp_path / "moved", device="cpu")
    with pytest.raises(FileProblem, match="evaluation on val"):
        open_gallery([evaluated], Overlays(), split="val", device="cpu")


def test_what_does_not_go_together_is_refused(tiny_data, evaluated, photograph, masks, tmp_path):
    for paths, over in (
        ([tiny_data, photograph], Overlays()),
        ([evaluated], Overlays(labels=masks[0])),
        ([tiny_data], Overlays(labels=masks[0])),
        ([tiny_data], Overlays(truth=masks[0])),
        ([photograph, masks[0]], Overlays(labels=masks[1])),
    ):
        with pytest.raises(UsageError):
            open_gallery(paths, over)
    for paths, over in (
        ([tmp_path / "missing.png"], Overlays()),
        ([photograph], Overlays(labels=tmp_path / "missing.png")),
        ([photograph], Overlays(truth=photograph)),
    ):
        with pytest.raises(FileProblem):
            open_gallery(paths, over)
    with pytest.raises(SaccadeError):
        open_gallery([photograph], Overlays(), classes=tmp_path)


def test_black_and_white_masks_show_their_white(tmp_path, photograph):
    mask = np.zeros((700, 1100), np.uint8)
    mask[:50] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    opened = open_files(photograph, Files(labels=tmp_path / "m.png"))
    assert 255 not in opened.legend.unknown and opened.legend.quiet == 0
    opened.close()


def test_samples_of_other_types_are_stretched_and_that_is_said(tmp_path):
    values = np.linspace(1000, 1400, 64 * 64).reshape(64, 64).astype(np.uint16)
    tifffile.imwrite(tmp_path / "dark.tif", values)
    opened = open_files(tmp_path / "dark.tif", Files())
    assert drawn(opened, "image").min() == 0 and drawn(opened, "image").max() == 255
    assert any("--value-range" in line for line in opened.notices)
    opened.close()


def test_positions_of_tiles_are_within_their_regions():
    corners = np.array([[[-1, -1], [1, 1]], [[-1, -1], [1, 1]]], np.float32)
    found = positions(corners, np.array([[0, 10, 0, 20], [10, 30, 20, 60]]))
    assert found.tolist() == [[0.5, 0.5], [19.5, 9.5], [20.5, 10.5], [59.5, 29.5]]


def test_degrees_are_scaled_by_the_square_root():
    found = scaled_degrees(np.array([[0.0, 0.25, 1.0, np.nan]]))
    assert found.tolist() == [[0, 127, 254, 255]]
    assert scaled_degrees(np.full((2, 2), 3.0)).max() == 0


def test_counts_of_many_blocks_are_those_of_one(tmp_path):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, (1500, 1300)).astype(np.uint8)
    labels = np.where(rng.random(truth.shape) < 0.9, truth, 0).astype(np.uint8)
    truth[:40] = 255
    tifffile.imwrite(tmp_path / "t.tif", truth, tile=(256, 256))
    tifffile.imwrite(tmp_path / "l.tif", labels, tile=(128, 128))
    Image.new("RGB", (1300, 1500)).save(tmp_path / "i.png")
    opened = open_files(tmp_path / "i.png", Files(labels=tmp_path / "l.tif", truth=tmp_path / "t.tif"))
    tally = count(opened.labels, opened.truth, opened.legend)
    for k in range(4):
        hits = ((truth == k) & (labels == k))[40:].sum()
        union = ((truth == k) | (labels == k))[40:].sum()
        assert tally.to_json(opened.legend)["values"][str(k)]["iou"] == round(float(hits / union), 4)
    assert tally.labels.sum() == tally.truth.sum() == truth.size
    assert all(y >= 40 - 32 for _, y, _, _ in tally.places)
    assert count(opened.labels, opened.truth, opened.legend, lambda share: share < 0.3) is None
    opened.close()


def test_the_shelf_closes_what_is_too_much_and_never_what_is_used(photograph):
    closed: list[int] = []

    def entry(number: int):
        from dataclasses import replace

        from saccade.viewer.gallery import Entry

        def open_():
            opened = open_files(photograph, Files())
            return replace(opened, held=100, close=lambda: (opened.close(), closed.append(number)))

        return Entry(str(number), open_)

    shelf = Shelf(Gallery(tuple(map(entry, range(5)))), limit=250)
    with shelf.use(0):
        for number in (1, 2, 3):
            with shelf.use(number):
                pass
        assert 0 not in closed and closed
    with shelf.use(4):
        pass
    assert 0 in closed
    shelf.close()
    assert sorted(closed) == [0, 1, 2, 3, 4]


def test_names_and_colours_are_of_values_or_of_ids():
    from saccade.data import ClassTable

    table = ClassTable(("sea", "Background"), (7, 3), ((1, 2, 3), (4, 5, 6)), file_ignore_index=9)
    values, ids = Legend.of(table), Legend.of(table, ids=True)
    assert values.names == {7: "sea", 3: "Background"} and ids.names == {0: "sea", 1: "Background"}
    assert values.quiet == 3 and ids.quiet == 1 and values.unknown == {9, 255} and ids.unknown == {255}
