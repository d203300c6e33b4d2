"""Whole slides and their annotations: polygons as pixels, and slides read as coarsely as asked."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from saccade.data import open_data
from saccade.data.polygons import fill_polygon
from saccade.data.splits import seeded_splits
from saccade.errors import DataFaults, InvalidInput
from saccade.rasters import as_rgb, open_raster, reduce, thumbnail, write_label_png, write_polygons
from saccade.testing import make_fake

COORDINATE = st.floats(-5, 25, allow_nan=False).map(lambda value: round(value, 3) + 1e-4)
RING = st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=8)


def inside(rings: list[list[tuple[float, float]]], x: float, y: float) -> bool:
    """Whether a ray from (x, y) crosses an odd number of edges."""
    crossings = 0
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
            if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
                crossings += 1
    return crossings % 2 == 1


@settings(max_examples=80, deadline=None)
@given(st.lists(RING, min_size=1, max_size=3))
def test_a_pixel_is_filled_where_its_centre_is_inside(rings: list[list[tuple[float, float]]]) -> None:
    values = np.zeros((12, 18), np.uint8)
    fill_polygon(values, [np.array(ring) for ring in rings], 7)
    expected = [[7 * inside(rings, x + 0.5, y + 0.5) for x in range(18)] for y in range(12)]
    assert values.tolist() == expected


def test_neighbours_share_no_pixel_and_leave_none() -> None:
    values = np.zeros((8, 8), int)
    for x0, x1, number in ((0, 3.5, 1), (3.5, 8, 2)):
        part = np.zeros_like(values)
        fill_polygon(part, [np.array([(x0, 0), (x1, 0), (x1, 8), (x0, 8)])], number)
        values += part
    assert set(np.unique(values)) == {1, 2}
    assert (values[:, :3] == 1).all() and (values[:, 4:] == 2).all()


def test_polygons_that_we_write_give_their_labels_back(tmp_path: Path) -> None:
    make_fake("slides", tmp_path, size=(30, 40))
    labels = np.random.default_rng(0).integers(0, 6, (10, 10)).repeat(3, 0).repeat(4, 1)[:30]
    write_label_png(tmp_path / "labels.png", labels)
    path = tmp_path / "annotations" / "biopsy_000001.geojson"
    names = [row["name"] for row in json.loads((tmp_path / "classes.json").read_text())["classes"]]
    with open_raster(tmp_path / "labels.png") as raster:
        write_polygons(path, raster, names=names, overwrite=True)
    data = open_data(tmp_path)
    (item,) = (item for items in data.splits.values() for item in items if item.stem == "biopsy_000001")
    assert (data.read(item).labels == labels).all()


def test_holes_are_left_out_and_later_polygons_lie_on_top(tmp_path: Path) -> None:
    make_fake("slides", tmp_path)
    ring = [[2, 2], [20, 2], [20, 14], [2, 14]]
    hole, benign = [[6, 5], [12, 5], [12, 10], [6, 10]], {"name": "benign"}
    corner = [[0, 0], [4, 0], [4, 4], [0, 4]]
    features = [
        {"geometry": {"type": "MultiPolygon", "coordinates": [[ring, hole]]}, "properties": benign},
        {"geometry": {"type": "Polygon", "coordinates": [corner]}, "properties": {"class": "HGPIN"}},
    ]
    path = tmp_path / "annotations" / "biopsy_000001.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    data = open_data(tmp_path)
    (item,) = (item for items in data.splits.values() for item in items if item.stem == "biopsy_000001")
    expected = np.zeros((16, 24), int)
    expected[2:14, 2:20] = 1
    expected[5:10, 6:12] = 0
    expected[:4, :4] = 5
    assert (data.read(item).labels == expected).all()


def test_slides_are_reduced_to_the_pixels_that_are_allowed(tmp_path: Path) -> None:
    make_fake("slides", tmp_path, size=(64, 96))
    whole, half = open_data(tmp_path), open_data(tmp_path, max_pixels=32 * 48)
    assert set(whole.sizes()) == {(64, 96)} and set(half.sizes()) == {(32, 48)}
    notice = "slide read at 1/2 of its rows and columns: 7 images (biopsy_"
    assert any(line.startswith(notice) for line in half.notices)
    for item in half.split("train"):
        full, reduced = whole.read(item), half.read(item)
        means = full.image.reshape(32, 2, 48, 2, 3).mean((1, 3))
        assert np.abs(reduced.image - means).max() <= 0.5
        assert set(np.unique(reduced.labels)) <= set(np.unique(full.labels))
        blocks = full.labels.reshape(32, 2, 48, 2)
        uniform = (blocks == blocks[:, :1, :, :1]).all((1, 3))
        assert (reduced.labels == blocks[:, 0, :, 0])[uniform].all() and uniform.mean() > 0.9


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(20, 90),
    width=st.integers(20, 90),
    rows=st.integers(1, 20),
    columns=st.integers(1, 20),
    tiled=st.booleans(),
)
def test_reduced_slides_are_thumbnails(
    height: int, width: int, rows: int, columns: int, tiled: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pixels = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)
    path = tmp_path_factory.mktemp("slide") / "slide.tif"
    tifffile.imwrite(
        path, pixels, photometric="rgb", **({"tile": (16, 16)} if tiled else {"rowsperstrip": 7})
    )
    with pytest.MonkeyPatch.context() as patch, as_rgb(open_raster(path)) as raster:
        patch.setattr(reduce, "_BAND_PIXELS", 1)
        found = reduce.reduced_pixels(raster, (rows, columns))
        expected = thumbnail(raster, (rows, columns))
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert (found == expected).mean() > 0.98  # a mean that ends in .5 may be rounded either way


def test_slides_are_read_at_microns_a_pixel(tmp_path: Path) -> None:
    make_fake("slides", tmp_path, size=(60, 90))
    with pytest.raises(DataFaults, match=r"microns a pixel, for data\.mpp, found none; leave out data\.mpp"):
        open_data(tmp_path, mpp=2.0)
    for path in (tmp_path / "slides").iterdir():
        pixels = tifffile.imread(path)
        tifffile.imwrite(path, pixels, resolution=(20000, 20000), resolutionunit="CENTIMETER")  # 0.5 microns
    assert set(open_data(tmp_path, mpp=1.5).sizes()) == {(20, 30)}
    assert set(open_data(tmp_path, mpp=0.1).sizes()) == {(60, 90)}


def test_label_rasters_may_be_coarser_than_their_slide_and_are_never_averaged(tmp_path: Path) -> None:
    make_fake("slides", tmp_path, size=(64, 96))
    coarse = np.random.default_rng(0).choice([1, 5], (16, 24)).astype(np.uint8)
    path = tmp_path / "annotations" / "biopsy_000000.png"
    Image.fromarray(coarse).save(path)
    for pixels, size in ((10**6, (64, 96)), (16 * 24, (16, 24)), (8 * 12, (8, 12))):
        data = open_data(tmp_path, max_pixels=pixels)
        (item,) = (item for items in data.splits.values() for item in items if item.mask == path)
        labels = data.read(item).labels
        assert labels.shape == size and set(np.unique(labels)) <= {1, 5}
        rows, columns = ((np.arange(n) + 0.5) * m // n for n, m in zip(size, coarse.shape, strict=True))
        assert (labels == coarse[np.ix_(rows.astype(int), columns.astype(int))]).all()


def test_polygons_in_map_coordinates_are_brought_to_pixels(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")
    make_fake("slides", tmp_path)
    path = tmp_path / "slides" / "biopsy_000001.tif"
    pixels = tifffile.imread(path)
    place = rasterio.Affine(0.5, 0, 1000, 0, -0.5, 2000)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=24,
        height=16,
        count=3,
        dtype="uint8",
        crs="EPSG:32632",
        transform=place,
    ) as file:
        file.write(pixels.transpose(2, 0, 1))
    ring = [[1002, 1999], [1006, 1999], [1006, 1995], [1002, 1995]]
    feature = {"geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {"name": "atrophy"}}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
    note = tmp_path / "annotations" / "biopsy_000001.geojson"
    note.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}))
    data = open_data(tmp_path)
    (item,) = (item for items in data.splits.values() for item in items if item.stem == "biopsy_000001")
    expected = np.zeros((16, 24), int)
    expected[2:10, 4:12] = 4
    assert (data.read(item).labels == expected).all()


def test_a_list_of_splits_is_followed(tmp_path: Path) -> None:
    make_fake("slides", tmp_path)
    names = {"train": ["biopsy_000003"], "val": ["biopsy_000001", "biopsy_000000"]}
    (tmp_path / "splits.json").write_text(json.dumps(names))
    data = open_data(tmp_path)
    assert {split: [item.stem for item in items] for split, items in data.splits.items()} == names
    (tmp_path / "splits.json").write_text(json.dumps({"train": ["biopsy_9"]}))
    with pytest.raises(DataFaults, match="a slide 'biopsy_9'"):
        open_data(tmp_path)


@pytest.mark.parametrize("options", [{"max_pixels": 0}, {"mpp": 0.0}, {"mpp": math.inf}, {"grade5": "maybe"}])
def test_options_outside_their_range_are_refused(tmp_path: Path, options: dict) -> None:
    with pytest.raises(InvalidInput):
        open_data(tmp_path, **options)


COUNTS = {"train": 454, "val": 207, "test": 142}


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(0, 10**6), max_size=60), st.integers(0, 3))
def test_splits_by_chance_share_out_every_name_once(numbers: set[int], seed: int) -> None:
    names = [f"{number}_sat" for number in numbers]
    splits = seeded_splits(names, COUNTS, seed)
    assert sorted(name for some in splits.values() for name in some) == sorted(names)
    assert splits == seeded_splits(reversed(names), COUNTS, seed)
    if len(names) >= 3:
        assert list(splits) == ["train", "val", "test"]


def test_splits_by_chance_have_the_published_numbers_and_never_change() -> None:
    splits = seeded_splits([str(number) for number in range(803)], COUNTS)
    assert {name: len(some) for name, some in splits.items()} == COUNTS
    assert splits["test"][:3] == ["101", "110", "111"]
    assert seeded_splits([str(number) for number in range(803)], COUNTS, 1) != splits
