"""Images elsewhere are labelled as those here, by few bytes, and gone on with where a host had failed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from inference_files import make_geotiff, picture

import saccade
from saccade.cli import main
from saccade.errors import UsageError
from saccade.rasters import Output, RasterWriter
from saccade.rasters import remote as remote_module
from saccade.rasters import tiff as tiff_module

pytest.importorskip("fsspec", reason="files elsewhere need the extra remote")


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The images are tiny."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_module, "FIRST_WAIT", 0.001)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map with thumbnails, and a Zarr; 1,300 x 1,100 pixels that hardly pack."""
    folder = tmp_path_factory.mktemp("elsewhere")
    pixels = picture((1300, 1100)) // 2 + np.random.default_rng(0).integers(0, 90, (1300, 1100, 3), np.uint8)
    make_geotiff(folder / "map.tif", pixels)
    grey = Output(pixels.shape[:2], "scores", channels=3, names=("r", "g", "b"), tile=128)
    with RasterWriter(folder / "store.zarr", grey) as writer:
        writer.append(pixels)
        writer.finish()
    return folder


TILES = ["--mode", "tiles", "--size", "32x32", "--tile", "160x160", "--device", "cpu", "-q"]


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", ["map.tif", "store.zarr"])
@pytest.mark.parametrize("how", [TILES, ["--mode", "whole", "--device", "cpu", "-q"]])
def test_labels_are_those_of_the_file_here(name, how, trained_folder, served, folder, tmp_path) -> None:
    for source, out in ((f"{served.url}/{name}", "there"), (str(folder / name), "here")):
        assert main(["predict", str(trained_folder), source, str(tmp_path / out), *how]) == 0
    assert contents(tmp_path / "there") == contents(tmp_path / "here") != {}


def test_little_more_is_read_than_the_tiles_needed(
    trained_folder, served, folder, tmp_path, monkeypatch, capsys
) -> None:
    """The tiles that a prediction from the disk reads, each once, by the tables of the file."""
    needed: dict[tuple[object, int], int] = {}
    real = tiff_module.PageReader._bytes

    def spied(self, index, skip, count):
        needed[self.page.index, index] = self._counts[index]
        return real(self, index, skip, count)

    monkeypatch.setattr(tiff_module.PageReader, "_bytes", spied)
    here = ["predict", str(trained_folder), str(folder / "map.tif"), str(tmp_path / "here"), *TILES]
    assert main(here) == 0
    there = ["predict", str(trained_folder), f"{served.url}/map.tif", str(tmp_path / "there"), *TILES]
    assert main(there) == 0
    assert served.bytes <= 1.2 * sum(needed.values())
    read = served.bytes
    capsys.readouterr()
    assert main(["plan", f"{served.url}/map.tif", str(trained_folder), "--json", *TILES[:-1]]) == 0
    foreseen = json.loads(capsys.readouterr().out)["remote_bytes"]
    assert 0.5 * read < foreseen < 2 * read


def test_a_job_that_a_host_breaks_off_goes_on(trained_folder, served, tmp_path, capsys) -> None:
    command = ["predict", str(trained_folder), f"{served.url}/map.tif"]
    assert main([*command, str(tmp_path / "whole"), *TILES]) == 0
    whole = served.bytes
    served.forget()
    served.fault = lambda number, again: 503 if served.bytes > 0.75 * whole else None
    assert main([*command, str(tmp_path / "out"), *TILES]) == 1
    assert "an error of its server (HTTP 503); tried 5 times" in capsys.readouterr().err
    served.forget()
    served.fault = lambda number, again: None
    assert main([*command, str(tmp_path / "out"), *TILES, "--resume"]) == 0
    assert served.bytes < 0.92 * whole  # a row of tiles of three was on the disk
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


SECRET = "hidden-word"


def test_no_secret_is_printed_or_kept(trained_folder, served, tmp_path, capsys) -> None:
    address = f"{served.url.replace('://', f'://me:{SECRET}@')}/map.tif?signature={SECRET}"
    how = ["--mode", "whole", "--device", "cpu", "--save", "table"]
    assert main(["predict", str(trained_folder), address, str(tmp_path / "out"), *how]) == 0
    assert main(["info", address]) == 0
    assert main(["plan", address, str(trained_folder), "--device", "cpu"]) == 0
    served.fault = lambda number, again: 403
    assert main(["predict", str(trained_folder), address, str(tmp_path / "out2"), "-v"]) == 1
    said = capsys.readouterr()
    assert SECRET not in said.out + said.err and "signature" not in said.out + said.err
    found = contents(tmp_path / "out")
    assert {"map.tif", "map_classes.csv", "map_objects.csv"} == set(found)
    assert not any(SECRET.encode() in data for data in found.values())


def test_a_list_leads_elsewhere_only_where_that_is_allowed(trained_folder, served, tmp_path, capsys) -> None:
    (tmp_path / "list.txt").write_text(f"{served.url}/map.tif\n")
    command = ["predict", str(trained_folder), str(tmp_path / "list.txt"), str(tmp_path / "out")]
    assert main([*command, "--mode", "whole", "--device", "cpu"]) == 1
    assert "allow it with --allow-outside" in capsys.readouterr().err and served.bytes == 0
    assert main([*command, "--mode", "whole", "--device", "cpu", "--allow-outside"]) == 0


def test_labels_are_not_written_to_an_address(trained_folder, served, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["predict", str(trained_folder), f"{served.url}/map.tif", "s3://maps/out"]) == 2
    assert "a folder here, not an address" in capsys.readouterr().err
    with pytest.raises(UsageError, match="not an address"):
        saccade.predict(trained_folder, f"{served.url}/map.tif", "https://maps.org/out")
    assert list(tmp_path.iterdir()) == []


def test_python_takes_addresses(trained_folder, served, folder) -> None:
    model = saccade.load(trained_folder)
    labels = saccade.predict(model, f"{served.url}/map.tif", mode="whole")
    assert np.array_equal(labels, saccade.predict(model, folder / "map.tif", mode="whole"))
    assert saccade.plan(f"{served.url}/map.tif", model).remote_bytes > 0
    assert saccade.plan(folder / "map.tif", model).remote_bytes is None
