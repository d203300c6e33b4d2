"""Tables, uncertainty and chosen objects: exact areas, whatever the format, the tiles and the memory."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from inference_files import CLASSES, bent, make_geotiff, picture, segmenter, write_pyramid
from PIL import Image
from scipy import ndimage

from saccade.data.classes import ClassTable
from saccade.errors import InvalidInput, UsageError
from saccade.inference import LeastArea, ObjectChoice, PredictionConfig, SamplingOptions, list_jobs
from saccade.inference.files import parse_extras, parse_kinds
from saccade.inference.objects import Tolerance, uncertainty_of
from saccade.inference.predict import predict_image
from saccade.rasters import open_raster

SETTINGS = PredictionConfig(CLASSES)
ALL = ("uncertainty", "table", "polygons")


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The images are small."""


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def predicted(image: Path, out: Path, extras=ALL, settings=SETTINGS, model=None):
    (job,) = list_jobs([image], out, extras)
    out.mkdir(exist_ok=True)
    predict_image(bent() if model is None else model, job, settings)
    assert sorted(out.iterdir()) == sorted(job.outputs)
    with open_raster(job.labels) as raster:
        return raster.read()[..., 0], job.named


def photo(folder: Path, size=(90, 133)) -> Path:
    Image.fromarray(picture(size)).save(folder / "a.png")
    return folder / "a.png"


def slide(folder: Path) -> Path:
    return write_pyramid(
        folder / "a.tif", picture((700, 300)), resolution=(20000, 20000), resolutionunit="CENTIMETER"
    )


def test_areas_are_the_counts_of_pixels(tmp_path: Path) -> None:
    labels, job = predicted(photo(tmp_path), tmp_path / "out")
    counts = np.bincount(labels.ravel(), minlength=3)
    classes, objects = rows(job.extra("classes")), rows(job.extra("objects"))
    assert [(row["class"], int(row["pixels"])) for row in classes] == list(
        zip(CLASSES.names, counts, strict=True)
    )
    assert sum(int(row["pixels"]) for row in classes) == labels.size
    assert sum(float(row["share"]) for row in classes) == pytest.approx(1)
    assert {row["unit"] for row in classes} == {"px"} and all(row["area"] == row["pixels"] for row in classes)
    for index, name in enumerate(CLASSES.names):
        own = [row for row in objects if row["class"] == name]
        parts, count = ndimage.label(labels == index, np.ones((3, 3)))
        assert len(own) == count
        assert sorted(int(row["pixels"]) for row in own) == sorted(np.bincount(parts.ravel())[1:])
    assert [int(row["object"]) for row in objects] == list(range(1, len(objects) + 1))
    assert {row["image"] for row in (*classes, *objects)} == {"a.png"}


def test_a_slide_is_measured_in_microns_band_by_band(tmp_path: Path) -> None:
    sampling = SamplingOptions(mode="tiles", tile=(256, 256), skip=False)
    labels, job = predicted(slide(tmp_path), tmp_path / "out", settings=replace(SETTINGS, sampling=sampling))
    assert job.labels.name == "a.ome.tif"
    for row in rows(job.extra("classes")):
        assert row["unit"] == "um" and float(row["area"]) == pytest.approx(int(row["pixels"]) / 4)
    with open_raster(job.extra("uncertainty")) as raster:
        doubt = raster.read()[..., 0]
        assert raster.dtype == np.uint8 and raster.pixel_size is not None
    for row in rows(job.extra("objects")):
        left, top, right, bottom = (int(row[name]) for name in ("left", "top", "right", "bottom"))
        parts, _ = ndimage.label(labels == int(row["index"]), np.ones((3, 3)))
        inside = parts[top:bottom, left:right]
        number = next(n for n in np.unique(inside) if n and (parts == n).sum() == int(row["pixels"]))
        own = parts == number
        assert float(row["confidence"]) == pytest.approx(1 - doubt[own].mean() / 254, abs=1e-4)
        lines, columns = np.nonzero(own)
        assert float(row["x"]) == pytest.approx(columns.mean() + 0.5, abs=1e-3)
        assert float(row["y"]) == pytest.approx(lines.mean() + 0.5, abs=1e-3)


