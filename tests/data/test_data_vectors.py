"""Labels as vector files: every form gives the mask that GDAL gives, and what is wrong is told."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pyogrio = pytest.importorskip("pyogrio", reason="the extra geo is not installed")
import rasterio  # noqa: E402
import shapely  # noqa: E402
from vector_files import (  # noqa: E402
    CLASSES,
    UTM,
    coco,
    feature,
    folder,
    geojson,
    image,
    mask_of,
    on_map,
    runs,
    scene,
    table,
    tile,
)

from saccade.data import DataFolder, open_data  # noqa: E402
from saccade.data.coco import decode_mask  # noqa: E402
from saccade.data.open import require_something_to_learn  # noqa: E402
from saccade.data.vectors import TableVectors  # noqa: E402
from saccade.errors import DataFaults, FileProblem  # noqa: E402
from saccade.rasters import write_label_png  # noqa: E402

INDICES = {"ground": 0, "wood": 1, "water": 2}
TOLD = {"unlabelled": "ground"}


def labels(data: DataFolder, stem: str = "a") -> Any:
    item = next(item for some in data.splits.values() for item in some if item.stem == stem)
    return data.read(item).labels


def each(shapes: Any, crs: str = UTM, number: int = 0) -> Any:
    return [(on_map(shape, crs, tile(number)), name) for shape, name in shapes]


def write_masks(root: Path) -> None:
    (root / "masks").mkdir()
    for number, stem in enumerate("abc"):
        write_label_png(root / "masks" / f"{stem}.png", mask_of(scene(number), INDICES))


FORMS = {
    "mask": write_masks,
    "GeoPackage": lambda root: [table(root / f"labels/{s}.gpkg", each(scene(n), number=n))
                                for n, s in enumerate("abc")],
    "Shapefile": lambda root: [table(root / f"labels/{s}.shp", each(scene(n), "EPSG:3035", n), "EPSG:3035")
                               for n, s in enumerate("abc")],
    "FlatGeobuf": lambda root: [table(root / f"labels/{s}.fgb", each(scene(n), "EPSG:32633", n), "EPSG:32633")
                                for n, s in enumerate("abc")],
    "GeoJSON": lambda root: [geojson(root / f"labels/{s}.geojson", each(scene(n), "EPSG:4326", n))
                             for n, s in enumerate("abc")],
    "COCO": lambda root: coco(root / "labels/annotations.json", {f"{s}.tif": scene(n)
                                                                 for n, s in enumerate("abc")}),
    "QuPath": lambda root: [geojson(root / f"labels/{s}.geojson", scene(n), qupath=True)
                            for n, s in enumerate("abc")],
    "QuPath, a bare list": lambda root: [geojson(root / f"labels/{s}.json", scene(n), qupath=True, bare=True)
                                         for n, s in enumerate("abc")],
    "one GeoPackage": lambda root: table(root / "labels/all.gpkg", [
        one for n in range(3) for one in each(scene(n), "EPSG:4326", n)], "EPSG:4326"),
    "one GeoJSON": lambda root: geojson(root / "annotations/all.json", [
        one for n in range(3) for one in each(scene(n), "EPSG:4326", n)]),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_one_scene_gives_one_mask_in_every_form(form: str, tmp_path: Path) -> None:
    FORMS[form](folder(tmp_path / "data", **TOLD))
    data = open_data(tmp_path / "data")
    for number, stem in enumerate("abc"):
        found, expected = labels(data, stem), mask_of(scene(number), INDICES)
        assert len(np.unique(expected)) == 3
        rows, columns = np.nonzero(found != expected)
        borders = shapely.union_all([shape.boundary for shape, _ in scene(number)])
        centres = shapely.points(columns + 0.5, rows + 0.5)
        # a pixel may differ only where its centre lies on the border, as far as reprojection rounds
        assert len(rows) <= 3 and (shapely.distance(centres, borders) < 1e-3).all()


def test_the_form_is_told_and_needs_no_slides_folder(tmp_path: Path) -> None:
    FORMS["one GeoPackage"](folder(tmp_path / "data", **TOLD))
    assert open_data(tmp_path / "data").format.title == "a folder of images with polygons"


def test_a_vector_file_beside_a_slide_is_read(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", **TOLD)
    (root / "images").rename(root / "slides")
    for number, stem in enumerate("abc"):
        table(root / "annotations" / f"{stem}.shp", each(scene(number), "EPSG:3857", number), "EPSG:3857")
    found = labels(open_data(root), "b")
    assert (found != mask_of(scene(1), INDICES)).sum() <= 3


def test_images_of_several_systems_share_one_file(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", **TOLD)
    other = rasterio.Affine(10, 0, 55000, 0, -10, 5330000)
    image(root / "images" / "b.tif", "EPSG:32633", other)
    everything = [*each(scene(0)), *each(scene(2), number=2)]
    box = shapely.box(60, 20, 100, 90)
    mapped = shapely.transform(box, lambda xy: xy * (10, -10) + (55000, 5330000))
    mapped = shapely.geometry.shape(
        rasterio.warp.transform_geom("EPSG:32633", UTM, shapely.geometry.mapping(mapped))
    )
    table(root / "labels" / "all.gpkg", [*everything, (mapped, "wood")])
    data = open_data(root)
    assert (labels(data, "b") != mask_of([(box, "wood")], INDICES)).sum() <= 60  # one row of the border
    assert (labels(data, "c") != mask_of(scene(2), INDICES)).sum() <= 3


def test_what_no_polygon_covers_is_what_the_table_says(tmp_path: Path) -> None:
    def of(name: str, classes: Any = None, **more: Any) -> tuple[Any, str]:
        root = folder(tmp_path / name, classes, **more)
        table(root / "labels" / "all.gpkg", [one for n in range(3) for one in each(scene(n), number=n)])
        data = open_data(root)
        return labels(data)[0, 0], "\n".join(data.notices)

    assert of("told", **TOLD)[0] == 0
    assert "no polygon: ground" in of("again", **TOLD)[1]
    ignored, notices = of("untold")
    assert ignored == 255 and 'no polygon: ignored; "unlabelled" in classes.json says otherwise' in notices
    assert of("ignored", unlabelled="ignore")[0] == 255
    assert of("named", [{"index": 4, "name": "Background"}, *CLASSES[1:]])[0] == 0
    assert of("other", ignore_index=9, unlabelled="ignore")[0] == 255


RINGS = [(shapely.box(10, 10, 90, 90), "wood"), (shapely.box(30, 30, 60, 60), "water"),
         (shapely.box(50, 20, 120, 100), "wood")]  # fmt: skip
ORDERS = {
    "last": RINGS, "first": RINGS[::-1], "smallest": [RINGS[0], RINGS[2], RINGS[1]],
    "largest": [RINGS[1], RINGS[2], RINGS[0]], "classes": [RINGS[0], RINGS[2], RINGS[1]],
}  # fmt: skip


@pytest.mark.parametrize("order", ORDERS)
def test_of_polygons_that_overlap_one_rule_says_which_counts(order: str, tmp_path: Path) -> None:
    told = {} if order == "last" else {"overlaps": order}
    root = folder(tmp_path / "data", **TOLD, **told)
    for stem in "abc":
        geojson(root / "labels" / f"{stem}.geojson", RINGS)
    data = open_data(root)
    np.testing.assert_array_equal(labels(data), mask_of(ORDERS[order], INDICES))
    (line,) = [line for line in data.notices if "overlap" in line]
    each_of = [mask_of([ring], {"wood": 1, "water": 2}) for ring in RINGS]
    both = (np.maximum(each_of[0], each_of[2]) > 0) & (each_of[1] > 0)
    share = 100 * both.sum() / (np.max(each_of, 0) > 0).sum()
    assert f"overlap in {share:.3g} % of the labelled area" in line


def test_attributes_mean_classes_by_the_table(tmp_path: Path) -> None:
    classes = [{"index": 0, "name": "ground"}, {"index": 1, "name": "wood", "values": [2360, "forest"]},
               {"index": 2, "name": "water", "values": ["*"]}]  # fmt: skip
    root = folder(tmp_path / "data", classes, label_field="Landcover_code", **TOLD)
    numbers = [2360 if name == "wood" else 77 for _, name in scene()]
    table(root / "labels" / "a.shp", each(scene()), field="Landcover_code", values=numbers)
    texts = ["forest" if name == "wood" else "sea" for _, name in scene(1)]
    table(root / "labels" / "b.gpkg", each(scene(1), number=1), field="landcover_CODE", values=texts)
    table(root / "labels" / "c.gpkg", each(scene(2), number=2), field="Landcover_code", values=[2360.0] * 6)
    data = open_data(root)
    assert (labels(data, "a") != mask_of(scene(0), INDICES)).sum() <= 3
    assert (labels(data, "b") != mask_of(scene(1), INDICES)).sum() <= 3
    assert set(np.unique(labels(data, "c"))) == {0, 1}


def test_indices_are_attributes_and_the_ignored_class_is_drawn(tmp_path: Path) -> None:
    classes = [*CLASSES, {"index": 9, "name": "unsure"}]
    root = folder(tmp_path / "data", classes, ignore_index=9, **TOLD)
    for number, stem in enumerate("abc"):
        values = [1 if name == "wood" else 9 for _, name in scene(number)]
        table(root / "labels" / f"{stem}.gpkg", each(scene(number), number=number), values=values)
    expected = mask_of(scene(), {"wood": 1, "water": 255})
    assert (labels(open_data(root)) != expected).sum() <= 3


def test_a_table_of_one_class_needs_no_attribute(tmp_path: Path) -> None:
    classes = [{"index": 0, "name": "background"}, {"index": 1, "name": "house", "values": ["*"]}]
    root = folder(tmp_path / "data", classes)
    for number, stem in enumerate("abc"):
        table(root / "labels" / f"{stem}.gpkg", each(scene(number), number=number), field="height")
    assert (labels(open_data(root)) != mask_of(scene(), {"wood": 1, "water": 1})).sum() <= 3


def test_what_is_lost_or_cut_is_told(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", **TOLD)
    bow = shapely.Polygon([(20.1, 20), (60.3, 60), (60, 20.2), (20, 60.3)])
    shapes = [(shapely.box(140, 20, 190, 60), "wood"), (shapely.box(5.1, 5.1, 5.3, 5.3), "water"),
              (bow, "water"), (shapely.box(3, 3, 3, 9), "wood")]  # fmt: skip
    value = [feature(shape, {"class": name}) for shape, name in shapes]
    value.append({"type": "Feature", "properties": {"class": "wood"}, "geometry": None})
    for stem in "abc":
        (root / "labels").mkdir(exist_ok=True)
        (root / "labels" / f"{stem}.geojson").write_text(json.dumps(value))
    data = open_data(root)
    for words in (
        "3 polygons beyond the border of the image: cut off", "3 polygons without the centre of any pixel",
        "6 features without an area: left out", "a.geojson: 1 polygon (2) that cross themselves",
    ):  # fmt: skip
        assert any(words in line for line in data.notices), (words, data.notices)
    expected = mask_of([shapes[0], (shapely.make_valid(bow), "water")], INDICES)
    np.testing.assert_array_equal(labels(data), expected)


@pytest.mark.parametrize("name", ["all.gpkg", "all.shp", "all.geojson"])
def test_features_without_an_area_are_counted_in_every_form(name: str, tmp_path: Path) -> None:
    root = folder(tmp_path / "data", **TOLD)
    polygons = [shape for number in range(3) for shape in each(scene(number), number=number)]
    empty = [(shapely.Polygon(), "wood"), (None, "wood")]
    write = geojson if name.endswith("json") else table
    if write is geojson:
        polygons = [shape for number in range(3) for shape in each(scene(number), "EPSG:4326", number)]
    write(root / "labels" / name, [*polygons, *empty])
    data = open_data(root)
    assert f"{name}: 2 of" not in str(data.notices)  # they are not taken for polygons elsewhere
    assert "2 features without an area: left out" in data.notices
    assert (labels(data) != mask_of(scene(), INDICES)).sum() <= 3


def test_a_file_of_nothing_but_empty_features_is_told(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", **TOLD)
    table(root / "labels" / "all.gpkg", [(shapely.Polygon(), "wood"), (None, "wood")])
    data = open_data(root)
    assert "2 features without an area: left out" in data.notices
    with pytest.raises(DataFaults, match="two classes or more in train, found only ground"):
        require_something_to_learn(data)


def test_images_in_several_systems_are_told(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", **TOLD)
    table(root / "labels" / "all.gpkg", each(scene()))
    assert not any("reference systems" in line for line in open_data(root).notices)
    image(root / "images" / "b.tif", crs="EPSG:32633")
    told = "each read in its own: EPSG:32632 (2 images), EPSG:32633 (b.tif)"
    assert f"images in several reference systems, {told}" in open_data(root).notices


def test_polygons_and_images_without_each_other_are_counted(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", **TOLD)
    far = [(shapely.box(0, 0, 100, 100), "wood"), (shapely.box(0, 200, 100, 300), "wood")]
    table(root / "labels" / "all.gpkg", [*each(scene(0)), *each(scene(1), number=1), *far])
    data = open_data(root)
    assert "all.gpkg: 2 of 14 polygons touch no image" in data.notices
    assert "all.gpkg: no polygon touches c" in data.notices and not labels(data, "c").any()


def test_a_polygon_around_the_world_is_cut_to_its_image(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", **TOLD)
    table(root / "labels" / "all.gpkg", [(shapely.box(-180, -90, 180, 90), "wood")], "EPSG:4326")
    assert (labels(open_data(root)) == 1).all()


def test_a_large_file_is_read_by_place(tmp_path: Path) -> None:
    """Of 40,000 polygons those on the image are read, and no more is held."""
    x, y = np.meshgrid(np.arange(200) * 40.0, np.arange(200) * 40.0)
    boxes = shapely.box(x.ravel(), y.ravel(), x.ravel() + 30, y.ravel() + 30)
    many = [(box, "wood") for box in boxes]
    for ending in (".gpkg", ".shp"):
        vectors = TableVectors.read(table(tmp_path / f"many{ending}", many), None)
        assert len(vectors.numbers) == 40000
        tracemalloc.start()
        found = vectors.features((100.0, 100.0, 250.0, 250.0))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(found) == 25 and peak < 4 << 20, (ending, len(found), peak)


def test_json_that_the_memory_cannot_hold_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    root = folder(tmp_path / "data", **TOLD)
    geojson(root / "labels" / "all.geojson", scene())
    monkeypatch.setattr("saccade.data.vectors.physical_memory", lambda: 1 << 10)
    with pytest.raises(DataFaults, match=r"ogr2ogr all\.gpkg all\.geojson"):
        open_data(root)


def test_without_the_library_a_line_says_what_to_install(tmp_path: Path, monkeypatch: Any) -> None:
    root = folder(tmp_path / "data", **TOLD)
    table(root / "labels" / "all.gpkg", each(scene()))
    monkeypatch.setitem(__import__("sys").modules, "pyogrio.raw", None)
    with pytest.raises(DataFaults, match=r"all\.gpkg: expected the libraries .*pip install pyogrio"):
        open_data(root)


def _all(root: Path, shapes: Any, **options: Any) -> None:
    table(root / "labels" / "all.gpkg", shapes, **options)


def _without_place(root: Path) -> None:
    _all(root, each(scene()))
    image(root / "images" / "b.tif", crs=None)


def _two_layers(root: Path) -> None:
    _all(root, each(scene()), layer="fields")
    _all(root, each(scene()), layer="forests", append=True)


def _coco(root: Path, change: Any) -> None:
    path = coco(root / "labels" / "all.json", {f"{stem}.tif": scene() for stem in "abc"})
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def _in_another_encoding(root: Path) -> None:
    path = table(root / "labels" / "all.shp", each(scene()))
    attributes = path.with_suffix(".dbf")
    attributes.write_bytes(attributes.read_bytes().replace(b"wood", b"\xdaood"))
    path.with_suffix(".cpg").write_text("UTF-8")


BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "attributes in another encoding": (_in_another_encoding, TOLD, r"all\.shp: .*encoding.*save it as UTF-8"),
    "another projection without a system": (
        lambda r: table(r / "labels/all.shp", each(scene(), "EPSG:3035"), None), TOLD,
        r"all\.shp: expected polygons that meet a\.tif .*EPSG:32632.*found x from .*save .*as all\.prj",
    ),
    "GeoPackage without a system": (
        lambda r: _all(r, each(scene(), "EPSG:3035"), crs=None), TOLD, "save them with a reference system",
    ),
    "one image without a place": (_without_place, TOLD, r"b\.tif: expected a place on a map, for labels in"),
    "class that is none": (
        lambda r: _all(r, [*each(scene()), *each([(shapely.box(0, 0, 9, 9), "wod")])]), TOLD,
        r"all\.gpkg: .*the name of a class .* as class, found 'wod' \(1 polygon\); did you mean 'wood'",
    ),
    "no attribute": (
        lambda r: _all(r, each(scene()), field="kind"), TOLD, r'names classes .*found kind; .*"label_field"',
    ),
    "another attribute": (
        lambda r: _all(r, each(scene())), {**TOLD, "label_field": "klass"},
        r"the attribute 'klass' \(label_field in classes.json\), found class; did you mean 'class'",
    ),
    "an order that is none": (lambda r: _all(r, each(scene())), {"overlaps": "top"}, "overlaps to be one of"),
    "unlabelled of no class": (
        lambda r: _all(r, each(scene())), {"unlabelled": "grund"}, "unlabelled .*'grund'; .*'ground'",
    ),
    "points": (
        lambda r: _all(r, [(shapely.Point(0, 0), "wood")], geometry_type="Point"), TOLD,
        "one layer of polygons, found 1 of Point",
    ),
    "lines among polygons": (
        lambda r: _all(r, [*each(scene()), (on_map(shapely.LineString([(0, 0), (9, 9)])), "wood")]), TOLD,
        "1 that are none, such as a LineString",
    ),
    "two layers": (_two_layers, TOLD, "one layer of polygons, found fields, forests; .*label_layer"),
    "a layer that is not there": (
        lambda r: _all(r, each(scene())), {**TOLD, "label_layer": "al"}, "a layer 'al' .*did you mean 'all'",
    ),
    "no table of a Shapefile": (
        lambda r: table(r / "labels/all.shp", each(scene())).with_suffix(".dbf").unlink(), TOLD,
        r"other files of the Shapefile beside it, found no all\.dbf",
    ),
    "no GeoPackage": (
        lambda r: (_all(r, each(scene())), (r / "labels/all.gpkg").write_bytes(b"x" * 900)), TOLD,
        "expected a GeoPackage, found something else",
    ),
    "nothing in the file": (
        lambda r: (r / "labels").mkdir() or (r / "labels/all.geojson").write_text(""), TOLD, "broken JSON",
    ),
    "all polygons elsewhere": (
        lambda r: _all(r, each(scene(), number=9)), TOLD, r"expected polygons that meet a\.tif",
    ),
    "COCO of another size": (
        lambda r: _coco(r, lambda v: v["images"][1].update(height=99)), TOLD, r"size of b\.tif .*160 x 99",
    ),
    "COCO without images": (
        lambda r: _coco(r, lambda v: v["images"][0].pop("id")), TOLD, "entry without 'id'",
    ),
    "COCO runs that are too short": (
        lambda r: _coco(r, lambda v: v["annotations"][0]["segmentation"]["counts"].pop()), TOLD,
        "annotation 0 has none",
    ),
    "COCO runs of another size": (
        lambda r: _coco(r, lambda v: v["annotations"][0].update(
            segmentation={"size": [10**6, 10**6], "counts": [10**12]})),
        TOLD, r"run lengths of the size of a\.tif",
    ),
    "COCO with a list for a category": (
        lambda r: _coco(r, lambda v: v["annotations"][0].update(category_id=[1])), TOLD, r"found '\[1\]'",
    ),
    "COCO of other classes": (
        lambda r: _coco(r, lambda v: v["categories"][0].update(name="trees")), TOLD, "found 'trees'",
    ),
    "two vector files and no image of their name": (
        lambda r: (_all(r, each(scene())), table(r / "labels/more.gpkg", each(scene()))), TOLD,
        r"expected its labels labels/a\.\*",
    ),
    "corners that are no numbers": (
        lambda r: (r / "labels").mkdir() or (r / "labels/all.json").write_text(json.dumps(
            [feature(shapely.box(0, 0, 9, 9), {"class": "wood"})]).replace("9.0", "NaN")), TOLD, "feature 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_labels_are_one_clear_line_before_any_work(case: str, tmp_path: Path) -> None:
    spoil, told, words = BAD[case]
    root = folder(tmp_path / "data", **told)
    spoil(root)
    with pytest.raises(DataFaults, match=words) as caught:
        open_data(root)
    assert len(caught.value.faults) <= 6 and all("\n" not in str(fault) for fault in caught.value.faults)


def test_a_file_without_a_system_in_the_image_s_own_is_taken_and_told(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", **TOLD)
    for number, stem in enumerate("abc"):
        table(root / "labels" / f"{stem}.shp", each(scene(number), number=number), None)
    data = open_data(root)
    assert (labels(data) != mask_of(scene(), INDICES)).sum() <= 3
    assert any("no reference system: taken for the image's, EPSG:32632" in line for line in data.notices)


def pack(counts: list[int]) -> str:
    """As COCO's own library writes run lengths, after its description."""
    text = ""
    for number, count in enumerate(counts):
        value = count - counts[number - 2] if number > 2 else count
        while True:
            digit, value = value & 31, value >> 5
            last = value == (-1 if digit & 16 else 0)
            text += chr((digit if last else digit | 32) + 48)
            if last:
                break
    return text


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 40), st.booleans())
def test_run_lengths_come_back(seed: int, height: int, width: int, blocks: bool) -> None:
    mask = np.random.default_rng(seed).random((height, 1 if blocks else width)) < 0.5
    mask = np.repeat(mask, width, 1)[:, :width]
    counts = runs(mask)
    for told in (counts, pack(counts)):
        np.testing.assert_array_equal(decode_mask({"size": mask.shape, "counts": told}), mask)


def test_a_mask_beside_polygons_of_an_annotation_tool_stays_a_data_folder(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", **TOLD)
    write_masks(root)
    geojson(root / "annotations" / "a.json", scene())
    assert open_data(root).format.name == "folder"


def test_a_place_of_pixels_holds_on_unplaced_images(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", **TOLD)
    for number, stem in enumerate("abc"):
        image(root / "images" / f"{stem}.tif", crs=None, place=tile(number))
        geojson(root / "labels" / f"{stem}.geojson", scene(number))
    np.testing.assert_array_equal(labels(open_data(root), "c"), mask_of(scene(2), INDICES))


def test_vectors_of_nothing_are_refused_by_their_reader(tmp_path: Path) -> None:
    with pytest.raises(FileProblem, match="a vector file, but got no such file"):
        TableVectors.read(tmp_path / "gone.gpkg", None)
    (tmp_path / "cut.gpkg").write_bytes(b"SQLite format 3\0" + b"x" * 900)
    with pytest.raises(FileProblem, match="a vector file that GDAL reads"):
        TableVectors.read(tmp_path / "cut.gpkg", None)
