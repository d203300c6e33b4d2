"""One image from file to file: every format, in bounded blocks, resumed, skipped, refused."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from inference_files import CLASSES, bent, make_geotiff, picture, segmenter, write_pyramid
from PIL import Image

from saccade.errors import FileProblem, InvalidInput, UsageError
from saccade.geometry import Window
from saccade.grids import uniform_grid
from saccade.inference import Job, PredictionConfig, SamplingOptions, Spacing, list_jobs, predict_image
from saccade.inference.label_values import Values
from saccade.rasters import journal, open_raster, read_rgb, sample_raster
from saccade.samplers import Glimpses, UniformSampler
from saccade.samplers.image_scores import PatchScores
from saccade.segmenter import Segmenter
from saccade.warp import unwarp_labels
from saccade.warp.stitch import one_patch

SETTINGS = PredictionConfig(CLASSES)
TILES = SamplingOptions(mode="tiles", tile=(300, 400), overlap=0.2)


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The images are small."""


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pyramid")
    return write_pyramid(folder / "large.tif", picture((1300, 900)))


def labels_in(path: Path) -> np.ndarray:
    with open_raster(path) as raster:
        return raster.read()[..., 0]


def predicted(
    image: Path, out: Path, settings: PredictionConfig = SETTINGS, model: Segmenter | None = None
) -> np.ndarray:
    (job,) = list_jobs([image], out)
    out.mkdir(exist_ok=True)
    predict_image(bent() if model is None else model, job, settings)
    return labels_in(job.labels)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif"])
@pytest.mark.parametrize("learned", [True, False])
def test_small_images_get_the_labels_of_the_segmenter(name: str, learned: bool, tmp_path: Path) -> None:
    Image.fromarray(picture((90, 133))).save(tmp_path / name)
    model = bent() if learned else segmenter()
    image = torch.from_numpy(np.array(read_rgb(tmp_path / name).array)).permute(2, 0, 1)
    found = predicted(tmp_path / name, tmp_path / "out", model=model)
    assert (tmp_path / "out" / "a.png").is_file()
    np.testing.assert_array_equal(found, model.predict(image).numpy())


def test_a_large_image_is_sampled_where_it_lies_and_unwarped(pyramid: Path, tmp_path: Path) -> None:
    model = segmenter(UniformSampler((40, 50)))
    found = predicted(pyramid, tmp_path / "out", model=model)
    with open_raster(pyramid) as raster:
        grid = model.sampler(batch=1).grids
        pixels = sample_raster(raster, grid)
    with torch.no_grad():
        scores = model.score((pixels / 255 - model.mean) / model.std)
    np.testing.assert_array_equal(found, unwarp_labels(scores, grid, (1300, 900))[0].numpy())


def test_single_pixels_are_read_where_the_run_was_trained_so(pyramid: Path, tmp_path: Path) -> None:
    plain = Segmenter(UniformSampler((40, 50)), segmenter().network, antialias=False).eval()
    with open_raster(pyramid) as raster:
        image = torch.from_numpy(raster.read()).permute(2, 0, 1)
    found = predicted(pyramid, tmp_path / "out", model=plain)
    assert (found == plain.predict(image).numpy()).mean() > 0.9999


