"""An area of interest: only there is read, labelled and scored, and the answer lies where it lay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyogrio", reason="the extra geo is not installed")
import rasterio
import shapely
from inference_files import CLASSES, bent, make_geotiff, picture, segmenter, write_pyramid
from PIL import Image
from rasterio.features import rasterize
from rasterio.warp import transform_geom
from rasterio.windows import Window as RasterioWindow

from saccade.data import SampleCache, open_data
from saccade.data.region import Region
from saccade.data.scenes import make_scenes
from saccade.errors import DataFaults, FileProblem, InvalidInput
from saccade.evaluation.evaluate import evaluate
from saccade.geometry import Window
from saccade.inference import PredictionConfig, SamplingOptions, list_jobs, predict_all, predict_image
from saccade.inference.layout import lay_out
from saccade.inference.predict import fingerprint, predict_array
from saccade.inference.region import region_part
from saccade.rasters import as_rgb, open_raster
from saccade.rasters.part import PartRaster, fit_to_levels

SIZE = (192, 256)


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The images are tiny."""


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return make_geotiff(tmp_path / "scene.tif", picture(SIZE))


def on_map(shape: Any, image: Path, crs: str = "EPSG:32632") -> Any:
    with rasterio.open(image) as file:
        a, b, c, d, e, f = tuple(file.transform)[:6]
        own = file.crs
    mapped = shapely.transform(shape, lambda xy: xy @ np.array([[a, b], [d, e]]).T + (c, f))
    return transform_geom(own, crs, shapely.geometry.mapping(mapped))


def write_geojson(path: Path, geometries: list[Any], crs: str | None = None) -> Path:
    features = [{"type": "Feature", "properties": {}, "geometry": one} for one in geometries]
    named = {} if crs is None else {"crs": {"type": "name", "properties": {"name": crs}}}
    path.write_text(json.dumps({"type": "FeatureCollection", **named, "features": features}))
    return path


def predicted(image: Path, out: Path, region: str | None, **sampling: Any) -> Path:
    out.mkdir(exist_ok=True)
    job = list_jobs([image], out)[0]
    wanted = None if region is None else Region.parse(region)
    settings = PredictionConfig(CLASSES, SamplingOptions(**sampling), 4.0, overwrite=True, region=wanted)
    return predict_image(bent(), job, settings).labels


SHAPES = [
    shapely.Polygon([(20.13, 30.21), (120.4, 42.77), (80.37, 130.6)]),
    shapely.Point(190.1, 100.2).buffer(21.3),
]


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326"])
def test_labels_lie_in_the_polygons_alone_and_in_their_place(scene: Path, tmp_path: Path, crs: str) -> None:
    geometries = [on_map(shape, scene, crs) for shape in SHAPES]
    region = write_geojson(tmp_path / "fields.geojson", geometries, None if crs == "EPSG:4326" else crs)
    labels = predicted(scene, tmp_path / "out", str(region), mode="tiles", tile=(64, 64))
    with rasterio.open(labels) as out, rasterio.open(scene) as whole:
        assert out.crs == whole.crs and out.nodata == 255
        window = rasterio.windows.from_bounds(*out.bounds, whole.transform)
        assert window == window.round_offsets().round_lengths()
        assert out.transform == whole.window_transform(window)
        back = [transform_geom(crs, "EPSG:32632", one) for one in geometries]
        inside = rasterize([(one, 1) for one in back], out.shape, transform=out.transform)
        np.testing.assert_array_equal(out.read(1) != 255, inside == 1)
        assert out.height < whole.height and out.width < whole.width


def test_a_region_is_labelled_as_a_file_cut_to_it(scene: Path, tmp_path: Path) -> None:
    with rasterio.open(scene) as whole:
        window = RasterioWindow(64, 32, 128, 96)
        place, pixels = whole.window_transform(window), whole.read(window=window)
        profile = {**whole.profile, "height": 96, "width": 128, "transform": place}
        left, low, right, high = rasterio.windows.bounds(window, whole.transform)
    cut = tmp_path / "cut.tif"
    with rasterio.open(cut, "w", **profile) as file:
        file.write(pixels)
        file.build_overviews([2, 4], rasterio.enums.Resampling.average)
    expected = predicted(cut, tmp_path / "a", None, mode="whole")
    found = predicted(scene, tmp_path / "b", f"{left},{low},{right},{high}", mode="whole")
    with rasterio.open(expected) as one, rasterio.open(found) as other:
        assert one.transform == other.transform and one.shape == other.shape
        np.testing.assert_array_equal(one.read(1), other.read(1))


def test_outlines_of_a_region_are_in_pixels_of_the_whole_slide(tmp_path: Path) -> None:
    image = write_pyramid(tmp_path / "slide.tif", picture(SIZE))
    (tmp_path / "out").mkdir()
    job = list_jobs([image], tmp_path / "out", ("labels", "polygons"))[0]
    settings = PredictionConfig(CLASSES, SamplingOptions(), 4.0, region=Region.parse("64,32,192,128"))
    done = predict_image(bent(), job, settings)
    with open_raster(done.labels) as out:
        labels = out.read()[..., 0]
    assert labels.shape == (96, 128)
    outlines = json.loads((tmp_path / "out" / "slide_polygons.geojson").read_text())["features"]
    drawn = np.full(SIZE, 255, np.uint8)
    for one in outlines:
        index = CLASSES.names.index(one["properties"]["classification"]["name"])
        drawn[rasterize([(one["geometry"], 1)], SIZE) == 1] = index
    np.testing.assert_array_equal(drawn[32:128, 64:192], labels)
    assert (np.delete(drawn, np.s_[32:128], 0) == 255).all()


