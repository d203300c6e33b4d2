"""Rasters read in windows: every pixel once, none in two splits, labels as those of the whole, the same by
seed and epoch."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pyogrio", reason="the extra geo is not installed")
import rasterio
import shapely
from vector_files import CLASSES, UTM, coco, geojson, image, mask_of, on_map, scene, table

import saccade
from saccade.data import DataFolder, DataOptions, Item, open_data
from saccade.data.windows import borders, cut, share_out
from saccade.errors import DataFaults, InvalidInput
from saccade.geometry import Window
from saccade.rasters import open_raster, write_label_png, write_polygons
from saccade.training.loop import Interrupted, train
from saccade.training.run_folder import open_config

SIZE = (120, 160)
INDICES = {"ground": 0, "wood": 1, "water": 2}


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The images are tiny."""


def make(root: Path, splits: Any = None, classes: Any = None, **more: Any) -> Path:
    image(root / "images" / "a.tif")
    wanted = {"train": ["a"], "val": ["a"]} if splits is None else splits
    (root / "splits.json").write_text(json.dumps(wanted))
    told = {"unlabelled": "ground", **more}
    (root / "classes.json").write_text(json.dumps({"classes": classes or CLASSES, **told}))
    return root


def masks(root: Path, values: Any = None, stem: str = "a") -> Path:
    (root / "masks").mkdir(exist_ok=True)
    write_label_png(root / "masks" / f"{stem}.png", mask_of(scene(), INDICES) if values is None else values)
    return root


def placed(shapes: Any, crs: str = UTM) -> Any:
    return [(on_map(shape, crs), name) for shape, name in shapes]


def windows(data: DataFolder) -> list[Window]:
    return [item.window for items in data.splits.values() for item in items if item.window is not None]


def put_together(data: DataFolder, size: tuple[int, int] = SIZE) -> tuple[Any, Any]:
    """Labels and pixels of all windows, and each pixel in one of them."""
    labels, pixels, times = np.zeros(size, np.uint8), np.zeros((*size, 3), np.uint8), np.zeros(size, int)
    for items in data.splits.values():
        for item in items:
            assert item.window is not None
            read = data.read(item)
            labels[item.window.slices], pixels[item.window.slices] = read.labels, read.image
            times[item.window.slices] += 1
    assert (times == 1).all()
    return labels, pixels


@given(st.integers(1, 5000), st.integers(16, 700))
def test_cells_cover_an_axis_and_none_is_a_sliver(length: int, side: int) -> None:
    edges = borders(length, side)
    lengths = np.diff(edges)
    assert edges[0] == 0 and edges[-1] == length
    assert (lengths[:-1] == side).all()
    assert len(lengths) == 1 or side / 2 <= lengths[-1] <= 1.5 * side


FORMS = {
    "mask": masks,
    "GeoPackage": lambda root: table(root / "labels/a.gpkg", placed(scene())),
    "Shapefile in another system": lambda root: table(
        root / "labels/a.shp", placed(scene(), "EPSG:3035"), "EPSG:3035"
    ),
    "FlatGeobuf": lambda root: table(root / "labels/a.fgb", placed(scene(), "EPSG:32633"), "EPSG:32633"),
    "GeoJSON": lambda root: geojson(root / "labels/a.geojson", placed(scene(), "EPSG:4326")),
    "QuPath": lambda root: geojson(root / "labels/a.geojson", scene(), qupath=True),
    "one for all": lambda root: table(root / "labels/all.gpkg", placed(scene())),
}


@pytest.mark.parametrize("form", FORMS)
def test_windows_together_are_the_whole_in_every_form(form: str, tmp_path: Path) -> None:
    root = make(tmp_path)
    FORMS[form](root)
    data = open_data(root, window="32x48")
    labels, pixels = put_together(data)
    with rasterio.open(root / "images" / "a.tif") as file:
        np.testing.assert_array_equal(pixels, file.read().transpose(1, 2, 0))
    expected = mask_of(scene(), INDICES)
    rows, columns = np.nonzero(labels != expected)
    edges = shapely.union_all([shape.boundary for shape, _ in scene()])
    centres = shapely.points(columns + 0.5, rows + 0.5)
    assert len(rows) <= 3 and (shapely.distance(centres, edges) < 1e-3).all()
    counted = np.bincount(labels.ravel(), minlength=3)
    np.testing.assert_array_equal(data.class_counts(), counted)


