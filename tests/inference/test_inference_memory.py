"""What ``plan`` foresees is not exceeded: the peak of a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from inference_files import CLASSES, bent

from saccade.inference import Job, PredictionConfig, SamplingOptions, predict_image

START = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import torch
torch.set_num_threads(2)
from inference_files import CLASSES, bent
from saccade.inference import Job, SamplingOptions, PredictionConfig, predict_image
from saccade.inference.plan import make_plan
from saccade.rasters import as_rgb, open_raster

given = json.loads(sys.argv[4])
extras = tuple(given.pop("extras", ()))
given |= {"tile": tuple(given["tile"])} if "tile" in given else {}
sampling, model = SamplingOptions(**given), bent((64, 128))
"""
PLANNED = """
with as_rgb(open_raster(sys.argv[1])) as raster:
    print(make_plan(raster, model, sampling, 3, extras=extras).memory_bytes)
"""
RUN = """
predict_image(model, Job(Path(sys.argv[1]), Path(sys.argv[2]), extras), PredictionConfig(CLASSES, sampling))
print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024)
"""
WITHIN = """
import re
from dataclasses import replace
from saccade.errors import InvalidInput
job = Job(Path(sys.argv[1]), Path(sys.argv[2]), extras)
try:
    predict_image(model, job, PredictionConfig(CLASSES, replace(sampling, memory=1)))
except InvalidInput as refused:
    least = int(re.search("at least ([0-9]+)MB", str(refused))[1]) * 10**6
allowed = least + (16 << 20)
predict_image(model, job, PredictionConfig(CLASSES, replace(sampling, memory=allowed)))
print(allowed, int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024)
"""


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4,000 x 12,000 in tiles of 256 with one coarser level: 144 MB of pixels, few bytes."""
    folder = tmp_path_factory.mktemp("wide")
    small = in_tiles(folder / "small.tif", (600, 2000), (150, 500))
    # Kernels are compiled here where they never were: a program that compiles holds 200 MB more.
    job = Job(small, folder / "small.ome.tif", ("scores",))
    predict_image(bent((64, 128)), job, PredictionConfig(CLASSES, SamplingOptions(mode="whole")))
    return in_tiles(folder / "wide.tif", (4000, 12000), (1000, 3000))


def in_tiles(path: Path, *sizes: tuple[int, int]) -> Path:
    tile = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    options = {"photometric": "rgb", "tile": (256, 256), "compression": "deflate", "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for number, size in enumerate(sizes):
            count = -(-size[0] // 256) * -(-size[1] // 256)
            tiles = (tile for _ in range(count))
            file.write(tiles, shape=(*size, 3), dtype="uint8", subfiletype=min(number, 1), **options)
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,048 x 64,000 in tiles of 256 without levels: kept in memory where nothing forbids it."""
    path = tmp_path_factory.mktemp("plain") / "plain.tif"
    tile = np.arange(256 * 256 * 3, dtype=np.uint32).reshape(256, 256, 3).astype(np.uint8)
    options = {"photometric": "rgb", "tile": (256, 256), "compression": "deflate", "metadata": None}
    with tifffile.TiffWriter(path) as file:
        file.write((tile for _ in range(5 * 250)), shape=(1048, 64000, 3), dtype="uint8", **options)
    return path


def told_by(program: str, image: Path, out: Path, **sampling: object) -> list[int]:
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", START + program, str(image), str(out), here, json.dumps(sampling)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the system does not tell peak memory"
)


def test_a_run_keeps_under_what_the_plan_foresees(wide: Path, tmp_path: Path) -> None:
    sampling = {"mode": "whole", "extras": ["scores"]}
    (planned,) = told_by(PLANNED, wide, tmp_path, **sampling)
    (peak,) = told_by(RUN, wide, tmp_path / "l.ome.tif", **sampling)
    assert peak <= planned


@pytest.mark.slow
def test_a_plan_foresees_little_more_than_is_taken(wide: Path, tmp_path: Path) -> None:
    """Alone: threads that wait for other programs hold less at one time."""
    sampling = {"mode": "whole", "extras": ["scores"]}
    (planned,) = told_by(PLANNED, wide, tmp_path, **sampling)
    (peak,) = told_by(RUN, wide, tmp_path / "l.ome.tif", **sampling)
    assert planned < 1.4 * peak


@pytest.mark.parametrize("sampling", [{"mode": "whole"}, {"mode": "tiles", "tile": [1000, 8000]}])
def test_a_run_keeps_under_the_memory_that_it_is_allowed(sampling: dict, plain: Path, tmp_path: Path) -> None:
    """The least that is not refused; a run that is not told of it takes more."""
    allowed, peak = told_by(WITHIN, plain, tmp_path / "within.ome.tif", **sampling)
    (free,) = told_by(RUN, plain, tmp_path / "free.ome.tif", **sampling)
    assert peak <= allowed < free


@pytest.mark.slow
def test_what_is_saved_of_all_samples_is_foreseen(tmp_path: Path) -> None:
    """Scores of three million samples, and pictures as large as the image, kept beside labels in a PNG."""
    image = in_tiles(tmp_path / "image.tif", (3000, 4000))
    how = {"mode": "tiles", "tile": [500, 500], "pixels": 3_000_000, "overlap": 0}
    extras = ["scores", "density", "samples", "overlay"]
    allowed, peak = told_by(WITHIN, image, tmp_path / "within.png", **how, extras=extras)
    assert peak <= allowed
