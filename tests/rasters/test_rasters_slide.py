"""Slides with areas that were not scanned, against OpenSlide's own opacity."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from raster_files import halved, make_slide, scene

from saccade.rasters import Output, RasterWriter, as_rgb, open_raster, thumbnail, write_polygons

openslide = pytest.importorskip("openslide")

_IMAGE = (
    '<image name="{name}" uuid="urn:uuid:{name}"><creationDate>2012-01-01</creationDate>'
    '<device model="Leica SCN400" version="1"/><pixels sizeX="{w}" sizeY="{h}">{levels}</pixels>'
    '<view sizeX="{vw}" sizeY="{vh}" offsetX="{x}" offsetY="{y}" spacingZ="0"/><scanSettings>'
    "<objectiveSettings><objective>{power}</objective></objectiveSettings><illuminationSettings>"
    "<numericalAperture>0.4</numericalAperture><illuminationSource>brightfield</illuminationSource>"
    "</illuminationSettings></scanSettings></image>"
)
NANOMETRES = 500


def make_scn(path: Path, whole=(352, 512), at=(64, 96), size=(144, 224)) -> np.ndarray:
    """A Leica SCN whose scanned area of ``size`` lies ``at`` (top, left) of a collection of ``whole``."""
    levels = [scene(size)]
    levels.append(halved(levels[0]))
    macro = np.full((whole[0] // 20, whole[1] // 20, 3), 240, np.uint8)
    places = [(level.shape, number) for number, level in enumerate(levels)]
    dimensions = "".join(f'<dimension sizeX="{s[1]}" sizeY="{s[0]}" r="{n}" ifd="{n}"/>' for s, n in places)
    step = NANOMETRES
    main = _IMAGE.format(
        name="main", w=size[1], h=size[0], levels=dimensions, vw=size[1] * step, vh=size[0] * step,
        x=at[1] * step, y=at[0] * step, power=20,
    )  # fmt: skip
    one = f'<dimension sizeX="{macro.shape[1]}" sizeY="{macro.shape[0]}" r="0" ifd="2"/>'
    low = _IMAGE.format(
        name="macro", w=macro.shape[1], h=macro.shape[0], levels=one, vw=whole[1] * step,
        vh=whole[0] * step, x=0, y=0, power=0.6,
    )  # fmt: skip
    about = (
        '<?xml version="1.0"?>'
        '<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid="urn:uuid:1">'
        f'<collection name="c" uuid="urn:uuid:2" sizeX="{whole[1] * step}" sizeY="{whole[0] * step}">'
        f"<barcode>x</barcode>{low}{main}</collection></scn>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for number, level in enumerate([*levels, macro]):
            kinds = {"tile": (64, 64), "compression": "jpeg", "photometric": "rgb", "metadata": None}
            file.write(level, description=about if number == 0 else None, **kinds)
    return levels[0]


@pytest.fixture(scope="module")
def scn(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("slide") / "a.scn"
    make_scn(path)
    return path


def opacity(path: Path, level: int) -> np.ndarray:
    slide = openslide.OpenSlide(path)
    return np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]))[..., 3]


def test_what_was_not_scanned_is_not_valid_on_any_level(scn):
    with open_raster(scn) as raster:
        assert raster.size == (352, 512) and raster.info.masked and raster.info.origin == (96, 64)
        for level in range(len(raster.levels)):
            np.testing.assert_array_equal(raster.valid(level=level), opacity(scn, level) > 0)
        assert raster.valid().mean() == pytest.approx(144 * 224 / (352 * 512))


def test_a_thumbnail_leaves_out_what_was_not_scanned(scn):
    slide = openslide.OpenSlide(scn)
    rgba = np.asarray(slide.read_region((0, 0), 1, (256, 176))).astype(float)
    valid = rgba[..., 3:] > 0
    sums, counts = (v.reshape(44, 4, 64, 4, -1).sum((1, 3)) for v in (rgba[..., :3] * valid, valid))
    expected = np.where(counts > 0, sums / np.maximum(counts, 1), 255)
    with as_rgb(open_raster(scn)) as raster:
        assert np.abs(thumbnail(raster, (44, 64)) - expected).max() <= 0.5


def test_a_slide_without_gaps_is_not_masked(tmp_path):
    make_slide(tmp_path / "a.svs")
    with open_raster(tmp_path / "a.svs") as raster:
        assert not raster.info.masked and raster.info.origin == (0, 0) and raster.valid().all()


def test_polygons_start_where_qupath_starts(scn, tmp_path):
    with open_raster(scn) as raster:
        labels = np.where(raster.valid(), 1, 255).astype(np.uint8)
        output, origin = Output.like(raster, nodata=255), raster.info.origin
    with RasterWriter(tmp_path / "labels.ome.tif", output) as writer:
        writer.append(labels)
        writer.finish()
    with open_raster(tmp_path / "labels.ome.tif") as written:
        write_polygons(tmp_path / "p.geojson", written, skip=[255], origin=origin)
    (feature,) = json.loads((tmp_path / "p.geojson").read_text())["features"]
    corners = np.array(feature["geometry"]["coordinates"][0])
    assert corners.min(0).tolist() == [0, 0] and corners.max(0).tolist() == [224, 144]