def test_label_rasters_of_slides_may_be_coarser(tmp_path: Path) -> None:
    root = make(tmp_path, ignore_index=255)
    (root / "images").rename(root / "slides")
    small = np.random.default_rng(0).integers(0, 3, (30, 40)).astype(np.uint8)
    (root / "annotations").mkdir()
    write_label_png(root / "annotations" / "a.png", small)
    labels, _ = put_together(open_data(root, window="50x50"))
    np.testing.assert_array_equal(labels, small.repeat(4, 0).repeat(4, 1))


def test_no_pixel_is_trained_on_and_validated(tmp_path: Path) -> None:
    root = masks(make(tmp_path, {"train": ["a"], "val": ["a"], "test": ["a"]}))
    data = open_data(root, window="16x16")
    assert all(data.split(name) for name in ("train", "val", "test"))
    held_out = np.zeros(SIZE, bool)
    for name in ("val", "test"):
        for item in data.split(name):
            held_out[item.window.slices] = True
    assert data.draws is not None and data.draws.number == len(data.split("train"))
    seen = np.zeros(SIZE, int)
    for epoch in range(40):
        for item in data.draws.of(0, epoch):
            assert item.window.inside(SIZE)
            assert item.window.size == (16, 16) or item.window.bottom == SIZE[0]  # in a cell of half the rows
            seen[item.window.slices] += 1
    assert not seen[held_out].any()
    assert (seen[~held_out] > 0).mean() > 0.99


def test_each_split_has_its_share_of_each_class(tmp_path: Path) -> None:
    root = masks(make(tmp_path, {"train": ["a"], "val": ["a"], "test": ["a"]}))
    data = open_data(root, window=16)
    whole = data.class_counts()
    for name, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        np.testing.assert_allclose(data.class_counts(name) / whole, share, atol=0.06)


def test_splits_are_the_same_whichever_is_asked_for(tmp_path: Path) -> None:
    root = masks(make(tmp_path, {"train": ["a"], "val": ["a"], "test": ["a"]}))
    every = open_data(root, window=32)
    for names in (("test",), ("train", "val"), ("val",)):
        some = open_data(root, window=32, splits=names)
        assert {name: some.split(name) for name in names} == {name: every.split(name) for name in names}


def test_scenes_of_one_split_are_not_shared_out(tmp_path: Path) -> None:
    root = masks(make(tmp_path, {"train": ["a"], "val": ["b"]}))
    image(root / "images" / "b.tif", size=(40, 50))
    masks(root, np.arange(2000).reshape(40, 50) % 3, "b")
    data = open_data(root, window="40x40")
    assert {item.image.name for item in data.split("train")} == {"a.tif"}
    assert {item.image.name for item in data.split("val")} == {"b.tif"}
    assert data.sizes("train") == {(40, 40): 12}