@pytest.mark.parametrize("sampling", [SamplingOptions(), TILES])
def test_maps_come_back_as_maps(sampling: SamplingOptions, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    validate = pytest.importorskip("rio_cogeo").cog_validate
    pixels = picture((600, 700))
    pixels[:200, :300] = 0
    image = make_geotiff(tmp_path / "map.tif", pixels, nodata=0)
    predicted(image, tmp_path / "out", replace(SETTINGS, sampling=sampling))
    with rasterio.open(tmp_path / "out" / "map.tif") as labels, rasterio.open(image) as given:
        assert (labels.crs, labels.transform, labels.shape) == (given.crs, given.transform, given.shape)
        assert labels.nodata == 255 and labels.colormap(1)[1][:3] == (0, 120, 0)
        values = labels.read(1)
    empty = (pixels == 0).all(2)
    assert (values[empty] == 255).all() and (values[~empty] < 3).all()
    assert validate(tmp_path / "out" / "map.tif")[0]


def test_pixels_without_measurement_are_labelled_where_skipping_is_off(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    pixels = picture((300, 300))
    pixels[:100] = 0
    image = make_geotiff(tmp_path / "map.tif", pixels, nodata=0)
    found = predicted(image, tmp_path / "out", replace(SETTINGS, sampling=SamplingOptions(skip=False)))
    assert found.max() < 3


def test_zarr_comes_back_as_zarr(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    array = zarr.open_array(
        str(tmp_path / "a.zarr"), mode="w", shape=(3, 200, 260), chunks=(3, 64, 64), dtype="u1"
    )
    array[:] = picture((200, 260)).transpose(2, 0, 1)
    found = predicted(tmp_path / "a.zarr", tmp_path / "out")
    assert (tmp_path / "out" / "a.zarr").is_dir() and found.shape == (200, 260) and found.max() < 3


def test_empty_glass_is_skipped_and_everything_else_is_not(tmp_path: Path) -> None:
    slide = np.full((1200, 1600, 3), 240, np.uint8)
    slide[700:1000, 900:1500] = picture((300, 600))
    path = write_pyramid(
        tmp_path / "slide.tif", slide, resolution=(20000, 20000), resolutionunit="CENTIMETER"
    )
    sampling = SamplingOptions(mode="tiles", tile=(200, 200), overlap=0.1)
    (job,) = list_jobs([path], tmp_path)
    done = predict_image(segmenter(), job, replace(SETTINGS, sampling=sampling))
    found = labels_in(job.labels)
    assert 10 < done.skipped < done.layout.views
    assert (found[700:1000, 900:1500] < 3).all() and (found[:400, :400] == 255).all()
    looked = predicted(
        path, tmp_path / "all", replace(SETTINGS, sampling=replace(sampling, skip=False)), segmenter()
    )
    assert looked.max() < 3
    np.testing.assert_array_equal(found[800:900, 1000:1400], looked[800:900, 1000:1400])


def test_white_is_no_glass_on_a_map(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    image = make_geotiff(tmp_path / "snow.tif", np.full((400, 400, 3), 250, np.uint8))
    sampling = SamplingOptions(mode="tiles", tile=(200, 200))
    assert predicted(image, tmp_path / "out", replace(SETTINGS, sampling=sampling)).max() < 3


@pytest.mark.parametrize("sampling", [SamplingOptions(), TILES])
def test_extras_lie_beside_the_labels(sampling: SamplingOptions, pyramid: Path, tmp_path: Path) -> None:
    extras = ["scores", "density", "samples", "polygons"]
    (job,) = list_jobs([pyramid], tmp_path, extras)
    predict_image(bent(), job, replace(SETTINGS, sampling=sampling))
    labels = labels_in(job.labels)
    with open_raster(tmp_path / "large_scores.ome.tif") as raster:
        shares = raster.read().astype(int)
    assert shares.shape == (1300, 900, 3)
    chosen = np.take_along_axis(shares, labels[..., None].astype(int), 2)[..., 0]
    assert (chosen >= shares.max(2) - 1).all()
    with open_raster(tmp_path / "large_density.ome.tif") as raster:
        density = raster.read()[..., 0]
    assert density.min() >= 0 and np.isfinite(density).all() and density.max() > 0
    areas = {0: 0.0, 1: 0.0, 2: 0.0}
    for one in json.loads((tmp_path / "large_polygons.geojson").read_text())["features"]:
        rings = [np.array(ring) for ring in one["geometry"]["coordinates"]]
        signed = [(r[:-1, 0] * r[1:, 1] - r[1:, 0] * r[:-1, 1]).sum() / 2 for r in rings]
        areas[one["properties"]["class_index"]] += abs(signed[0]) - sum(abs(s) for s in signed[1:])
    assert list(areas.values()) == np.bincount(labels.ravel(), minlength=3).tolist()
    with Image.open(tmp_path / "large_samples.png") as drawn:
        dots = (np.asarray(drawn) == 255).all(2)
    assert dots.shape == (1300, 900) and 0 < dots.mean() < 0.5


def test_a_full_disk_is_one_line_and_the_work_goes_on_later(
    pyramid: Path, tmp_path: Path, monkeypatch
) -> None:
    real, calls = journal._flush, []

    def full(file) -> None:
        calls.append(file)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file)

    expected = predicted(pyramid, tmp_path / "whole")
    monkeypatch.setattr(journal, "_flush", full)
    with pytest.raises(FileProblem, match="a disk that is full; free some space"):
        predicted(pyramid, tmp_path / "out")
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".large.ome.tif.part"]
    found = predicted(pyramid, tmp_path / "out", replace(SETTINGS, resume=True))
    np.testing.assert_array_equal(found, expected)


def test_rows_of_another_run_are_not_gone_on_with(pyramid: Path, tmp_path: Path, monkeypatch) -> None:
    def stop(*_: object) -> None:
        raise FileProblem("x", "y", "z")

    monkeypatch.setattr("saccade.inference.writers.RasterSink.finish", stop)
    with pytest.raises(FileProblem):
        predicted(pyramid, tmp_path / "out")
    monkeypatch.undo()
    resumed = replace(SETTINGS, resume=True)
    for model, settings in ((segmenter(), resumed), (bent(), replace(resumed, sampling=TILES))):
        with pytest.raises(FileProblem, match=r"rows of another run or options; use the same run"):
            predicted(pyramid, tmp_path / "out", settings, model)
    assert predicted(pyramid, tmp_path / "out", resumed).shape == (1300, 900)


KILLED = """
import sys, time, torch
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from inference_files import CLASSES, bent
from saccade.inference import Job, SamplingOptions, PredictionConfig, predict_image
from saccade.rasters import RasterWriter
torch.set_num_threads(1)
given = RasterWriter.append
def slowly(self, band):
    given(self, band)
    print(self.rows_done, flush=True)
    time.sleep(0.2)
if sys.argv[4] == "slowly":
    RasterWriter.append = slowly
sampling = SamplingOptions(mode="tiles", tile=(300, 400), overlap=0.2)
settings = PredictionConfig(CLASSES, sampling, resume=True)
predict_image(bent(), Job(Path(sys.argv[1]), Path(sys.argv[2])), settings)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("rows", [512, 1024])
def test_a_killed_run_goes_on_to_the_same_bytes(rows: int, pyramid: Path, tmp_path: Path) -> None:
    here = str(Path(__file__).parent)
    path = tmp_path / "l.ome.tif"
    command = [sys.executable, "-c", KILLED, str(pyramid), str(path), here]
    process = subprocess.Popen([*command, "slowly"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        while int(process.stdout.readline()) < rows:
            pass
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert not path.exists()
    with open(tmp_path / ".l.ome.tif.part" / "journal", "rb") as journal:
        assert len(journal.read()) > 0
    predict_image(bent(), Job(pyramid, path), PredictionConfig(CLASSES, TILES, resume=True))
    (tmp_path / "unbroken").mkdir()
    whole = tmp_path / "unbroken" / "l.ome.tif"
    predict_image(bent(), Job(pyramid, whole), PredictionConfig(CLASSES, TILES))
    np.testing.assert_array_equal(labels_in(path), labels_in(whole))
    assert path.stat().st_size == whole.stat().st_size


@pytest.mark.parametrize(
    ("sampling", "words"),
    [
        (SamplingOptions(spacing=Spacing(1, "micron")), "--mpp"),
        (SamplingOptions(spacing=Spacing(1, "metre")), "--gsd"),
        (SamplingOptions(memory=20 << 20), r"--memory to be at least \d+MB for .*large\.tif"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(sampling, words, pyramid, tmp_path) -> None:
    with pytest.raises(InvalidInput, match=words):
        predicted(pyramid, tmp_path / "out", replace(SETTINGS, sampling=sampling))
    assert not list((tmp_path / "out").iterdir())


class QuarterScores(PatchScores):
    """A class for each quarter of an image."""

    classes, probabilities = 3, True

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        tops, lefts = ((0, side // 2, side) for side in size)
        corners = [(i, j) for i in (0, 1) for j in (0, 1)]
        self.regions = [Window(tops[i], tops[i + 1], lefts[j], lefts[j + 1]) for i, j in corners]

    def patches(self, numbers):
        scores = torch.eye(3)[:, :, None, None].expand(3, 3, 2, 2)
        return [one_patch(scores[n % 3], uniform_grid((2, 2))[0], self.regions[n]) for n in numbers]

    def glimpses(self) -> Glimpses:
        return Glimpses(uniform_grid((2, 2)), torch.zeros(1, dtype=torch.int64))


def test_a_sampler_with_patches_of_its_own_takes_part(pyramid: Path, tmp_path: Path) -> None:
    class Quarters(UniformSampler):
        chooses_patches = True

        def rows_of(self, image, request):
            return QuarterScores(image.size)

    model = segmenter(Quarters((4, 4)))
    found = predicted(pyramid, tmp_path / "out", model=model)
    assert {tuple(np.unique(part)) for part in (found[:650, :450], found[650:, 450:])} == {(0,)}
    assert np.unique(found[:650, 450:]) == 1 and np.unique(found[650:, :450]) == 2
    with pytest.raises(UsageError, match="Quarters chooses its own patches"):
        predicted(pyramid, tmp_path / "other", replace(SETTINGS, sampling=TILES), model)


def test_nothing_has_a_value_that_is_no_class() -> None:
    from saccade.data.classes import ClassTable

    table = ClassTable(("a", "b"), (255, 7), ((0, 0, 0), (9, 9, 9)))
    values = Values(table)
    assert values.fill_value == 254
    assert values.of(np.array([0, 1, 255], np.uint8)).tolist() == [255, 7, 254]
    assert values.ids(np.array([255, 7, 254])).tolist() == [0, 1, 255]
