"""Full disks, files that change, names in any encoding, readers that leave: one line, nothing lost."""

from __future__ import annotations

import errno
import os
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import saccade
from saccade.cli.main import main
from saccade.errors import FileProblem
from saccade.inference import predict as predicting
from saccade.rasters import open_raster
from saccade.runtime import kernels
from saccade.testing import make_fake

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names are bytes on Linux")
ODD = os.fsdecode(b"b\xff\xe9 \xc3\xa9")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"{ODD}.png")
    return tmp_path / f"{ODD}.png"


def limited(words: list[str], size: int) -> tuple[int, str]:
    """Exit code and words of a command in a forked process that may write files of so many bytes alone."""
    import resource

    said, write = os.pipe()
    process = os.fork()
    if process == 0:
        code = 70
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            with os.fdopen(write, "w", errors="backslashreplace") as sys.stderr:
                code = main(words)
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(said) as file:
        told = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), told


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "RUN", "IMAGE", "OUT/o", "--device", "cpu", "-q"],
        ["report", "RUN", "-q"],
        ["view", "IMAGE", "--out", "OUT/page.html"],
        ["demo", "OUT/demo", "-q"],
    ],
)
def test_a_full_disk_is_told_in_one_line_and_leaves_no_half_file(
    words: list[str], run_folder: Path, image: Path, tmp_path: Path
) -> None:
    places = {"RUN": str(run_folder), "IMAGE": str(image)}
    out = tmp_path / "out"
    out.mkdir()
    words = [places.get(word, word.replace("OUT", str(out))) for word in words]
    code, told = limited(words, 100)
    assert code == 1 and "a file too large for this disk" in told and "defect" not in told
    assert [line[:15] for line in told.splitlines() if not line.startswith("drawing")] == ["saccade: error:"]
    assert [path for path in out.rglob("*") if path.is_file() and not path.name.startswith(".")] == []


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
    pixels = np.zeros((150, 211), np.int16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, rowsperstrip=150)
    content = bytearray((tmp_path / "a.tif").read_bytes())
    at = content.find(struct.pack("<HHI", 256, 3, 1))
    content[at : at + 12] = struct.pack("<HHII", 256, 4, 1, 1 << 30)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(FileProblem, match="which it has no bytes for"):
        open_raster(tmp_path / "a.tif")


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
