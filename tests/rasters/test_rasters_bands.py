"""Bands of a file in its own values: names, types, what was not measured, and files of another kind."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

import saccade
from saccade.errors import FileProblem, InvalidInput
from saccade.rasters import open_raster, thumbnail
from saccade.rasters.bands import BandRaster, Bands, as_bands, read_bands, steps_of
from saccade.rasters.picture import parse_picture, picture_of, seen_alone, usual_picture, with_picture
from saccade.sources import Reading, opened_raster, source_of_raster

SENTINEL = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"]


def write(path: Path, pixels: np.ndarray, names: list[str] | None = None, **options) -> Path:
    """(C, H, W) as a GeoTIFF, by rasterio."""
    count, height, width = pixels.shape
    place = {"crs": "EPSG:32632", "transform": from_origin(500000, 5200000, 10, 10)}
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": pixels.dtype}
    with rasterio.open(path, "w", **profile, **place, **options) as file:
        file.write(pixels)
        if names:
            file.descriptions = names
    return path


def noise(count: int, dtype: str, size: tuple[int, int] = (40, 60), high: int = 3000) -> np.ndarray:
    return np.random.default_rng(0).integers(1, high, (count, *size)).astype(dtype)


def test_names_and_type_are_those_of_the_file(tmp_path):
    path = write(tmp_path / "scene.tif", noise(13, "int16"), SENTINEL)
    with open_raster(path) as raster:
        assert list(raster.info.bands) == SENTINEL
        bands = Bands.of(raster.info, "b04, B3,2")
    assert (bands.names, bands.numbers, bands.dtype) == (("B4", "B3", "B2"), (4, 3, 2), "int16")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_values_are_those_of_the_file(tmp_path, dtype):
    pixels = noise(5, dtype, high=250)
    path = write(tmp_path / "scene.tif", pixels, photometric="minisblack")
    with open_raster(path) as raster:
        bands = Bands.of(raster.info, "5,2")
    values, notices = read_bands(path, bands)
    assert (values == pixels[[4, 1]].transpose(1, 2, 0)).all()
    assert values.dtype == (np.uint8 if dtype == "uint8" else np.float32)
    assert not any("8 bits" in notice for notice in notices)


@pytest.mark.parametrize("whole", [True, False], ids=["memory", "disk"])
@pytest.mark.parametrize("nodata", [None, -99.0])
def test_what_was_not_measured_counts_in_no_mean_of_its_band(tmp_path, whole, nodata):
    pixels = noise(2, "float32", (32, 48))
    missing = np.random.default_rng(1).random(pixels.shape) < 0.4
    missing[1, :8, :8] = True
    pixels[missing] = np.nan if nodata is None else nodata
    path = write(tmp_path / "scene.tif", pixels, nodata=nodata)
    grid = saccade.uniform_grid((32, 48))  # of every pixel
    with open_raster(path) as file, as_bands(file, Bands.of(file.info)) as raster:
        source = source_of_raster(raster, whole=whole)
        sampled = source.sample(grid, antialias=False)[0].numpy()
        means, shares = sampled[:2], sampled[2:]
        assert np.allclose(shares, ~missing, atol=1e-4)
        assert np.allclose(means[~missing], pixels[~missing], atol=0.1)
        valid = raster.valid()
    assert (valid == ~missing.all(axis=0)).all()  # a pixel of which some band was measured


def test_means_over_footprints_are_of_what_was_measured_in_each_band(tmp_path):
    pixels = noise(3, "float32", (64, 64))
    truth = pixels.astype(np.float64)
    truth[0, ::2] = np.nan
    truth[2, 16:32, 16:32] = np.nan
    path = write(tmp_path / "scene.tif", truth.astype(np.float32))
    network = torch.nn.Conv2d(3, 2, 1)
    segmenter = saccade.Segmenter(
        saccade.UniformSampler((4, 4)), network, mean=[0, 0, 0], std=[1, 1, 1], bands=_bands(path)
    )
    with opened_raster(path, reading=segmenter.reading) as raster:
        image = segmenter.view(source_of_raster(raster))
        # A grid whose samples lie in the middle of blocks of 16 pixels, which are then their footprints.
        centres = (torch.arange(4) * 16 + 7.5) / 63 * 2 - 1
        grid = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1)[None]
        seen = image.read(grid)[0].numpy()
    blocks = truth.reshape(3, 4, 16, 4, 16)
    inside = blocks[:, 1:3, :, 1:3].transpose(0, 1, 3, 2, 4).reshape(3, 2, 2, -1)
    counts = np.maximum(np.isfinite(inside).sum(-1), 1)
    expected = np.where(np.isnan(inside).all(-1), np.nan, np.nansum(inside, -1) / counts)
    inner = seen[:, 1:3, 1:3]
    assert inner[2, 0, 0] == 0  # nothing measured: the mean of training
    measured = ~np.isnan(expected)
    assert np.allclose(inner[measured], expected[measured], rtol=0.05)
    assert np.isfinite(seen).all()


def _bands(path: Path) -> Bands:
    with open_raster(path) as raster:
        return Bands.of(raster.info)


@pytest.mark.parametrize(
    ("other", "names", "words"),
    [
        (noise(4, "int16"), SENTINEL[:4], "none called B5"),
        (noise(12, "int16"), None, "13 bands"),
        (noise(13, "uint16"), SENTINEL, "int16 samples"),
        (noise(13, "int16", high=100) // 50, SENTINEL, "values up to about"),
    ],
    ids=["lacks a band", "count", "type", "unit"],
)
def test_a_file_of_another_kind_is_refused_with_both_sides(tmp_path, other, names, words):
    run = _bands(write(tmp_path / "trained.tif", noise(13, "int16"), SENTINEL))
    run = Bands(**{**run.__dict__, "low": (100.0,) * 13, "high": (2900.0,) * 13})
    path = write(tmp_path / "other.tif", other, names)
    with open_raster(path) as raster, pytest.raises(FileProblem, match=r"the run.*got") as caught:
        as_bands(raster, run)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def trained_on(tmp_path: Path, pixels: np.ndarray, **options) -> Bands:
    """What a run knows of the bands of an image."""
    path = write(tmp_path / "trained.tif", pixels, **options)
    with open_raster(path) as raster:
        bands = Bands.of(raster.info)
    values = pixels.reshape(len(pixels), -1).T.astype(np.float32)
    low, high = np.quantile(values, [0.02, 0.98], axis=0).tolist()
    return replace(bands, low=tuple(low), high=tuple(high), step=steps_of(values))


COUNTS = np.random.default_rng(0).gamma(2, 400, (3, 300, 400)).clip(0, 4095).astype(np.uint16)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (COUNTS << 4, "in steps of 1, as of the run, but got in steps of 16"),
        ((COUNTS // 2) << 4, "but got in steps of 16"),
        (COUNTS * 10, "but got in steps of 10"),
        (COUNTS // 3, None),
        (COUNTS // 12, None),
        (np.minimum(COUNTS.astype(int) * 7 // 2 + COUNTS % 3, 65535).astype(np.uint16), None),
        (COUNTS // 8 * 8, None),
    ],
    ids=["shifted", "shifted and darker", "ten times", "darker", "dark", "bright", "compressed"],
)
@pytest.mark.parametrize("levels", [False, True])
def test_another_unit_is_told_from_another_light(tmp_path, other, words, levels):
    run = trained_on(tmp_path, COUNTS)
    path = write(tmp_path / "other.tif", other, tiled=True, blockxsize=64, blockysize=64)
    if levels:  # of means, which are multiples of nothing
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2, 4], rasterio.enums.Resampling.average)
    with open_raster(path) as raster:
        if words is None:
            as_bands(raster, run)
            return
        with pytest.raises(FileProblem, match=words):
            as_bands(raster, run)


def test_steps_of_a_run_that_were_larger_are_another_unit_too(tmp_path):
    run = trained_on(tmp_path, COUNTS << 4)
    for other, refused in ((COUNTS, True), ((COUNTS // 6) << 4, False)):
        with open_raster(write(tmp_path / "other.tif", other)) as raster:
            if not refused:
                as_bands(raster, run)
                continue
            with pytest.raises(FileProblem, match="in steps of 16, as of the run, but got in steps of 1"):
                as_bands(raster, run)


def test_decibels_are_no_powers(tmp_path):
    power = np.random.default_rng(0).gamma(2, 0.05, (2, 60, 80)).astype(np.float32) + 1e-3
    decibels = 10 * np.log10(power)
    for trained, other, words in ((power, decibels, "above zero"), (decibels, power + 4, "below zero")):
        run = trained_on(tmp_path, trained)
        with open_raster(write(tmp_path / "other.tif", other)) as raster, pytest.raises(FileProblem) as told:
            as_bands(raster, run)
        assert words in str(told.value) and "as of the run" in str(told.value)
        with open_raster(write(tmp_path / "other.tif", trained * np.float32(0.3))) as raster:
            as_bands(raster, run)
    near_zero = COUNTS[:2].astype(np.int16) - 3  # dark water after an offset was taken off
    run = trained_on(tmp_path, COUNTS[:2].astype(np.int16))
    with open_raster(write(tmp_path / "other.tif", near_zero // 5)) as raster:
        as_bands(raster, run)


@pytest.mark.parametrize("beside", [False, True], ids=["in the file", "beside it"])
def test_scale_and_offset_that_files_say_must_be_the_same(tmp_path, beside):
    def said(name: str, scale: float, offset: float) -> Path:
        path = write(tmp_path / name, COUNTS, ["B2", "B3", "B4"])
        if beside:
            bands = "".join(
                f'<PAMRasterBand band="{n}"><Offset>{offset}</Offset><Scale>{scale}</Scale></PAMRasterBand>'
                for n in (1, 2, 3)
            )
            path.with_name(f"{name}.aux.xml").write_text(f"<PAMDataset>{bands}</PAMDataset>")
        else:
            with rasterio.open(path, "r+") as file:
                file.scales, file.offsets = (scale,) * 3, (offset,) * 3
        with rasterio.open(path) as file:
            assert file.scales == (scale,) * 3 and file.offsets == (offset,) * 3
        return path

    run = _bands(said("trained.tif", 1e-4, 0.0))
    assert run.scaling == ((1e-4, 0.0),) * 3 and run.bare == run
    assert Bands.from_dict(run.to_dict(), tmp_path) == run
    with open_raster(said("same.tif", 1e-4, 0.0)) as raster:
        as_bands(raster, run)
    with open_raster(write(tmp_path / "silent.tif", COUNTS, ["B2", "B3", "B4"])) as raster:
        as_bands(raster, run)
    words = r"B2 with scale 0.0001 and offset 0, as of the run, but got scale 0.0001 and offset -0.1"
    with open_raster(said("newer.tif", 1e-4, -0.1)) as raster, pytest.raises(FileProblem, match=words):
        as_bands(raster, run)


def test_a_file_without_names_is_taken_by_number_with_a_notice(tmp_path):
    run = _bands(write(tmp_path / "trained.tif", noise(13, "int16"), SENTINEL))
    path = write(tmp_path / "other.tif", noise(13, "int16"))
    with open_raster(path) as file, as_bands(file, run) as raster:
        assert any("taken by number" in notice for notice in raster.notices)


def test_bands_of_another_order_are_found_by_name(tmp_path):
    run = _bands(write(tmp_path / "trained.tif", noise(3, "uint16"), ["B2", "B3", "B4"]))
    pixels = noise(3, "uint16")
    path = write(tmp_path / "other.tif", pixels, ["B04", "B02", "B03"])
    assert (read_bands(path, run)[0] == pixels[[1, 2, 0]].transpose(1, 2, 0)).all()


def test_bands_are_the_same_once_written_down():
    known = Bands(("a", "b"), (1, 2), 2, "uint16", True, (1.5, 2.5), (0.1, 3.0), (0.0, 0.0), (9.0, 8.0))
    known = with_picture(known, None)
    assert Bands.from_dict(known.to_dict(), Path("config.yaml")) == known
    with pytest.raises(FileProblem, match="the bands of a run"):
        Bands.from_dict({**known.to_dict(), "mean": [1.0]}, Path("config.yaml"))


@pytest.mark.parametrize(
    ("names", "picture"),
    [
        (SENTINEL, (3, 2, 1)),
        (["B02", "B03", "B04", "B08"], (2, 1, 0)),
        (["SR_B2", "SR_B3", "SR_B4"], (2, 1, 0)),
        (["TCI_R", "TCI_G", "TCI_B", "B8", "B12"], (0, 1, 2)),
        (["red", "green", "blue", "4"], (0, 1, 2)),
        (["blue", "green", "red", "nir"], (2, 1, 0)),
        (["1"], (0,)),
        (["DAPI", "FITC", "Cy3"], (2, 1, 0)),
        (["1", "2"], (0, 1, 0)),
        ([str(n) for n in range(1, 14)], (3, 2, 1)),
        (["1", "2", "3", "4"], (0, 1, 2)),
    ],
)
def test_the_usual_picture(names, picture):
    assert usual_picture(names) == picture


def test_a_picture_as_asked():
    assert parse_picture("B8,3,b2:0,3000", SENTINEL) == ((7, 2, 1), ((0.0, 3000.0),) * 3)
    for wrong in ("B8,B3", "B99", "B8:5,1", ""):
        with pytest.raises(InvalidInput, match=r"data\.picture"):
            parse_picture(wrong, SENTINEL)


def test_a_picture_runs_from_its_low_to_its_high_value():
    bands = Bands(("a",), (1,), 1, "uint16", low=(100.0,), high=(300.0,), picture=(0,))
    bands = with_picture(bands, None)
    drawn = picture_of(np.array([[[0.0], [100.0], [200.0], [300.0], [9000.0], [np.nan]]]), bands)
    assert drawn[0].tolist() == [[v] * 3 for v in (0, 0, 128, 255, 255, 0)]


def test_a_file_alone_is_drawn_between_its_own_percentiles(tmp_path):
    pixels = noise(13, "int16", (50, 50))
    with open_raster(write(tmp_path / "scene.tif", pixels)) as raster:
        shown = thumbnail(seen_alone(raster), (50, 50))
    low, high = np.quantile(pixels[3], (0.02, 0.98))
    red = np.clip((pixels[3] - low) / (high - low) * 255, 0, 255)
    assert np.abs(shown[..., 0] - red).max() <= 1


def test_opacity_is_a_band_only_where_it_is_named(tmp_path):
    pixels = noise(4, "uint8", high=250)
    pixels[3, :, ::2] = 0
    path = write(tmp_path / "naip.tif", pixels, photometric="rgb", alpha="yes")
    with open_raster(path) as raster:
        assert raster.info.alpha
        assert Bands.of(raster.info).numbers == (1, 2, 3)
        taken = BandRaster(raster, [n - 1 for n in Bands.of(raster.info, "1,2,3,4").numbers])
        assert taken.valid().all() and (taken.read() == pixels.transpose(1, 2, 0)).all()


def test_arrays_of_bands_are_told_from_photographs():
    segmenter = saccade.Segmenter(
        saccade.UniformSampler((4, 4)), torch.nn.Conv2d(5, 2, 1), mean=[100.0] * 5, std=[10.0] * 5
    )
    assert segmenter.reading == Reading(None, 5)
    image = np.random.default_rng(0).integers(50, 150, (20, 30, 5)).astype(np.uint16)
    assert segmenter.segment(image).labels.shape == (20, 30)
    assert segmenter.segment(image).picture().shape == (20, 30, 3)
    with pytest.raises(InvalidInput, match="shape"):
        segmenter.segment(np.zeros((20, 30, 3), np.uint8))
    missing = image.astype(np.float32)
    missing[:10] = np.nan
    assert segmenter.forward(torch.tensor(missing).permute(2, 0, 1)[None]).scores.isfinite().all()