def test_a_map_tells_square_metres_places_and_what_has_no_label(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    shapely = pytest.importorskip("shapely")
    pixels = picture((300, 260))
    pixels[:50] = 0
    image = make_geotiff(tmp_path / "a.tif", pixels, nodata=0)
    labels, job = predicted(image, tmp_path / "out")
    classes = rows(job.extra("classes"))
    assert classes[-1]["class"] == "unlabelled" and int(classes[-1]["pixels"]) == 50 * 260
    assert sum(int(row["pixels"]) for row in classes) == labels.size
    assert float(classes[0]["area"]) == int(classes[0]["pixels"]) / 4 and classes[0]["unit"] == "m"
    features = json.loads(job.extra("polygons").read_text())["features"]
    shapes = [(f["properties"], shapely.geometry.shape(f["geometry"])) for f in features]
    objects = rows(job.extra("objects"))
    for index, name in enumerate(CLASSES.names):
        drawn = [shape for facts, shape in shapes if facts["class"] == name]
        own = [row for row in objects if row["class"] == name]
        assert sum(shape.area for shape in drawn) == pytest.approx(sum(float(row["area"]) for row in own))
        assert sum(shape.length for shape in drawn) == pytest.approx(
            sum(float(row["perimeter"]) for row in own)
        )
        facts = [facts for facts, _ in shapes if facts["class"] == name]
        assert sum(one["pixels"] for one in facts) == (labels == index).sum()
        assert [one["area_m2"] for one in facts] == [pytest.approx(shape.area) for shape in drawn]
    left, bottom, right, top = 500000, 5e6 - 150, 500000 + 130, 5e6
    for row in objects:
        assert left < float(row["map_x"]) < right and bottom < float(row["map_y"]) < top
    assert [facts["object"] for facts, _ in shapes] == list(range(1, len(shapes) + 1))
    with open_raster(job.extra("uncertainty")) as raster:
        doubt = raster.read()[..., 0]
        assert raster.nodata == 255
    assert ((doubt == 255) == (labels == 255)).all()


def test_uncertainty_is_one_less_the_margin(tmp_path: Path) -> None:
    labels, job = predicted(photo(tmp_path), tmp_path / "out", model=segmenter())
    doubt = np.asarray(Image.open(job.extra("uncertainty"))).astype(float)
    assert doubt.shape == labels.shape and doubt.max() < 255 and np.ptp(doubt) > 10
    image = write_pyramid(tmp_path / "b.tif", picture((90, 133)), 1, resolution=(1e4, 1e4), resolutionunit=3)
    same, other = predicted(image, tmp_path / "raster", ("scores", "uncertainty"), model=segmenter())
    with open_raster(other.extra("scores")) as raster, open_raster(other.extra("uncertainty")) as grey:
        shares = np.sort(raster.read().astype(float), axis=2)
        np.testing.assert_array_equal(grey.read()[..., 0], doubt)
    np.testing.assert_array_equal(same, labels)
    margin = (shares[..., -1] - shares[..., -2]) / 255
    assert np.abs(doubt - 254 * (1 - margin)).max() <= 0.51


def test_one_class_is_certain_and_no_label_is_no_answer() -> None:
    labels = np.array([[0, 255]], np.uint8)
    assert uncertainty_of(np.array([[[255], [0]]], np.uint8), labels).tolist() == [[0, 255]]
    shares = np.array([[[128, 127, 0], [255, 0, 0]]], np.uint8)
    assert uncertainty_of(shares, np.zeros((1, 2), np.uint8)).tolist() == [[253, 0]]


@pytest.mark.parametrize("make", [photo, slide])
def test_other_bands_and_a_second_start_give_the_same_bytes(make, tmp_path: Path) -> None:
    image = make(tmp_path)
    _, job = predicted(image, tmp_path / "out")
    memory = SamplingOptions(memory=8 << 30)
    _, again = predicted(image, tmp_path / "again", settings=replace(SETTINGS, sampling=memory))
    again.labels.unlink()
    again.extra("objects").unlink()
    predict_image(bent(), again, replace(SETTINGS, resume=True))
    for ours, theirs in zip(job.outputs, again.outputs, strict=True):
        assert ours.read_bytes() == theirs.read_bytes(), ours.name


def test_small_objects_and_other_classes_are_left_out_of_both(tmp_path: Path) -> None:
    choice = ObjectChoice(("land", "boat"), LeastArea.parse("10um2"))
    labels, job = predicted(slide(tmp_path), tmp_path / "out", settings=replace(SETTINGS, choice=choice))
    objects, classes = rows(job.extra("objects")), rows(job.extra("classes"))
    assert {row["class"] for row in objects} <= {"land", "boat"}
    assert min(int(row["pixels"]) for row in objects) >= 40
    assert sum(int(row["pixels"]) for row in classes) == labels.size
    features = json.loads(job.extra("polygons").read_text())["features"]
    assert {f["properties"]["class"] for f in features} <= {"land", "boat"}
    assert min(f["properties"]["pixels"] for f in features) >= 40


def test_the_background_is_no_object_unless_asked_for() -> None:
    table = ClassTable(("Background", "boat"), (0, 7), ((0, 0, 0), (255, 255, 255)))
    assert ObjectChoice().left_out(table) == {0}
    assert ObjectChoice(("Background", "boat")).left_out(table) == set()
    assert ObjectChoice().left_out(CLASSES) == set()
    assert ObjectChoice().left_out(ClassTable(("background",), (0,), ((0, 0, 0),))) == set()


def test_wrong_wishes_are_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"--classes.*did you mean 'boat'|boat"):
        ObjectChoice(("boats",)).left_out(CLASSES)
    for text in ("few", "-3", "5 ha", ""):
        with pytest.raises(InvalidInput, match="--min-area"):
            LeastArea.parse(text)
    with open_raster(photo(tmp_path)) as raster, pytest.raises(InvalidInput, match="without a scale"):
        LeastArea.parse("5m2").pixels(raster)


