"""``saccade init`` for polygons and tables: what annotation tools export becomes a data folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image
from rasterio.features import rasterize
from vector_files import SIZE, geojson, scene, table

from saccade.cli import main
from saccade.data import open_data
from saccade.data.annotation_tables import read_table, read_tool_json
from saccade.data.draft_polygons import draft_polygons
from saccade.errors import FileProblem

STEMS = [f"im_{name}" for name in "abcde"]


def images(root: Path, folder: str = "images") -> Path:
    (root / folder).mkdir(parents=True, exist_ok=True)
    for stem in STEMS:
        Image.new("RGB", SIZE[::-1], (90, 120, 20 * STEMS.index(stem))).save(root / folder / f"{stem}.jpg")
    return root


def shapes(number: int, *, holes: bool = True) -> list[tuple[Any, str]]:
    found = scene(number)
    return [(s if holes else shapely.Polygon(s.exterior), name) for s, name in found]


def expected(number: int, names: tuple[str, ...], *, holes: bool = True) -> np.ndarray:
    """By rasterio; 0 where no polygon is."""
    drawn = [(shape, names.index(name) + 1) for shape, name in shapes(number, holes=holes)]
    return rasterize(drawn, SIZE, dtype="uint8")


def require_drawn(root: Path, *, holes: bool = True) -> None:
    data = open_data(root)
    assert data.classes.names == ("background", "water", "wood")
    for items in data.splits.values():
        for item in items:
            labels = data.read(item).labels
            truth = expected(STEMS.index(item.stem), ("water", "wood"), holes=holes)
            assert (labels != truth).mean() < 1e-3, item.stem


def write_table(path: Path, head: list[str], rows: list[list[Any]], delimiter: str = ",") -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([head, *rows])


def via_shape(shape: Any) -> dict[str, Any]:
    x, y = shape.exterior.coords.xy
    return {"name": "polygon", "all_points_x": list(x), "all_points_y": list(y)}


def as_wkt(root: Path) -> None:
    rows = [
        [f"photos/{stem}.jpg", name, shape.wkt]
        for number, stem in enumerate(STEMS)
        for shape, name in shapes(number)
    ]
    write_table(root / "annotations.csv", ["Filename", "Label", "WKT"], rows, ";")


def as_points(root: Path) -> None:
    rows = [
        [stem, name, json.dumps(list(map(list, shape.exterior.coords)))]
        for number, stem in enumerate(STEMS)
        for shape, name in shapes(number, holes=False)
    ]
    write_table(root / "labels.csv", ["image_id", "class", "points"], rows)


def as_via_csv(root: Path) -> None:
    rows = [
        [f"{stem}.jpg", json.dumps(via_shape(shape)), json.dumps({"type": name})]
        for number, stem in enumerate(STEMS)
        for shape, name in shapes(number, holes=False)
    ]
    write_table(root / "via.csv", ["filename", "region_shape_attributes", "region_attributes"], rows)


def as_via_json(root: Path) -> None:
    value = {
        f"{stem}.jpg123": {
            "filename": f"{stem}.jpg",
            "regions": [
                {"shape_attributes": via_shape(shape), "region_attributes": {"class": name}}
                for shape, name in shapes(number, holes=False)
            ],
        }
        for number, stem in enumerate(STEMS)
    }
    (root / "project.json").write_text(json.dumps({"_via_settings": {}, "_via_img_metadata": value}))


def as_labelme(root: Path) -> None:
    for number, stem in enumerate(STEMS):
        found = [
            {"label": name, "points": list(map(list, shape.exterior.coords)), "shape_type": "polygon"}
            for shape, name in shapes(number, holes=False)
        ]
        (root / "images" / f"{stem}.json").write_text(json.dumps({"shapes": found}))


@pytest.mark.parametrize("write", [as_wkt, as_points, as_via_csv, as_via_json, as_labelme])
def test_tables_of_outlines_become_the_labels_that_rasterio_draws(tmp_path: Path, write: Any) -> None:
    write(images(tmp_path))
    draft = draft_polygons(tmp_path)
    assert not (tmp_path / "labels").exists()
    assert [(c.name, c.polygons) for c in draft.classes] == [("background", 0), ("water", 15), ("wood", 15)]
    draft.write()
    require_drawn(tmp_path, holes=write is as_wkt)


def test_the_command_shows_what_it_found_and_writes_it_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    as_wkt(images(tmp_path))
    assert main(["init", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "5 images with a table (annotations.csv)" in said.out
    assert "labels (5 files)" in said.err
    assert main(["info", str(tmp_path)]) == 0
    assert main(["init", str(tmp_path)]) == 1


@pytest.mark.parametrize(
    "layout", [("images", "labels"), ("images", "annotations"), ("slides", "annotations")]
)
def test_a_qupath_folder_has_its_classes_colours_and_what_qupath_ignores(
    tmp_path: Path, layout: tuple[str, str]
) -> None:
    images(tmp_path, layout[0])
    for number, stem in enumerate(STEMS):
        file = geojson(
            tmp_path / layout[1] / f"{stem}.geojson", shapes(number), qupath=True, bare=number == 1
        )
        value = json.loads(file.read_text())
        for feature in value if isinstance(value, list) else value["features"]:
            feature["properties"]["classification"]["color"] = [1, 2, 3]
        if number == 0:
            value["features"][0]["properties"]["classification"]["name"] = "Ignore*"
            del value["features"][1]["properties"]["classification"]
        file.write_text(json.dumps(value))
    draft = draft_polygons(tmp_path)
    assert [(c.index, c.name, c.colour) for c in draft.classes[1:3]] == [
        (1, "water", (1, 2, 3)), (2, "wood", (1, 2, 3)),
    ]  # fmt: skip
    assert (draft.ignore_index, draft.classes[-1].values, draft.classes[-1].polygons) == (
        255,
        ("Ignore*", "*"),
        2,
    )
    draft.write()
    data = open_data(tmp_path)
    item = next(item for items in data.splits.values() for item in items if item.stem == STEMS[0])
    labels = data.read(item).labels
    assert (labels == 255).sum() == sum((expected_of(shape) > 0).sum() for shape, _ in shapes(0)[:2])


def expected_of(shape: Any) -> np.ndarray:
    return rasterize([(shape, 1)], SIZE, dtype="uint8")


def test_splits_of_the_table_are_kept_and_images_that_it_lacks_are_told(tmp_path: Path) -> None:
    images(tmp_path)
    sets = ["train", "Training", "valid", "test"]
    rows = [[f"{s}.jpg", "tree", 2, 3, 30, 40, which] for s, which in zip(STEMS[:4], sets, strict=True)]
    rows.append(["elsewhere.jpg", "tree", 2, 3, 30, 40, "train"])
    write_table(tmp_path / "a.csv", ["filename", "class", "xmin", "ymin", "xmax", "ymax", "split"], rows)
    draft = draft_polygons(tmp_path)
    assert draft.splits == {"train": tuple(STEMS[:2]), "val": (STEMS[2],), "test": (STEMS[3],)}
    assert any("elsewhere.jpg" in note for note in draft.notes)
    assert any(f"1 images ({STEMS[4]})" in note for note in draft.notes)
    draft.write()
    assert open_data(tmp_path).class_counts("test").tolist() == [120 * 160 - 28 * 37, 28 * 37]


def test_an_image_that_the_table_names_without_an_object_is_background(tmp_path: Path) -> None:
    images(tmp_path)
    rows = [[f"{s}.jpg", "tree", 2, 3, 30, 40] for s in STEMS[:4]] + [[f"{STEMS[4]}.jpg", "", "", "", "", ""]]
    write_table(tmp_path / "a.csv", ["filename", "class", "xmin", "ymin", "xmax", "ymax"], rows)
    draft_polygons(tmp_path).write()
    assert open_data(tmp_path).class_counts().tolist() == [5 * 120 * 160 - 4 * 28 * 37, 4 * 28 * 37]


def test_images_and_polygons_in_one_folder_are_told_the_commands_that_part_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images(tmp_path, ".")
    geojson(tmp_path / f"{STEMS[0]}.geojson", shapes(0))
    assert main(["init", str(tmp_path)]) == 1
    assert f"mv {tmp_path}/*.geojson {tmp_path}/labels" in capsys.readouterr().err


def test_coco_beside_the_images_is_told_where_it_belongs(tmp_path: Path) -> None:
    images(tmp_path)
    (tmp_path / "x.coco.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    with pytest.raises(FileProblem, match=r"mkdir -p .*labels && mv "):
        draft_polygons(tmp_path)


@pytest.mark.parametrize(
    ("head", "row", "said"),
    [
        (["filename", "class", "size"], ["a.jpg", "tree", "3"], "the columns filename, class, size"),
        (["filename", "class", "wkt"], ["a.jpg", "tree", "POLYGON ((0 0, 1"], "line 2"),
        (["filename", "class", "points"], ["a.jpg", "tree", "1 2 3"], "line 2: 3 numbers"),
        (
            ["filename", "class", "xmin", "ymin", "xmax", "ymax"],
            ["a.jpg", "tree", "a", "1", "2", "3"],
            "line 2",
        ),
        (["filename", "class", "points"], ["a.jpg", "tree", "nan 0 1 1 2 0"], "line 2"),
    ],
)
def test_a_table_that_is_none_is_one_line(tmp_path: Path, head: list[str], row: list[str], said: str) -> None:
    write_table(tmp_path / "a.csv", head, [row])
    with pytest.raises(FileProblem, match=said):
        read_table(tmp_path / "a.csv")


def test_rectangles_circles_and_ellipses_have_their_areas_and_lines_are_counted(tmp_path: Path) -> None:
    points = [
        {"label": "a", "shape_type": "rectangle", "points": [[9, 8], [4, 2]]},
        {"label": "a", "shape_type": "circle", "points": [[50, 50], [53, 54]]},
        {"label": "a", "shape_type": "line", "points": [[0, 0], [5, 5]]},
    ]
    (tmp_path / "im.json").write_text(json.dumps({"shapes": points}))
    found = read_tool_json(tmp_path / "im.json")
    assert found is not None
    areas = [shapely.geometry.shape(geometry).area for _, geometry in found.objects["im"]]
    assert areas == pytest.approx([30, np.pi * 25], rel=2e-3)
    assert found.skipped == 1


def test_the_attribute_of_classes_is_the_only_one_of_texts_or_told(tmp_path: Path) -> None:
    images(tmp_path)
    for number, stem in enumerate(STEMS):
        table(tmp_path / "labels" / f"{stem}.gpkg", shapes(number), None, field="Cover")
    draft = draft_polygons(tmp_path)
    assert (draft.label_field, [c.polygons for c in draft.classes]) == ("Cover", [0, 15, 15])
    with pytest.raises(FileProblem, match="did you mean 'Cover'"):
        draft_polygons(tmp_path, label_field="Covr")
    draft.write()
    require_drawn(tmp_path)
    (tmp_path / "splits.json").unlink()
    kept = draft_polygons(tmp_path)
    assert kept.keeps == ("classes.json",)
    assert [(c.name, c.polygons) for c in kept.classes] == [("background", 0), ("water", 15), ("wood", 15)]


def test_one_scene_is_told_how_it_can_be_all_splits(tmp_path: Path) -> None:
    images(tmp_path)
    for stem in STEMS[1:]:
        (tmp_path / "images" / f"{stem}.jpg").unlink()
    geojson(tmp_path / "labels" / f"{STEMS[0]}.geojson", shapes(0))
    assert any("data.window" in note for note in draft_polygons(tmp_path).notes)


def test_a_name_alone_of_images_in_two_folders_is_not_guessed(tmp_path: Path) -> None:
    for site, colour in (("north", (1, 2, 3)), ("south", (200, 2, 3))):
        (tmp_path / "images" / site).mkdir(parents=True)
        Image.new("RGB", (40, 30), colour).save(tmp_path / "images" / site / "a.png")
    rows = [["south/a.png", "tree", 2, 3, 30, 20], ["a.png", "tree", 2, 3, 30, 20]]
    write_table(tmp_path / "a.csv", ["image", "class", "xmin", "ymin", "xmax", "ymax"], rows)
    draft = draft_polygons(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in draft.labels] == ["labels/south/a.geojson"]
    assert any("1 images of a.csv that are not in images/ (a.png)" in note for note in draft.notes)
