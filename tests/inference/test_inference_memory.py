"""What ``plan`` foresees is not exceeded: the peak of a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

START = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import torch
torch.set_num_threads(2)
from inference_files import CLASSES, bent
from saccade.inference import Job, Look, Settings, predict_image
from saccade.inference.plan import make_plan
from saccade.rasters import as_rgb, open_raster

given = json.loads(sys.argv[4])
extras = tuple(given.pop("extras", ()))
given |= {"tile": tuple(given["tile"])} if "tile" in given else {}
look, model = Look(**given), bent((64, 128))
"""
PLANNED = """
with as_rgb(open_raster(sys.argv[1])) as raster:
    print(make_plan(raster, model, look, 3, extras=extras).memory_bytes)
"""
RUN = """
predict_image(model, Job(Path(sys.argv[1]), Path(sys.argv[2]), extras), Settings(CLASSES, look))
print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024)
"""


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6,000 x 20,000 in tiles of 256 with one coarser level: 360 MB of pixels, few bytes."""
    path = tmp_path_factory.mktemp("wide") / "wide.tif"
    tile = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    options = {"photometric": "rgb", "tile": (256, 256), "compression": "deflate", "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for number, size in enumerate([(6000, 20000), (1500, 5000)]):
            count = -(-size[0] // 256) * -(-size[1] // 256)
            tiles = (tile for _ in range(count))
            file.write(tiles, shape=(*size, 3), dtype="uint8", subfiletype=min(number, 1), **options)
    return path


def told_by(program: str, image: Path, out: Path, **look: object) -> int:
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", START + program, str(image), str(out), here, json.dumps(look)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the system does not tell peak memory"
)


def test_a_run_keeps_under_what_the_plan_foresees(wide: Path, tmp_path: Path) -> None:
    look = {"mode": "whole", "extras": ["scores"]}
    planned = told_by(PLANNED, wide, tmp_path, **look)
    peak = told_by(RUN, wide, tmp_path / "l.ome.tif", **look)
    assert peak <= planned < 1.4 * peak
