"""A killed run loses at most one row of tiles, its rest is found again, and nothing is ever half there."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from saccade.errors import FileProblem, InvalidInput
from saccade.rasters import Output, RasterWriter, journal, open_raster

SIZE, TILE = (300, 200), 64
LABELS = np.random.default_rng(0).integers(0, 5, SIZE).astype(np.uint8)
MAP = {"crs": "EPSG:32632", "transform": (0.5, 0.0, 500000.0, 0.0, -0.5, 5000000.0)}


def unbroken(path, **place) -> bytes:
    with RasterWriter(path, Output(SIZE, tile=TILE, **place)) as writer:
        writer.append(LABELS)
        return writer.finish().read_bytes()


@pytest.mark.parametrize("place", [{}, MAP])
@pytest.mark.parametrize("rows", [0, 10, 64, 200, 300])
def test_going_on_gives_the_bytes_of_an_unbroken_run(rows, place, tmp_path):
    path = tmp_path / "l.tif"
    output = Output(SIZE, tile=TILE, **place)
    with RasterWriter(path, output) as writer:
        if rows:
            writer.append(LABELS[:rows])
    assert not path.exists()
    with RasterWriter(path, output, resume=True) as writer:
        assert writer.rows_done == (300 if rows == 300 else rows // TILE * TILE)
        if writer.rows_done < 300:
            writer.append(LABELS[writer.rows_done :])
        writer.finish()
    assert path.read_bytes() == unbroken(tmp_path / "whole.tif", **place)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_row_that_was_cut_short_is_written_again(tmp_path):
    path = tmp_path / "l.tif"
    expected = unbroken(tmp_path / "whole.tif")
    for name in ("tiles", "journal"):
        for lost in (1, 5, 40):
            with RasterWriter(path, Output(SIZE, tile=TILE), overwrite=True) as writer:
                writer.append(LABELS[:200])
                folder = writer.folder
            with (folder / name).open("r+b") as file:
                file.truncate(file.seek(0, os.SEEK_END) - lost)
            with RasterWriter(path, Output(SIZE, tile=TILE), resume=True, overwrite=True) as writer:
                assert writer.rows_done in (128, 64)
                writer.append(LABELS[writer.rows_done :])
                writer.finish()
            assert path.read_bytes() == expected


def test_a_damaged_journal_line_ends_what_counts(tmp_path):
    path = tmp_path / "l.tif"
    with RasterWriter(path, Output(SIZE, tile=TILE)) as writer:
        writer.append(LABELS[:200])
        folder = writer.folder
    data = bytearray((folder / "journal").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "journal").write_bytes(data)
    with RasterWriter(path, Output(SIZE, tile=TILE), resume=True) as writer:
        assert writer.rows_done == 64


def test_without_resume_the_rest_of_a_killed_run_is_thrown_away(tmp_path):
    path = tmp_path / "l.tif"
    with RasterWriter(path, Output(SIZE, tile=TILE)) as writer:
        writer.append(LABELS[:200] * 0)
    with RasterWriter(path, Output(SIZE, tile=TILE)) as writer:
        assert writer.rows_done == 0
        writer.append(LABELS)
        writer.finish()
    assert path.read_bytes() == unbroken(tmp_path / "whole.tif")


def test_other_options_are_not_resumed(tmp_path):
    with RasterWriter(tmp_path / "l.tif", Output(SIZE, tile=TILE)) as writer:
        writer.append(LABELS[:64])
    with pytest.raises(FileProblem, match=r"other options.*leave resume=True out"):
        RasterWriter(tmp_path / "l.tif", Output(SIZE, tile=32), resume=True)
    with RasterWriter(tmp_path / "l.tif", Output(SIZE, tile=TILE), resume=True) as writer:
        assert writer.rows_done == 64


def test_rows_can_be_rewound_to_what_several_outputs_share(tmp_path):
    with RasterWriter(tmp_path / "l.tif", Output(SIZE, tile=TILE)) as writer:
        writer.append(LABELS[:200] * 0)
        with pytest.raises(InvalidInput, match="multiple of 64"):
            writer.rewind(63)
        with pytest.raises(InvalidInput, match="up to 192"):
            writer.rewind(256)
        writer.rewind(64)
        writer.rewind(0)
        writer.append(LABELS)
        writer.finish()
    assert (tmp_path / "l.tif").read_bytes() == unbroken(tmp_path / "whole.tif")


def test_two_programs_do_not_write_one_output(tmp_path):
    pytest.importorskip("fcntl", reason="no file locks on this system")
    with (
        RasterWriter(tmp_path / "l.tif", Output(SIZE, tile=TILE)) as first,
        pytest.raises(FileProblem, match="being written now"),
    ):
        RasterWriter(tmp_path / "l.tif", Output(SIZE, tile=TILE))
    assert first.rows_done == 0


@pytest.mark.parametrize("name", ["l.tif", "l.zarr"])
def test_what_exists_is_kept_until_the_new_output_is_complete(name, tmp_path):
    path = tmp_path / name
    output = Output(SIZE, tile=TILE)
    with RasterWriter(path, output) as writer:
        writer.append(LABELS)
        writer.finish()
    with pytest.raises(FileProblem, match=r"exists.*overwrite=True"):
        RasterWriter(path, output)
    with RasterWriter(path, output, overwrite=True) as writer:
        writer.append(LABELS * 0)
        with open_raster(path) as raster:
            np.testing.assert_array_equal(raster.read()[..., 0], LABELS)
        writer.finish()
    with open_raster(path) as raster:
        assert not raster.read().any()
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_an_output_that_came_up_meanwhile_is_kept_and_nothing_is_lost(tmp_path):
    path = tmp_path / "l.tif"
    with RasterWriter(path, Output(SIZE, tile=TILE)) as writer:
        writer.append(LABELS)
        path.write_text("someone else's")
        with pytest.raises(FileProblem, match="exists"):
            writer.finish()
        assert path.read_text() == "someone else's"
        path.unlink()
        writer.finish()
    assert path.read_bytes() == unbroken(tmp_path / "whole.tif")


def test_a_full_disk_is_said_and_the_work_can_go_on(tmp_path, monkeypatch):
    path = tmp_path / "l.tif"
    real, calls = journal._flush, []

    def full(file):
        calls.append(file)
        if len(calls) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file)

    monkeypatch.setattr(journal, "_flush", full)
    with (
        RasterWriter(path, Output(SIZE, tile=TILE)) as writer,
        pytest.raises(FileProblem, match="disk that is full"),
    ):
        writer.append(LABELS)
    monkeypatch.undo()
    assert not path.exists()
    with RasterWriter(path, Output(SIZE, tile=TILE), resume=True) as writer:
        assert writer.rows_done == 128
        writer.append(LABELS[128:])
        writer.finish()
    assert path.read_bytes() == unbroken(tmp_path / "whole.tif")


KILLED = """
import sys, numpy as np
from saccade.rasters import Output, RasterWriter
labels = np.load(sys.argv[1])
with RasterWriter(sys.argv[2], Output(labels.shape, tile=16)) as writer:
    while True:
        for row in range(0, 288, 16):
            writer.append(labels[row:row + 16])
            print(writer.rows_done, flush=True)
        writer.rewind(16)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("lines", [3, 11])
