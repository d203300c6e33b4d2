"""Polygons in every format are the same regions; simplified outlines still share their borders."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from saccade.errors import FileProblem
from saccade.rasters import open_raster, write_label_png, write_polygons
from saccade.rasters.polygons import Tracer
from saccade.rasters.vector_writer import _simplified

shapely = pytest.importorskip("shapely")
pyogrio = pytest.importorskip("pyogrio.raw")
NAMES, PALETTE = ["a", "b", "c"], [(1, 2, 3), (4, 5, 6), (7, 8, 9)]


def blobs(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Three classes in wavy regions."""
    noise = np.random.default_rng(seed).random(size)
    smooth = ndimage.gaussian_filter(noise, 5)
    return np.digitize(smooth, np.quantile(smooth, (0.4, 0.7))).astype(np.uint8)


def written(
    folder: Path, labels: np.ndarray, name: str, *, image: str = "labels.png", **options
) -> tuple[list, np.ndarray]:
    """The attributes and the shapes in a file, by the number of the object."""
    write_label_png(folder / image, labels, overwrite=True)
    with open_raster(folder / image) as raster:
        count = write_polygons(folder / name, raster, names=NAMES, palette=PALETTE, **options)
    meta, _, shapes, columns = pyogrio.read(folder / name)
    table = [dict(zip(meta["fields"], row, strict=True)) for row in zip(*columns, strict=True)]
    order = np.argsort([row["object"] for row in table])
    assert len(table) == count
    return [table[n] for n in order], shapely.from_wkb(shapes)[order]


@pytest.mark.parametrize("name", ["p.gpkg", "p.fgb"])
def test_tables_of_a_gis_hold_what_geojson_holds(tmp_path: Path, name: str) -> None:
    labels = blobs((60, 80))
    expected, outlines = written(tmp_path, labels, "p.geojson")
    table, shapes = written(tmp_path, labels, name)
    assert shapely.equals_exact(shapely.normalize(shapes), shapely.normalize(outlines)).all()
    keys = ("object", "class", "class_index", "pixels")
    assert [[row[key] for key in keys] for row in table] == [[row[key] for key in keys] for row in expected]
    assert {row["colour"] for row in table} == {"#010203", "#040506", "#070809"}
    assert sum(row["pixels"] for row in table) == labels.size
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["labels.png", "p.geojson", name])


def test_nothing_found_is_a_file_without_features(tmp_path: Path) -> None:
    for name in ("p.gpkg", "p.fgb", "p.geojson"):
        assert written(tmp_path, np.zeros((5, 6), np.uint8), name, skip=[0])[0] == []


def test_a_map_keeps_its_reference_system(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    profile = {
        "driver": "GTiff",
        "height": 40,
        "width": 50,
        "count": 1,
        "dtype": "uint8",
        "crs": "EPSG:32632",
    }
    transform = rasterio.Affine(0.5, 0, 500000, 0, -0.5, 5e6)
    with rasterio.open(tmp_path / "a.tif", "w", transform=transform, **profile) as file:
        file.write(blobs((40, 50))[None])
    for name in ("p.gpkg", "p.fgb", "p.geojson"):
        with open_raster(tmp_path / "a.tif") as raster:
            write_polygons(tmp_path / name, raster, simplify=2)
        meta, _, shapes, columns = pyogrio.read(tmp_path / name)
        assert meta["crs"] == "EPSG:32632"
        assert shapely.area(shapely.from_wkb(shapes)).sum() == pytest.approx(40 * 50 / 4)
        areas = columns[list(meta["fields"]).index("area_m2")]
        assert areas.sum() == pytest.approx(40 * 50 / 4)


def regions_of(labels: np.ndarray) -> list:
    tracer = Tracer(labels.shape[1])
    return [*tracer.push(labels), *tracer.finish()]


def simplified(labels: np.ndarray, tolerance: float) -> list:
    found = _simplified(regions_of(labels), tolerance, Path("p"))
    return [shapely.Polygon(rings[0], rings[1:]) for _, rings in found]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 2)),
    st.sampled_from([0.8, 1.5, 3.0]),
)
def test_simplified_outlines_neither_overlap_nor_part(labels: np.ndarray, tolerance: float) -> None:
    shapes = simplified(labels, tolerance)
    assert shapely.is_valid(shapes).all()
    assert shapely.coverage_is_valid(shapes)
    whole = shapely.union_all(shapes)
    assert whole.area == pytest.approx(shapely.area(shapes).sum())


def test_simplified_outlines_have_fewer_corners_and_move_little() -> None:
    labels = blobs((120, 150))
    before = [shapely.Polygon(p.outer, p.holes) for p in regions_of(labels)]
    after = simplified(labels, 2.0)
    assert shapely.get_num_coordinates(after).sum() < shapely.get_num_coordinates(before).sum() / 2
    assert shapely.area(after).sum() == labels.size
    borders = [shapely.union_all(shapely.boundary(shapes)) for shapes in (before, after)]
    assert borders[0].hausdorff_distance(borders[1]) < 6


def test_holes_below_an_area_are_filled(tmp_path: Path) -> None:
    labels = np.ones((20, 30), np.uint8)
    labels[2:4, 2:4], labels[8:13, 8:13] = 0, 2
    table, shapes = written(tmp_path, labels, "a.geojson", fill=5)
    assert [row["pixels"] for row in table if row["class"] == "b"] == [600 - 25]
    assert [row["class"] for row in table] == ["b", "a", "c"]  # what lies in the hole is still told
    table, shapes = written(tmp_path, labels, "b.geojson", fill=float("inf"), skip=[0])
    assert [row["pixels"] for row in table] == [600, 25]
    assert shapely.get_num_interior_rings(shapes).sum() == 0


def test_qupath_finds_ids_and_measurements(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        written(tmp_path / name, blobs((40, 50)), "p.geojson", image=f"{name}.png")
    features = [json.loads((tmp_path / n / "p.geojson").read_text())["features"] for n in "ab"]
    ids = [[str(UUID(feature["id"])) for feature in some] for some in features]
    assert len({*ids[0], *ids[1]}) == len(ids[0]) + len(ids[1])  # of two images no two objects have one id
    other = blobs((40, 50))
    other[:, 25:] = 0
    (tmp_path / "c").mkdir()
    written(tmp_path / "c", other, "p.geojson", image="a.png")
    again = {
        f["id"]: f["geometry"] for f in json.loads((tmp_path / "c" / "p.geojson").read_text())["features"]
    }
    first = {feature["id"]: feature["geometry"] for feature in features[0]}
    common = first.keys() & again.keys()  # an object of another outline has another id
    assert again.keys() - first.keys() and all(again[key] == first[key] for key in common)
    for feature in features[0]:
        pixels = feature["properties"]["pixels"]
        assert feature["properties"]["measurements"] == [{"name": "Pixels", "value": pixels}]


def test_what_exists_or_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "p.gpkg").write_text("mine")
    with pytest.raises(FileProblem, match="one that exists"):
        written(tmp_path, blobs((20, 30)), "p.gpkg")
    assert (tmp_path / "p.gpkg").read_text() == "mine"
    with pytest.raises(FileProblem, match="a folder that does not exist"):
        written(tmp_path, blobs((20, 30)), "nowhere/p.geojson")
