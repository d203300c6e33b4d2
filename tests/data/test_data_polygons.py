"""Annotations in any reference system over slides in any other, against PROJ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from saccade.data.classes import ClassTable
from saccade.data.label_drawing import draw_labels, open_vectors
from saccade.data.label_rule import LabelRule
from saccade.errors import FileProblem
from saccade.rasters import open_raster

rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")
from rasterio.crs import CRS  # noqa: E402
from rasterio.features import rasterize  # noqa: E402
from rasterio.warp import transform, transform_geom  # noqa: E402

SIZE = (200, 300)
PLACE = rasterio.Affine(10, 0, 500000, 0, -10, 5300000)
CLASSES = ClassTable(("ground", "wood"), (0, 1), ((0, 0, 0), (255, 255, 255)), None)
BOX = [(60.3, 20.2), (240.1, 30.3), (200.2, 180.4), (70.1, 150.3), (60.3, 20.2)]


def slide(folder: Path, crs: str | None = "EPSG:32632", place=PLACE) -> Path:
    path, pixels = folder / "a.tif", np.zeros((*SIZE, 3), np.uint8)
    if place is None:
        tifffile.imwrite(path, pixels, photometric="rgb")
        return path
    profile = {"driver": "GTiff", "height": SIZE[0], "width": SIZE[1], "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", crs=crs, transform=place, **profile) as file:
        file.write(pixels.transpose(2, 0, 1))
    return path


def note(folder: Path, ring, crs=..., kind: str = "Polygon") -> Path:
    coordinates = [list(map(list, ring))]
    geometry = {"type": kind, "coordinates": coordinates if kind == "Polygon" else [coordinates]}
    feature = {"type": "Feature", "properties": {"class": "wood"}, "geometry": geometry}
    value = {"type": "FeatureCollection", "features": [feature]} | ({} if crs is ... else {"crs": crs})
    path = folder / "a.geojson"
    path.write_text(json.dumps(value))
    return path


def named(name: str) -> dict:
    return {"type": "name", "properties": {"name": name}}


def draw(path: Path, image: Path, size=SIZE) -> np.ndarray:
    with open_raster(image) as raster:
        return draw_labels(open_vectors(path), raster, "", size, LabelRule.of(CLASSES))[0]


def on_map(ring, place=PLACE):
    return [place * corner for corner in ring]


def expected() -> np.ndarray:
    return rasterize([({"type": "Polygon", "coordinates": [BOX]}, 1)], SIZE).astype(int)


SYSTEMS = {
    "CRS84": "urn:ogc:def:crs:OGC:1.3:CRS84", "WGS 84": "urn:ogc:def:crs:EPSG::4326", "short": "EPSG:4326",
    "ED50": "urn:ogc:def:crs:EPSG::23032", "next zone": "EPSG:32633", "Europe": "EPSG:3035",
    "Mercator": "EPSG:3857", "the same": "urn:ogc:def:crs:EPSG::32632", "address":
    "http://www.opengis.net/def/crs/OGC/1.3/CRS84", "WKT": CRS.from_epsg(3035).to_wkt(),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["Polygon", "MultiPolygon"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_annotations_of_another_system_lie_where_they_belong(name, kind, tmp_path):
    system = CRS.from_user_input(SYSTEMS[name])
    ring = on_map(BOX)
    if name != "the same":
        ring = transform_geom("EPSG:32632", system, {"type": "Polygon", "coordinates": [ring]})
        ring = ring["coordinates"][0]
    labels = draw(note(tmp_path, ring, named(SYSTEMS[name]), kind), slide(tmp_path))
    assert (labels != expected()).mean() < 0.004 and labels.any()


def test_without_the_member_a_map_means_wgs_84(tmp_path):
    xs, ys = transform("EPSG:32632", "EPSG:4326", *zip(*on_map(BOX), strict=True))
    labels = draw(note(tmp_path, zip(xs, ys, strict=True)), slide(tmp_path))
    assert (labels != expected()).mean() < 0.004


@pytest.mark.parametrize("system", ["EPSG:4326", "OGC:CRS84", "EPSG:4258"])
def test_without_the_member_degrees_on_a_map_of_degrees_are_one_place(system, tmp_path):
    place = rasterio.Affine(1e-4, 0, 9, 0, -1e-4, 48)
    labels = draw(note(tmp_path, on_map(BOX, place)), slide(tmp_path, system, place))
    assert (labels != expected()).mean() < 0.004 and labels.any()


@pytest.mark.parametrize("crs", [..., None])
def test_without_the_member_pixels_stay_pixels(crs, tmp_path):
    np.testing.assert_array_equal(draw(note(tmp_path, BOX, crs), slide(tmp_path)), expected())


def test_without_the_member_the_slides_own_system_is_known(tmp_path):
    labels = draw(note(tmp_path, on_map(BOX)), slide(tmp_path))
    assert (labels != expected()).mean() < 0.004


def test_an_old_code_names_a_system(tmp_path):
    crs = {"type": "EPSG", "properties": {"code": 32632}}
    assert (draw(note(tmp_path, on_map(BOX), crs), slide(tmp_path)) != expected()).mean() < 0.004


def test_over_a_slide_without_a_place_a_name_changes_nothing(tmp_path):
    path = note(tmp_path, BOX, named("urn:ogc:def:crs:OGC:1.3:CRS84"))
    np.testing.assert_array_equal(draw(path, slide(tmp_path, place=None)), expected())


def test_a_transform_without_a_system_takes_pixels_or_map_coordinates(tmp_path):
    image = slide(tmp_path, crs=None)
    np.testing.assert_array_equal(draw(note(tmp_path, BOX), image), expected())
    assert (draw(note(tmp_path, on_map(BOX), None), image) != expected()).mean() < 0.004


def test_long_edges_are_straight_in_their_own_system(tmp_path):
    place = rasterio.Affine(20000, 0, -2000000, 0, -20000, 4000000)
    ring = [(-20, 40), (20, 40), (20, 55), (-20, 55), (-20, 40)]
    image = slide(tmp_path, "+proj=laea +lat_0=50 +lon_0=0 +datum=WGS84", place)
    labels = draw(note(tmp_path, ring, named("EPSG:4326")), image)
    columns, rows = np.meshgrid(np.arange(SIZE[1]) + 0.5, np.arange(SIZE[0]) + 0.5)
    x, y = place * (columns.ravel(), rows.ravel())
    with open_raster(image) as raster:
        lon, lat = (np.reshape(v, SIZE) for v in transform(raster.crs, "EPSG:4326", x, y))
    inside = (abs(lon) < 20) & (lat > 40) & (lat < 55)
    assert (labels.astype(bool) != inside).sum() < 10 and inside.sum() > 4000


GLOBE = rasterio.Affine(1, 0, -150, 0, -1, 100)


@pytest.mark.parametrize(
    ("crs", "place", "ring", "names"),
    [
        ("EPSG:4326", GLOBE, [(10, 10), (60, 10), (60, 60), (10, 60)], ["WGS 84", "pixels"]),
        ("EPSG:4230", rasterio.Affine(1e-5, 0, 9, 0, -1e-5, 48), [(9.001, 47.999), (9.002, 47.999),
         (9.002, 47.9985)], ["WGS 84", "EPSG:4230"]),
    ],
)  # fmt: skip
def test_what_could_be_two_places_is_refused_with_both_names(crs, place, ring, names, tmp_path):
    with pytest.raises(FileProblem, match='name their reference system in a "crs" member') as caught:
        draw(note(tmp_path, ring), slide(tmp_path, crs, place))
    assert all(name in str(caught.value) for name in names) and "\n" not in str(caught.value)


@pytest.mark.parametrize("place", [PLACE, None])
@pytest.mark.parametrize("crs", [..., "EPSG:4326", "EPSG:32632"])
def test_polygons_that_meet_no_image_are_a_fault(crs, place, tmp_path):
    ring = [(-70, -30), (-60, -30), (-60, -40)]
    path = note(tmp_path, ring, crs if crs is ... else named(crs))
    with pytest.raises(FileProblem, match=r"polygons that meet a\.tif \(300 x 200 pixels, ") as caught:
        draw(path, slide(tmp_path, place=place))
    assert ("EPSG:32632" in str(caught.value)) == (place is not None)


def test_one_polygon_of_many_may_lie_outside(tmp_path):
    path = note(tmp_path, BOX)
    value = json.loads(path.read_text())
    far = json.loads(path.read_text())["features"][0]
    far["geometry"]["coordinates"] = [[[900, 900], [950, 900], [950, 950]]]
    path.write_text(json.dumps(value | {"features": [*value["features"], far]}))
    np.testing.assert_array_equal(draw(path, slide(tmp_path)), expected())


@pytest.mark.parametrize("crs", [named("EPSG:0"), {"type": "link", "properties": {"href": "x"}}, "EPSG:4326"])
def test_a_system_that_is_not_known_is_refused(crs, tmp_path):
    with pytest.raises(FileProblem, match="reference system"):
        draw(note(tmp_path, BOX, crs), slide(tmp_path))


def test_a_file_without_features_is_background(tmp_path):
    (tmp_path / "a.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    assert not draw(tmp_path / "a.geojson", slide(tmp_path)).any()