def test_a_killed_program_leaves_whole_rows(lines, tmp_path):
    np.save(tmp_path / "labels.npy", LABELS)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "labels.npy"), str(tmp_path / "l.tif")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        for _ in range(lines):
            seen = process.stdout.readline()
        time.sleep(0.003)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert int(seen) == 16 * lines and not (tmp_path / "l.tif").exists()
    with RasterWriter(tmp_path / "l.tif", Output(SIZE, tile=16), resume=True) as writer:
        assert writer.rows_done >= int(seen)
        writer.append(LABELS[writer.rows_done :])
        writer.finish()
    with open_raster(tmp_path / "l.tif") as raster:
        np.testing.assert_array_equal(raster.read()[..., 0], LABELS)


def test_a_disk_that_takes_no_more_is_one_line_and_keeps_what_is_done(tmp_path):
    """The system itself refuses, as a full disk does; then there is room again."""
    resource = pytest.importorskip("resource")
    labels = np.random.default_rng(0).integers(0, 7, (1024, 512), np.uint8)
    output = Output(labels.shape, tile=32)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with (
            pytest.raises(FileProblem, match=r"l\.ome\.tif: expected a place to write"),
            RasterWriter(tmp_path / "l.ome.tif", output) as writer,
        ):
            for top in range(0, 1024, 32):
                writer.append(labels[top : top + 32])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with RasterWriter(tmp_path / "l.ome.tif", output, resume=True) as writer:
        assert 32 <= writer.rows_done < 1024
        writer.append(labels[writer.rows_done :])
        writer.finish()
    with open_raster(tmp_path / "l.ome.tif") as raster:
        np.testing.assert_array_equal(raster.read()[..., 0], labels)


@pytest.mark.parametrize("name", ["tiles", "about.json", "journal"])
def test_a_journal_that_is_damaged_is_refused_or_begun_anew(name, tmp_path):
    """Found by benchmarks/fuzz.py, inputs 0 and 65 of "journal"."""
    labels = np.random.default_rng(0).integers(0, 3, (96, 70), np.uint8)
    with RasterWriter(tmp_path / "a.ome.tif", Output((96, 70), tile=32)) as writer:
        writer.append(labels[:64])
    file = tmp_path / ".a.ome.tif.part" / name
    content = bytearray(file.read_bytes())
    content[20:24] = b"\xff\xfe\xfd\xfc"
    file.write_bytes(content)
    try:
        with RasterWriter(tmp_path / "a.ome.tif", Output((96, 70), tile=32), resume=True) as writer:
            writer.append(labels[writer.rows_done :])
            path = writer.finish()
    except FileProblem as error:
        assert "part" in str(error) and "\n" not in str(error)
        return
    with open_raster(path) as raster:
        assert (raster.read()[..., 0] == labels).all()