def test_an_area_that_an_image_cannot_tell_is_refused_before_the_work(tmp_path: Path) -> None:
    choice = ObjectChoice(least=LeastArea.parse("5m2"))
    with pytest.raises(InvalidInput, match="without a scale"):
        predicted(photo(tmp_path), tmp_path / "out", settings=replace(SETTINGS, choice=choice))
    assert not any((tmp_path / "out").iterdir())


def test_tables_in_parquet_hold_what_those_in_csv_hold(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    _, job = predicted(photo(tmp_path), tmp_path / "csv")
    (other,) = list_jobs([tmp_path / "a.png"], tmp_path / "pq", ALL, parse_kinds("table.parquet"))
    (tmp_path / "pq").mkdir()
    predict_image(bent(), other, SETTINGS)
    for name in ("classes", "objects"):
        table = parquet.read_table(other.named.extra(name))
        told = [{key: "" if v is None else v for key, v in row.items()} for row in table.to_pylist()]
        assert len(told) == len(rows(job.extra(name))) > 0
        for ours, row in zip(told, rows(job.extra(name)), strict=True):
            assert set(ours) == set(row)
            for key, value in ours.items():
                same = value == pytest.approx(float(row[key]), abs=1e-3) if row[key] and not isinstance(
                    value, str
                ) else str(value) == row[key]  # fmt: skip
                assert same, (key, value, row[key])


def test_areas_in_zones_are_those_that_rasterio_finds(tmp_path: Path) -> None:
    features = pytest.importorskip("rasterio.features")
    shapely = pytest.importorskip("shapely")
    image = make_geotiff(tmp_path / "a.tif", picture((300, 260)))
    left, top = 500000, 5e6
    shapes = [
        shapely.Point(left + 60, top - 70).buffer(31.7),
        shapely.box(left - 20, top - 400, left + 33.3, top - 20.1),  # reaches out of the image
        shapely.box(left + 40, top - 30, left + 90, top + 30),
        shapely.MultiPolygon(
            [
                shapely.box(left + 5, top - 9, left + 15, top - 3),
                shapely.box(left + 90, top - 99, left + 120, top - 80),
            ]
        ),
        shapely.box(0, 0, 1, 1),
    ]
    found = [
        {"type": "Feature", "geometry": shapely.geometry.mapping(s), "properties": {"name": f"z{n}"}}
        for n, s in enumerate(shapes)
    ]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
    zones = tmp_path / "zones.geojson"
    zones.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": found}))
    labels, job = predicted(
        image, tmp_path / "out", ("table", "zones"), settings=replace(SETTINGS, zones=zones)
    )
    listed = rows(job.extra("zones"))
    assert {row["name"] for row in listed} == {"z0", "z1", "z2", "z3"}
    with open_raster(image) as raster:
        transform = __import__("affine").Affine(*raster.transform)
    for number, shape in enumerate(shapes[:4]):
        inside = features.rasterize([shape], labels.shape, transform=transform).astype(bool)
        own = [row for row in listed if row["name"] == f"z{number}"]
        assert [int(row["pixels"]) for row in own] == np.bincount(labels[inside], minlength=3).tolist()
        assert sum(float(row["area"]) for row in own) == pytest.approx(inside.sum() / 4)


def test_zones_that_meet_no_image_are_told(tmp_path: Path) -> None:
    zones = tmp_path / "zones.geojson"
    far = [[[900, 900], [950, 900], [950, 950], [900, 900]]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": far}, "properties": {}}
    zones.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    (job,) = list_jobs([photo(tmp_path)], tmp_path / "out", ("table", "zones"))
    (tmp_path / "out").mkdir()
    done = predict_image(bent(), job, replace(SETTINGS, zones=zones))
    assert any("no zone is counted" in notice for notice in done.notices)


def test_wishes_of_polygons_are_read_with_their_units() -> None:
    assert Tolerance.parse("1.5 µm") == Tolerance(1.5, "um")
    assert LeastArea.parse("all").value == float("inf")
    assert parse_extras("labels,polygons.gpkg") == ("polygons",) and parse_kinds("polygons.FGB") == (".fgb",)
    for text in ("polygons.shp", "overlay.png", "table.xlsx"):
        with pytest.raises(UsageError, match="--save"):
            parse_kinds(text)
    with pytest.raises(InvalidInput, match="--simplify"):
        Tolerance.parse("two")


@pytest.mark.parametrize(
    ("option", "choice"),
    [
        ("--min-area", {"least": LeastArea.parse("5um2")}),
        ("--fill-holes", {"fill": LeastArea.parse("5um2", "--fill-holes")}),
        ("--simplify", {"simplify": Tolerance.parse("2m")}),
    ],
)
def test_a_wish_in_real_units_is_told_by_its_own_option(
    option: str, choice: dict[str, object], tmp_path: Path
) -> None:
    with open_raster(photo(tmp_path)) as raster, pytest.raises(InvalidInput, match=option):
        ObjectChoice(**choice).check(raster)