def test_windows_of_an_epoch_follow_from_seed_and_epoch(tmp_path: Path) -> None:
    draws = open_data(masks(make(tmp_path)), window=16).draws
    again = open_data(tmp_path, window=16).draws
    assert draws is not None and again is not None
    assert draws.of(3, 5) == again.of(3, 5)
    assert len({str(draws.of(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_by_area_each_part_is_seen_as_often_as_any_other(tmp_path: Path) -> None:
    root = masks(make(tmp_path, {"train": ["a"], "val": ["b"]}))
    image(root / "images" / "b.tif", size=(40, 50))
    masks(root, np.arange(2000).reshape(40, 50) % 3, "b")
    draws = open_data(root, window=20, windows=48 * 3).draws
    assert draws is not None
    seen = np.zeros(SIZE, int)
    for epoch in range(30):
        items = draws.of(0, epoch)
        assert len(items) == 144
        for item in items:
            seen[item.window.slices] += 1
    inner = seen[20:-20, 20:-20]
    assert abs(inner.mean() - 90) < 5 and inner.min() > 60 and inner.max() < 120


def test_by_classes_rare_ones_are_seen_as_often_as_others(tmp_path: Path) -> None:
    values = np.zeros(SIZE, np.uint8)
    values[:, 80:] = 1
    values[3:9, 5:11] = 2
    values[100:106, 120:126] = 2
    root = masks(make(tmp_path, {"train": ["a"], "val": ["b"]}), values)
    image(root / "images" / "b.tif", size=(40, 50))
    masks(root, np.arange(2000).reshape(40, 50) % 3, "b")

    def share(balance: str) -> float:
        draws = open_data(root, window=20, windows=300, balance=balance).draws
        assert draws is not None
        return float(np.mean([(values[item.window.slices] == 2).any() for item in draws.of(0, 0)]))

    assert share("area") < 0.1
    assert 0.3 < share("classes") < 0.5


def test_only_the_region_is_trained_on(tmp_path: Path) -> None:
    root = masks(make(tmp_path))
    ring = shapely.Polygon([(10.1, 10.2), (150.3, 20.4), (60.7, 110.6)])
    geojson(tmp_path / "field.geojson", [(on_map(ring, "EPSG:4326"), "")])
    data = open_data(root, window=20, region=str(tmp_path / "field.geojson"))
    inside = mask_of([(ring, "x")], {"x": 1}) == 1
    expected = np.where(inside, mask_of(scene(), INDICES), 255)
    covered = np.zeros(SIZE, bool)
    for items in data.splits.values():
        for item in items:
            np.testing.assert_array_equal(data.read(item).labels, expected[item.window.slices])
            covered[item.window.slices] = True
    assert covered[inside].all() and not covered.all()
    counted = np.bincount(expected.ravel(), minlength=256)
    np.testing.assert_array_equal(data.class_counts(), counted[:3])
    assert data.ignored_pixels("train") + data.ignored_pixels("val") == (covered & ~inside).sum()


def test_windows_without_labels_are_left_out_and_told(tmp_path: Path) -> None:
    root = make(tmp_path, unlabelled="ignore")
    spots = [(shapely.Point(x, y).buffer(5), ("wood", "water")[n % 2])
             for n, (x, y) in enumerate([(10, 10), (90, 20), (150, 70), (30, 100)])]  # fmt: skip
    table(root / "labels/a.gpkg", placed(spots))
    data = open_data(root, window=20)
    drawn = mask_of(spots, INDICES)
    assert all((drawn[window.slices] > 0).any() for window in windows(data))
    left = 48 - len(windows(data))
    assert f"{left} of 48 windows hold no label: left out" in data.notices
    assert (data.class_counts("train") > 0).sum() == 2 == (data.class_counts("val") > 0).sum()


def test_one_scene_without_splits_is_shared_out(tmp_path: Path) -> None:
    root = make(tmp_path)
    (root / "splits.json").unlink()
    table(root / "labels/a.gpkg", placed(scene()))
    assert set(open_data(root, window=20).splits) == {"train", "val", "test"}


def test_windows_of_bands_are_in_their_own_values(tmp_path: Path) -> None:
    root = masks(make(tmp_path))
    values = np.random.default_rng(0).integers(0, 9000, (5, *SIZE)).astype(np.uint16)
    values[:, :30, :40] = 0
    place = {"crs": UTM, "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 53e5), "nodata": 0}
    shape = {"height": SIZE[0], "width": SIZE[1], "count": 5, "dtype": "uint16"}
    with rasterio.open(root / "images" / "a.tif", "w", driver="GTiff", **shape, **place) as file:
        file.write(values)
    data = open_data(root, DataOptions(window=32, bands="5,2"))
    assert data.bands is not None and data.draws is not None
    for item in [*data.split("val"), *data.draws.of(0, 1)]:
        found = data.read(item).image
        np.testing.assert_array_equal(
            found[..., :2], values[[4, 1]][:, *item.window.slices].transpose(1, 2, 0)
        )
    measured = np.concatenate([values[4][item.window.slices].ravel() for item in data.split("train")])
    scaled = data.scaled_bands()
    assert scaled is not None
    np.testing.assert_allclose(scaled.mean[0], measured[measured > 0].mean())


def test_another_process_reads_the_same(tmp_path: Path) -> None:
    data = open_data(masks(make(tmp_path)), window=32)
    other = pickle.loads(pickle.dumps(data))
    item = data.split("train")[0]
    np.testing.assert_array_equal(other.read(item).image, data.read(item).image)


def test_blocks_go_where_their_classes_are_missing() -> None:
    one = cut(Item("a", Path("a.tif"), Path("a.png")), ("train", "val"), (80, 80), (10, 10))
    assert one.block == 1 and len(one.cells) == 64
    counts = {cell.stem: [100, 0] for cell in one.cells.values()}
    rare = [one.cells[place].stem for place in ((0, 0), (7, 7))]
    for stem in rare:
        counts[stem] = [50, 50]
    owners = share_out([one], counts)
    assert {owners["a", 0, 0], owners["a", 7, 7]} == {"train", "val"}
    assert sum(name == "val" for name in owners.values()) == 16


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"window": "8x8"}, "ROWSxCOLUMNS of at least 16"),
        ({"window": "big"}, "ROWSxCOLUMNS of at least 16"),
        ({"window": 32, "crop": "square"}, "leave out data.crop"),
        ({"window": 32, "mpp": 2.0}, "leave out data.mpp"),
        ({"windows": 9}, "data.window too"),
        ({"balance": "classes"}, "data.window too"),
        ({"window": 32, "balance": "clases"}, "did you mean 'classes'"),
        ({"window": 32, "windows": 0}, "1 or more"),
    ],
)
def test_options_that_cannot_be_are_refused(options: Any, told: str, tmp_path: Path) -> None:
    root = masks(make(tmp_path))
    with pytest.raises(InvalidInput, match=told):
        open_data(root, DataOptions(**options))


def test_what_is_wrong_is_told_before_any_window_is_read(tmp_path: Path) -> None:
    root = masks(make(tmp_path / "size"), np.zeros((60, 160), np.uint8))
    with pytest.raises(DataFaults, match="the size of its image, 120 x 160"):
        open_data(root, window=32)
    root = make(tmp_path / "coco")
    coco(root / "labels" / "all.json", {"a.tif": scene()})
    with pytest.raises(DataFaults, match="polygons that can be read in windows, found COCO JSON"):
        open_data(root, window=32)
    root = make(tmp_path / "far")
    table(root / "labels/a.gpkg", placed([(shapely.box(9000, 0, 9100, 50), "wood")]))
    with pytest.raises(DataFaults, match=r"polygons that meet a\.tif"):
        open_data(root, window=32)
    root = make(tmp_path / "class")
    table(root / "labels/a.gpkg", placed([(shapely.box(0, 0, 100, 50), "rock")]))
    with pytest.raises(DataFaults, match="'rock' \\(1 polygon"):
        open_data(root, window=32)
    with pytest.raises(DataFaults, match="images of test, found none; has train, val"):
        open_data(masks(make(tmp_path / "split")), window=32, splits=["test"])
    values = np.zeros(SIZE, np.uint8)
    values[100, 100] = 9
    with pytest.raises(DataFaults, match="only the class indices 0 to 2"):
        open_data(masks(make(tmp_path / "value"), values), window=32)
    with pytest.raises(DataFaults, match="images that the region 0,0,1,1 meets"):
        open_data(masks(make(tmp_path / "region")), window=32, region="0,0,1,1")


def test_a_training_in_windows_resumes_exactly(tmp_path: Path) -> None:
    data = open_data(masks(make(tmp_path / "data")), window=32, windows=6, balance="classes")
    how: dict[str, Any] = {
        "size": (8, 8), "network": "small:4", "batch_size": 3, "epochs": 3, "device": "cpu",
        "progress": False,
    }  # fmt: skip
    whole = saccade.train(data, tmp_path / "whole", **how)

    def stop(done: int, _: int, __: Any) -> None:
        if done == 1:
            raise KeyboardInterrupt

    config = open_config(tmp_path / "whole")[0]
    with pytest.raises(Interrupted):
        train(data, tmp_path / "broken", config, device="cpu", on_epoch=stop)
    resumed = train(data, tmp_path / "broken", config, device="cpu", resume=True)
    first, second = (run.segmenter.state_dict() for run in (whole, resumed))
    assert all(bool((first[name] == second[name]).all()) for name in first)
    scores = saccade.evaluate(whole, tmp_path / "data", split="val", device="cpu", progress=False)
    assert len(scores.records) == len(data.split("val"))


def test_polygons_written_by_saccade_are_labels_in_windows(tmp_path: Path) -> None:
    root = make(tmp_path)
    truth = mask_of(scene(), INDICES).astype(np.uint8)
    write_label_png(tmp_path / "truth.png", truth)
    (root / "labels").mkdir()
    with open_raster(tmp_path / "truth.png") as labels:
        write_polygons(root / "labels" / "a.geojson", labels, names=("ground", "wood", "water"))
    np.testing.assert_array_equal(put_together(open_data(root, window=32))[0], truth)
