"""Polygons are exactly the regions: filled again they give the labels back, however the rows are cut."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.ndimage as ndi
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from saccade.errors import FileProblem, InvalidInput
from saccade.rasters import Output, RasterWriter, open_raster, write_polygons
from saccade.rasters.polygons import BATCH, Polygon, Tracer

SMALL = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 2))


def trace(labels: np.ndarray, skip=(), step: int = 1000) -> list[Polygon]:
    tracer, found = Tracer(labels.shape[1], skip), []
    for top in range(0, len(labels), step):
        found += tracer.push(labels[top : top + step])
    return found + list(tracer.finish())


def fill(rings, size: tuple[int, int]) -> np.ndarray:
    """Even-odd filling by crossing numbers of vertical edges: independent of how rings were traced."""
    crossings = np.zeros((size[0], size[1] + 1), int)
    for ring in rings:
        for (x, y), (to_x, to_y) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            assert (x == to_x) != (y == to_y)
            if x == to_x:
                crossings[min(y, to_y) : max(y, to_y), x] += 1
    return np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1


def twice_area(ring: np.ndarray) -> int:
    x, y = ring.T
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


@settings(max_examples=150, deadline=None)
@given(SMALL)
@example(np.array([[1, 0], [0, 1]], np.uint8))
@example(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.uint8))
@example(np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]], np.uint8))
def test_filled_again_the_polygons_are_the_regions(labels):
    found = trace(labels)
    again = np.full(labels.shape, 99)
    for polygon in found:
        inside = fill([polygon.outer, *polygon.holes], labels.shape)
        assert (again[inside] == 99).all()
        again[inside] = polygon.label
        assert polygon.area == inside.sum()
        assert ndi.label(inside)[1] == 1
    np.testing.assert_array_equal(again, labels)
    regions = sum(ndi.label(labels == label)[1] for label in np.unique(labels))
    assert len(found) == regions


@settings(max_examples=60, deadline=None)
@given(SMALL)
def test_outlines_run_one_way_and_holes_the_other_with_corners_only(labels):
    for polygon in trace(labels):
        assert twice_area(polygon.outer) > 0 and all(twice_area(hole) < 0 for hole in polygon.holes)
        for ring in (polygon.outer, *polygon.holes):
            assert len(np.unique(ring, axis=0)) == len(ring)
            steps = np.roll(ring, -1, axis=0) - ring
            turns = np.roll(steps, -1, axis=0)
            assert (steps[:, 0] * turns[:, 1] != steps[:, 1] * turns[:, 0]).all()


@settings(max_examples=40, deadline=None)
@given(SMALL, st.integers(0, 2))
def test_skipping_a_label_leaves_out_its_polygons_alone(labels, label):
    kept = [p for p in trace(labels) if p.label != label]
    skipped = trace(labels, skip=[label])
    assert len(kept) == len(skipped)
    for a, b in zip(kept, skipped, strict=True):
        assert a.label == b.label and a.area == b.area


@pytest.mark.parametrize("step", [1, 7, 300, 700])
def test_long_maps_are_traced_the_same_however_rows_are_given(step):
    rng = np.random.default_rng(5)
    labels = ndi.zoom(rng.random((70, 20)), (10, 10), order=1)
    labels = np.digitize(labels + 0.05 * rng.random(labels.shape), [0.4, 0.6]).astype(np.uint8)
    assert len(labels) > 2 * BATCH
    found, whole = trace(labels, step=step), trace(labels)
    assert len(found) == len(whole)
    for a, b in zip(found, whole, strict=True):
        assert a.label == b.label and len(a.holes) == len(b.holes)
        np.testing.assert_array_equal(a.outer, b.outer)
    again = np.zeros(labels.shape, int)
    for polygon in found:
        again[fill([polygon.outer, *polygon.holes], labels.shape)] += polygon.label + 1
    np.testing.assert_array_equal(again, labels + 1)


def test_they_are_the_shapes_that_gdal_finds():
    features = pytest.importorskip("rasterio.features")
    labels = np.random.default_rng(2).integers(0, 3, (40, 50)).astype(np.uint8)
    theirs = sorted(
        (int(value), twice_area(np.array(shape["coordinates"][0][:-1], int)), len(shape["coordinates"]))
        for shape, value in features.shapes(labels, connectivity=4)
    )
    ours = sorted((p.label, twice_area(p.outer), 1 + len(p.holes)) for p in trace(labels))
    assert [(v, abs(a), n) for v, a, n in ours] == sorted((v, abs(a), n) for v, a, n in theirs)


LABELS = np.kron(np.random.default_rng(3).integers(0, 4, (30, 40)), np.ones((10, 10), int)).astype(np.uint8)
MAP = {"crs": "EPSG:32632", "transform": (0.5, 0.0, 500000.0, 0.0, -0.5, 5000000.0)}


def label_file(folder, **place):
    with RasterWriter(folder / "l.tif", Output(LABELS.shape, tile=64, **place)) as writer:
        writer.append(LABELS)
        return writer.finish()


def read(path) -> dict:
    return json.loads(path.read_text())


def test_qupath_gets_pixels_names_and_colours(tmp_path):
    with open_raster(label_file(tmp_path)) as labels:
        count = write_polygons(
            tmp_path / "p.geojson",
            labels,
            names=["ground", "tumour"],
            palette=[(0, 0, 0), (255, 1, 2)],
            skip=[0],
        )
    features = read(tmp_path / "p.geojson")["features"]
    assert len(features) == count > 50
    first = next(f for f in features if f["properties"]["class_index"] == 1)
    assert first["properties"]["objectType"] == "annotation"
    assert first["properties"]["classification"] == {"name": "tumour", "color": [255, 1, 2]}
    assert {f["properties"]["class_index"] for f in features} == {1, 2, 3}
    assert {f["properties"]["classification"]["name"] for f in features} == {"tumour", "class 2", "class 3"}
    ring = first["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1] and all(isinstance(value, int) for corner in ring for value in corner)
    again = np.zeros(LABELS.shape, int)
    for feature in features:
        rings = [np.array(ring[:-1]) for ring in feature["geometry"]["coordinates"]]
        again[fill(rings, LABELS.shape)] = feature["properties"]["class_index"]
    np.testing.assert_array_equal(again, LABELS)


def test_a_gis_burns_the_map_polygons_back_to_the_labels(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    from rasterio.features import rasterize

    with open_raster(label_file(tmp_path, **MAP)) as labels:
        write_polygons(tmp_path / "p.geojson", labels)
    found = read(tmp_path / "p.geojson")
    assert found["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32632"
    shapes = [(f["geometry"], f["properties"]["class_index"] + 1) for f in found["features"]]
    burnt = rasterize(shapes, LABELS.shape, transform=rasterio.Affine(*MAP["transform"]))
    np.testing.assert_array_equal(burnt, LABELS + 1)
    outer = np.array(found["features"][0]["geometry"]["coordinates"][0][:-1]) - [5e5, 5e6 - 1000]
    assert (outer[:, 0] * np.roll(outer[:, 1], -1) - np.roll(outer[:, 0], -1) * outer[:, 1]).sum() > 0


def test_nodata_is_no_class(tmp_path):
    with open_raster(label_file(tmp_path, nodata=3, **MAP)) as labels:
        write_polygons(tmp_path / "p.geojson", labels, map_coordinates=False)
    found = read(tmp_path / "p.geojson")
    assert {f["properties"]["class_index"] for f in found["features"]} == {0, 1, 2} and "crs" not in found


def test_specks_and_pinholes_can_be_left_out(tmp_path):
    labels = np.ones((20, 20), np.uint8)
    labels[3, 3] = labels[10:14, 10:14] = 2
    tifffile.imwrite(tmp_path / "l.tif", labels)
    with open_raster(tmp_path / "l.tif") as raster:
        assert write_polygons(tmp_path / "p.json", raster, smallest=2) == 2
    rings = {
        f["properties"]["class_index"]: f["geometry"]["coordinates"]
        for f in read(tmp_path / "p.json")["features"]
    }
    assert len(rings[1]) == 2 and len(rings[2]) == 1


def test_what_cannot_be_traced_or_written_is_refused(tmp_path, made):
    with open_raster(made("tiff tiles").path) as raster, pytest.raises(InvalidInput, match="one channel"):
        write_polygons(tmp_path / "p.json", raster)
    with open_raster(label_file(tmp_path)) as labels:
        with pytest.raises(InvalidInput, match="a raster without one"):
            write_polygons(tmp_path / "p.json", labels, map_coordinates=True)
        (tmp_path / "p.json").write_text("mine")
        with pytest.raises(FileProblem, match="exists"):
            write_polygons(tmp_path / "p.json", labels)
    assert (tmp_path / "p.json").read_text() == "mine"


def test_an_empty_selection_is_an_empty_collection(tmp_path):
    with open_raster(label_file(tmp_path)) as labels:
        assert write_polygons(tmp_path / "p.json", labels, skip=range(4)) == 0
    assert read(tmp_path / "p.json") == {"type": "FeatureCollection", "features": []}
