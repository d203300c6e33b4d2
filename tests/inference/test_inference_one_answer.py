"""One image and one run give one answer, however memory, threads, batches, bands and resumes cut the work."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from inference_files import CLASSES, bent, make_geotiff, picture, write_pyramid
from PIL import Image

from saccade.errors import FileProblem, InvalidInput
from saccade.inference import Job, PredictionConfig, SamplingOptions, plan, predict_image
from saccade.inference import predict as predicting
from saccade.inference.options import parse_memory
from saccade.inference.writers import RasterSink
from saccade.rasters import read_rgb

PIXELS = picture((1300, 330))
WHOLE, TILES = SamplingOptions(mode="whole"), SamplingOptions(mode="tiles", tile=(300, 160), overlap=0.2)


def png(path: Path) -> Path:
    Image.fromarray(PIXELS).save(path.with_suffix(".png"))
    return path.with_suffix(".png")


def tiff(**options: object) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        tifffile.imwrite(path.with_suffix(".tif"), PIXELS, photometric="rgb", metadata=None, **options)
        return path.with_suffix(".tif")

    return write


def with_nodata(path: Path) -> Path:
    pytest.importorskip("rasterio")
    pixels = PIXELS.copy()
    pixels[400:700, :200] = 0
    return make_geotiff(path.with_suffix(".tif"), pixels, nodata=0)


def zarr_store(path: Path) -> Path:
    zarr = pytest.importorskip("zarr")
    kind = {"mode": "w", "shape": (3, *PIXELS.shape[:2]), "chunks": (3, 100, 72), "dtype": "u1"}
    zarr.open_array(str(path.with_suffix(".zarr")), **kind)[:] = PIXELS.transpose(2, 0, 1)
    return path.with_suffix(".zarr")


FILES: dict[str, Callable[[Path], Path]] = {
    "png": png,
    "tiled": tiff(tile=(64, 48), compression="deflate"),
    "striped": tiff(rowsperstrip=13),
    "nodata": with_nodata,
    "pyramid": lambda path: write_pyramid(path.with_suffix(".tif"), PIXELS),
    "zarr": zarr_store,
}


@pytest.fixture(params=FILES)
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return FILES[request.param](tmp_path / "image")


@contextmanager
def gone_through(*, in_memory: bool, rows: int, threads: int = 1) -> Iterator[None]:
    """As ``choose_execution`` would have it with more or less memory; an image that it never keeps is not."""
    choose, before = plan.choose_execution, torch.get_num_threads()

    def chosen(*given: object, **options: object) -> tuple:
        way, about = choose(*given, **options)
        return replace(way, in_memory=way.in_memory and in_memory, rows=rows, png=False), about

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predicting, "choose_execution", chosen)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def labelled(image: Path, out: Path, sampling: SamplingOptions, **settings: object) -> bytes:
    predict_image(bent(), Job(image, out), PredictionConfig(CLASSES, sampling, **settings))
    return out.read_bytes()


@pytest.mark.parametrize("sampling", [WHOLE, TILES], ids=["whole", "tiles"])
def test_memory_bands_and_threads_do_not_change_a_byte(
    sampling: SamplingOptions, image: Path, tmp_path: Path
) -> None:
    with gone_through(in_memory=True, rows=512):
        expected = labelled(image, tmp_path / "a.ome.tif", sampling)
    for number, (in_memory, rows, threads) in enumerate(
        [(False, 512, 1), (True, 64, 2), (False, 100, 3), (False, 64, 2)]
    ):
        with gone_through(in_memory=in_memory, rows=rows, threads=threads):
            assert labelled(image, tmp_path / f"{number}.ome.tif", sampling) == expected


class Killed(BaseException):
    pass


@pytest.mark.parametrize("sampling", [WHOLE, TILES], ids=["whole", "tiles"])
@pytest.mark.parametrize("began_in_memory", [True, False])
def test_a_resume_under_another_memory_ends_in_the_same_bytes(
    sampling: SamplingOptions,
    began_in_memory: bool,
    image: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with gone_through(in_memory=began_in_memory, rows=512):
        expected = labelled(image, tmp_path / "whole.ome.tif", sampling)
    put = RasterSink.put

    def put_and_die(sink: RasterSink, band: object) -> None:
        put(sink, band)  # type: ignore[arg-type]
        if band.top >= 512:  # type: ignore[attr-defined]
            raise Killed

    monkeypatch.setattr(RasterSink, "put", put_and_die)
    with gone_through(in_memory=began_in_memory, rows=256), pytest.raises(Killed):
        labelled(image, tmp_path / "killed.ome.tif", sampling)
    monkeypatch.setattr(RasterSink, "put", put)
    with gone_through(in_memory=not began_in_memory, rows=64, threads=2):
        assert labelled(image, tmp_path / "killed.ome.tif", sampling, resume=True) == expected


@pytest.mark.parametrize("kind", ["tiled", "striped", "png"])
def test_a_file_gets_the_labels_of_its_pixels_in_memory(kind: str, tmp_path: Path) -> None:
    image = FILES[kind](tmp_path / "image")
    with gone_through(in_memory=False, rows=64):
        labelled(image, tmp_path / "a.ome.tif", WHOLE)
    pixels = torch.from_numpy(np.array(read_rgb(image).array)).permute(2, 0, 1)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.ome.tif"), bent().predict(pixels).numpy())


def test_the_least_memory_that_a_refusal_names_suffices_and_changes_nothing(tmp_path: Path) -> None:
    pixels = np.tile(PIXELS, (2, 10, 1))
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(256, 256), photometric="rgb", metadata=None)
    free = labelled(tmp_path / "a.tif", tmp_path / "free.ome.tif", WHOLE)
    with pytest.raises(InvalidInput, match="--memory") as refused:
        labelled(tmp_path / "a.tif", tmp_path / "tight.ome.tif", replace(WHOLE, memory=1 << 20))
    named = re.search("at least ([0-9]+MB)", str(refused.value))
    assert named is not None
    tight = replace(WHOLE, memory=parse_memory(named[1]))
    assert labelled(tmp_path / "a.tif", tmp_path / "tight.ome.tif", tight) == free


@pytest.mark.parametrize("change", ["weights", "look", "antialias", "option", "classes", "image", "rule"])
def test_a_resume_with_anything_that_changes_an_answer_is_refused(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, out = FILES["tiled"](tmp_path / "image"), tmp_path / "l.ome.tif"
    put = RasterSink.put

    def put_and_die(sink: RasterSink, band: object) -> None:
        put(sink, band)  # type: ignore[arg-type]
        raise Killed

    monkeypatch.setattr(RasterSink, "put", put_and_die)
    with gone_through(in_memory=True, rows=512), pytest.raises(Killed):
        labelled(image, out, TILES)
    monkeypatch.setattr(RasterSink, "put", put)
    model, settings = bent(), PredictionConfig(CLASSES, TILES, resume=True)
    if change == "weights":
        model = bent(seed=4)
    elif change == "look":
        settings = replace(settings, sampling=replace(TILES, overlap=0.3))
    elif change == "antialias":
        model.antialias = False
    elif change == "option":
        model.sampler.to_grid = replace(model.sampler.to_grid, cover=not model.sampler.to_grid.cover)  # type: ignore[union-attr]
    elif change == "classes":
        settings = replace(settings, classes=replace(CLASSES, names=("sea", "land", "ship")))
    elif change == "image":
        FILES["striped"](tmp_path / "image")
    else:
        monkeypatch.setattr(predicting, "READING_RULE", 99)
    with (
        gone_through(in_memory=True, rows=512),
        pytest.raises(FileProblem, match=r"same run|same options") as refused,
    ):
        predict_image(model, Job(image, out), settings)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("missing", ["labels", "scores", "polygons"])
@pytest.mark.parametrize("suffix", [".png", ".ome.tif"])
def test_an_output_that_is_a_dangling_link_is_refused_or_replaced(
    missing: str, suffix: str, tmp_path: Path
) -> None:
    Image.fromarray(PIXELS[:90, :80]).save(tmp_path / "a.png")
    job = Job(tmp_path / "a.png", tmp_path / f"l{suffix}", ("scores", "polygons"))
    link = job.labels if missing == "labels" else job.extra(missing)
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileProblem, match="a link to a file that does not exist"):
        predict_image(bent(), job, PredictionConfig(CLASSES))
    predict_image(bent(), job, PredictionConfig(CLASSES, overwrite=True))
    assert all(path.is_file() and not path.is_symlink() for path in job.outputs)
    assert not (tmp_path / "nowhere").exists()
