"""Full disks, files that change, names in any encoding, readers that leave: one line, nothing lost."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import saccade
from saccade.cli.main import main
from saccade.errors import FileProblem
from saccade.inference import predict as predicting
from saccade.rasters.claims import require_honest_pieces
from saccade.runtime import kernels
from saccade.testing import make_fake

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names are bytes on Linux")
ODD = os.fsdecode(b"b\xff\xe9 \xc3\xa9")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"{ODD}.png")
    return tmp_path / f"{ODD}.png"


def test_a_kernel_that_no_disk_takes_runs_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from saccade.rasters import _kernels

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    made = kernels.kernel(_kernels.most_frequent.py_func)
    monkeypatch.setattr(type(made._cache), "save_overload", full)
    made = kernels.kernel(_kernels.most_frequent.py_func)
    made._cache.load_overload = lambda *_: None  # as on a new machine
    out = np.empty((1, 1), np.uint8)
    made(np.ones((2, 2), np.uint8), out)
    assert out[0, 0] == 1


def test_names_that_are_no_text_go_through(run_folder: Path, image: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    extras = "labels,table,overlay,polygons"
    saccade.predict(run_folder, image, out, save=extras, device="cpu")
    assert f"{ODD}.png" in os.listdir(out)
    assert "b\\udcff\\udce9 é.png" in (out / f"{ODD}_classes.csv").read_text(encoding="utf-8")
    saccade.predict(run_folder, image, tmp_path / "other", save="labels,table.parquet", device="cpu")
    assert main(["view", str(image), "--out", str(tmp_path / "page.html")]) == 0


def test_a_strip_that_the_file_has_no_bytes_for_is_refused_before_it_is_allocated(tmp_path: Path) -> None:
    """Input 378 of "raster tiff signed" of benchmarks/fuzz.py: 2.2 GB for a file of 63 kB."""
    (tmp_path / "a.tif").write_bytes(bytes(63_000))
    size = (150, 1 << 30)
    with pytest.raises(FileProblem, match="which it has no bytes for"):
        require_honest_pieces(tmp_path / "a.tif", [(size, size)], [tmp_path / "a.tif"])


def test_gdal_is_not_given_names_that_it_cannot_take(run_folder: Path, image: Path, tmp_path: Path) -> None:
    with pytest.raises(FileProblem, match="a name in UTF-8, as GDAL needs it"):
        saccade.predict(run_folder, image, tmp_path / "out", save="labels,polygons.gpkg", device="cpu")


def test_an_image_that_changes_while_it_is_read_gets_no_labels(
    run_folder: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: Callable = predicting._sink

    def changed(opened_image):
        os.utime(image, (1, 1))
        return opened(opened_image)

    monkeypatch.setattr(predicting, "_sink", changed)
    with pytest.raises(FileProblem, match="one that changed while it was read"):
        saccade.predict(run_folder, image, tmp_path / "out", device="cpu")
    assert os.listdir(tmp_path / "out") == []


def test_init_writes_whoever_reads_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_fake("folder", tmp_path / "data")
    for name in ("classes.json", "splits.json"):
        (data / name).unlink()

    def gone(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", gone)
    monkeypatch.setattr(sys.modules["saccade.cli.main"], "_leave_quietly", lambda: 1)
    assert main(["init", str(data)]) == 1
    assert (data / "classes.json").is_file() and (data / "splits.json").is_file()