def test_a_photo_has_a_region_in_pixels_and_says_which_rows(tmp_path: Path) -> None:
    Image.fromarray(picture(SIZE)).save(tmp_path / "photo.png")
    (tmp_path / "out").mkdir()
    settings = PredictionConfig(CLASSES, SamplingOptions(), 4.0, region=Region.parse("10,20,70,90"))
    done = predict_image(bent(), list_jobs([tmp_path / "photo.png"], tmp_path / "out")[0], settings)
    assert np.asarray(Image.open(done.labels)).shape == (70, 60)
    assert "the region alone: rows 20 to 90, columns 10 to 70" in done.notices
    in_memory = predict_array(bent(), tmp_path / "photo.png", settings)
    np.testing.assert_array_equal(in_memory, np.asarray(Image.open(done.labels)))


def test_the_levels_of_a_part_are_those_of_the_whole(tmp_path: Path) -> None:
    image = write_pyramid(tmp_path / "slide.tif", picture((201, 263)))
    with open_raster(image) as whole:
        window = fit_to_levels(Window(37, 118, 51, 259), whole)
        assert (window.top, window.left) == (36, 48)
        with PartRaster(open_raster(image), window) as part:
            assert len(part.levels) == len(whole.levels)
            for level in range(len(part.levels)):
                times = 2**level
                rows = slice(window.top // times, window.top // times + part.levels[level].size[0])
                columns = slice(window.left // times, window.left // times + part.levels[level].size[1])
                every = whole.read(level=level)
                np.testing.assert_array_equal(part.read(level=level), every[rows, columns])


def test_what_is_no_region_is_one_line(scene: Path, tmp_path: Path) -> None:
    far = on_map(shapely.affinity.translate(SHAPES[0], 9000, 0), scene)
    for text, told in [
        ("0,0,1,1", "that meets scene.tif"),
        (str(write_geojson(tmp_path / "far.geojson", [far], "EPSG:32632")), "polygons that meet scene.tif"),
        (str(write_geojson(tmp_path / "none.geojson", [])), "polygons of a region, but got none"),
        (str(tmp_path / "gone.gpkg"), "no such file"),
    ]:
        with pytest.raises(FileProblem, match=told):
            predicted(scene, tmp_path / "out", text)
    for text in ("5,5,1,1", "1,2,3", "nan,1,2,3", "fields.txt", ""):
        with pytest.raises(InvalidInput, match="XMIN,YMIN,XMAX,YMAX"):
            Region.parse(text)


def test_images_that_a_region_does_not_meet_are_told_and_the_others_predicted(tmp_path: Path) -> None:
    for name, size in (("a", SIZE), ("b", (40, 50))):
        Image.fromarray(picture(size)).save(tmp_path / f"{name}.png")
    (tmp_path / "out").mkdir()
    jobs = list_jobs([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out")
    settings = PredictionConfig(CLASSES, SamplingOptions(), 4.0, region=Region.parse("100,50,200,150"))
    first, second = predict_all(bent(), jobs, settings)
    assert first.fault is None and "meets b.png" in str(second.fault)


def test_a_resume_under_another_region_is_refused(scene: Path, tmp_path: Path) -> None:
    marks = set()
    with as_rgb(open_raster(scene)) as raster:
        settings = PredictionConfig(CLASSES, SamplingOptions(), 4.0)
        for text in (None, "500010,4999950,500060,4999990", "500010,4999950,500060,4999980"):
            part_raster, part = region_part(raster, None if text is None else Region.parse(text))
            layout = lay_out(part_raster.info, settings.sampling, (24, 32), 4.0)
            marks.add(fingerprint(bent(), scene, raster, layout, settings, part))
    assert len(marks) == 3


def test_scores_of_a_region_are_those_of_masks_cut_to_it(tmp_path: Path) -> None:
    data = make_scenes(tmp_path / "sea", count=(2, 1, 2), size=(48, 64))
    ring = shapely.Polygon([(8.1, 4.2), (59.7, 10.3), (30.4, 43.9)])
    region = write_geojson(tmp_path / "fields.geojson", [shapely.geometry.mapping(ring)])
    model = segmenter(classes=4)
    folder = open_data(data, region=str(region), splits=["test"])
    samples = [SampleCache().get(folder, item) for item in folder.split("test")]
    found = evaluate(model, samples, folder.classes).confusion
    inside = rasterize([(ring, 1)], (48, 64)) == 1
    rows, columns = np.ix_(inside.any(1), inside.any(0))
    expected = np.zeros((4, 4), int)
    for item in open_data(data).split("test"):
        labels = np.asarray(Image.open(item.mask))[rows, columns]
        pixels = np.ascontiguousarray(np.asarray(Image.open(item.image))[rows, columns])
        keep = inside[rows, columns]
        np.add.at(expected, (labels[keep], np.asarray(model.predict(pixels))[keep]), 1)
    assert (expected.sum(0) > 0).sum() >= 2
    np.testing.assert_array_equal(np.asarray(found), expected)
    with pytest.raises(DataFaults, match="images of test that the region 900,900,950,950 meets"):
        open_data(data, region="900,900,950,950", splits=["test"])
