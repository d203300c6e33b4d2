"""Images on a Dask cluster: the bytes are those of one process, whoever is killed in the middle."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inference_files import make_geotiff, picture
from PIL import Image

import saccade
import saccade.api.prediction as prediction_module
from range_server import serving
from saccade.cli import main
from saccade.errors import SaccadeError, UsageError
from saccade.inference import cluster as cluster_module
from saccade.inference.cluster import rows_of_part
from saccade.rasters import Output, RasterWriter
from saccade.runtime import cluster as cluster_names
from saccade.runtime import cluster_tasks
from saccade.runtime.cluster import connected
from saccade.runtime.devices import dealt_out, devices_of

distributed = pytest.importorskip("distributed", reason="the extra cluster")


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The images are tiny."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map, a Zarr and a slide of 2,300 rows in three parts, and photographs."""
    folder = tmp_path_factory.mktemp("images")
    pixels = picture((2300, 300))
    make_geotiff(folder / "map.tif", pixels)
    with RasterWriter(folder / "store.zarr", Output(pixels.shape[:2], "scores", channels=3, tile=128)) as one:
        one.append(pixels)
        one.finish()
    for number in range(3):
        Image.fromarray(picture((40, 60), seed=number)).save(folder / f"photo{number}.png")
    (folder / "torn.png").write_bytes((folder / "photo0.png").read_bytes()[:200])
    return folder


HOW: dict[str, Any] = {
    "mode": "tiles",
    "size": "16x16",
    "tile": "256x256",
    "device": "cpu",
    "progress": False,
}


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def alone(trained_folder: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process writes."""
    out = tmp_path_factory.mktemp("alone")
    saccade.predict(trained_folder, [folder], out, save="uncertainty,table", **HOW)
    return contents(out)


def test_workers_write_the_bytes_of_one_process(trained_folder, folder, alone, client, tmp_path) -> None:
    """In parts and whole, with all that is written beside; the fault of an image stops no other."""
    outcomes = saccade.predict(
        trained_folder, [folder], tmp_path / "out", save="uncertainty,table", client=client, **HOW
    )
    faults = [str(outcome.fault) for outcome in outcomes if outcome.fault is not None]
    assert len(faults) == 1 and "torn.png" in faults[0]
    assert contents(tmp_path / "out") == alone
    names = [outcome.job.image.name for outcome in outcomes]
    assert names == sorted(names) and len(names) == 6


def log_parts(path: str) -> None:
    """On a worker: a line for each part that it begins; and parts take a while."""
    real = cluster_module._opened

    def logged(work: Any, job: Any) -> Any:
        with open(path, "a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.3)
        return real(work, job)

    cluster_module._opened = logged


def test_the_part_of_a_killed_worker_is_repeated_and_no_other(
    trained_folder, folder, alone, client, tmp_path
) -> None:
    log = tmp_path / "parts.txt"
    client.run(log_parts, str(log))
    pids = client.run(os.getpid).values()
    killed = threading.Event()

    def kill() -> None:
        while not log.exists() or len(log.read_text().splitlines()) < 2:
            time.sleep(0.01)
        os.kill(int(log.read_text().splitlines()[-1]), signal.SIGKILL)
        killed.set()

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    out = tmp_path / "out"
    saccade.predict(trained_folder, folder / "map.tif", out, client=client, **HOW)
    thread.join()
    assert killed.is_set()
    assert contents(out) == {"map.tif": alone["map.tif"]}
    # Three parts; what the dead worker had begun, or held finished and had not handed over, is begun again.
    begun = len(log.read_text().splitlines())
    assert begun <= 3 + 2
    client.wait_for_workers(2, timeout=200)
    assert set(client.run(os.getpid).values()) != set(pids)


def test_an_image_elsewhere_is_read_by_the_workers(trained_folder, folder, alone, client, tmp_path) -> None:
    with serving(folder) as served:
        here = tmp_path / "out"
        address = f"{served.url}/map.tif?key=hidden-word"
        saccade.predict(trained_folder, address, here, client=client, **HOW)
    assert contents(here) == {"map.tif": alone["map.tif"]}


def test_a_run_that_was_stopped_goes_on_with_any_number_of_workers(
    trained_folder, folder, alone, client, tmp_path, monkeypatch
) -> None:
    out = tmp_path / "out"

    class StoppedError(Exception):
        pass

    real = cluster_module.Parts.__call__

    def some(self: Any, *arguments: Any) -> Iterator[Any]:
        for number, rows in enumerate(real(self, *arguments)):
            if number == 1:
                raise StoppedError
            yield rows

    monkeypatch.setattr(cluster_module.Parts, "__call__", some)
    with pytest.raises(StoppedError):
        saccade.predict(trained_folder, folder / "map.tif", out, client=client, **HOW)
    monkeypatch.undo()
    kept = (out / ".map.tif.part" / "tiles").stat().st_size
    assert kept > 0
    saccade.predict(trained_folder, folder / "map.tif", out, resume=True, **HOW)
    assert contents(out) == {"map.tif": alone["map.tif"]}


def test_workers_that_see_something_else_are_refused(trained_folder, folder, client, tmp_path) -> None:
    def other(work: Any) -> None:
        cluster_tasks.programs = lambda: ("saccade 0.0", *work[1:])

    before = cluster_tasks.programs()
    client.run(other, before)
    try:
        with pytest.raises(SaccadeError, match="the same programs on every worker: saccade"):
            saccade.predict(trained_folder, folder / "map.tif", tmp_path / "out", client=client, **HOW)
    finally:
        client.run(restore, before)


def restore(before: Any) -> None:
    cluster_tasks.programs = lambda: before


def test_the_command_takes_a_cluster(trained_folder, folder, alone, client, tmp_path, capsys) -> None:
    command = ["predict", str(trained_folder), str(folder / "map.tif"), str(tmp_path / "out"), "-q"]
    how = ["--mode", "tiles", "--size", "16x16", "--tile", "256x256", "--device", "cpu"]
    address = client.scheduler.address
    assert main([*command, *how, "--cluster", address]) == 0
    assert contents(tmp_path / "out") == {"map.tif": alone["map.tif"]}
    for words, told in (
        (["--cluster", "local:0"], "--cluster is local:N"),
        (["--cluster", "nowhere"], "--cluster is local:N"),
        (["--cluster", "local:2", "--jobs", "2"], "one alone shares the work out"),
    ):
        assert main([*command[:3], str(tmp_path / "other"), *words]) == 2
        assert told in capsys.readouterr().err


def test_devices_share_images_and_parts(
    trained_folder, folder, alone, client, tmp_path, monkeypatch, capsys
) -> None:
    """As ``--device cuda:0,1`` does with GPUs: a worker each."""
    asked: list[str] = []

    def given(where: str) -> Any:
        asked.append(where)
        return nullcontext(client)

    monkeypatch.setattr(prediction_module, "connected", given)
    saccade.predict(trained_folder, folder / "map.tif", tmp_path / "out", **HOW | {"device": "cpu:2"})
    assert asked == ["local:2"] and contents(tmp_path / "out") == {"map.tif": alone["map.tif"]}
    command = ["predict", str(trained_folder), str(folder / "map.tif"), str(tmp_path / "other"), "-q"]
    for more, told in (
        (["--cluster", "tcp://127.0.0.1:1"], "start a worker for each of its devices"),
        (["--seconds", "5"], "seconds are measured on one device"),
    ):
        assert main([*command, "--device", "cpu:2", *more]) == 2
        assert told in capsys.readouterr().err
    with pytest.raises(UsageError, match="several devices share files"):
        saccade.predict(trained_folder, folder / "photo0.png", device="cpu:2")


def test_each_process_takes_the_device_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert devices_of("cuda:0,2") == ["cuda:0", "cuda:2"]
    assert devices_of("cpu:3") == ["cpu"] * 3 and devices_of("cuda:1") == ["cuda:1"]
    assert [dealt_out("cuda:0,2", number).index for number in range(4)] == [0, 2, 0, 2]
    assert dealt_out("cpu:2", 1) == torch.device("cpu")


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals of POSIX")
def test_workers_do_not_hear_what_ends_the_program_that_asked(client) -> None:
    def deaf_to() -> set[signal.Signals]:
        return set(signal.pthread_sigmask(signal.SIG_BLOCK, []))

    both = {signal.SIGINT, signal.SIGHUP}
    assert not deaf_to() & both
    assert all(both <= mask and signal.SIGTERM not in mask for mask in client.run(deaf_to).values())


def test_a_scheduler_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_names, "SECONDS", 1)
    with pytest.raises(UsageError, match="no scheduler answers within 1 s"), connected("tcp://127.0.0.1:1"):
        pass


def test_parts_are_whole_rows_of_tiles_of_labels(trained_folder, folder) -> None:
    from saccade.inference import Job, PredictionConfig, SamplingOptions
    from saccade.inference.predict import opened_image

    model = saccade.load(trained_folder)
    job = Job(folder / "map.tif", folder / "unused.tif")
    settings = PredictionConfig(model.run.classes, SamplingOptions(mode="tiles", tile=(256, 256)))
    with opened_image(model, job, settings) as image:
        assert rows_of_part(image) == 1024
        assert rows_of_part(image, 300) == 512
    whole = PredictionConfig(model.run.classes, SamplingOptions(mode="whole"))
    with opened_image(model, job, whole) as image:
        assert rows_of_part(image) == cluster_module.WHOLE_ROWS


def test_what_was_predicted_before_changes_no_fingerprint(trained_folder, folder, tmp_path) -> None:
    """Else nothing but the first image of a program could be gone on with."""
    from saccade.inference import Job, PredictionConfig
    from saccade.inference.predict import opened_image

    model = saccade.load(trained_folder)
    job = Job(folder / "map.tif", tmp_path / "unused.tif")
    with opened_image(model, job, PredictionConfig(model.run.classes)) as image:
        before = image.mark
    saccade.predict(model, folder / "photo0.png", tmp_path / "out", save="overlay,table")
    with opened_image(model, job, PredictionConfig(model.run.classes)) as image:
        assert image.mark == before


def test_rows_packed_elsewhere_make_the_bytes_of_rows_given_here(tmp_path: Path) -> None:
    from saccade.data.classes import ClassTable
    from saccade.inference.writers import PackedRows, Values
    from saccade.warp.stitch import Strip

    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 3, (12, 5), np.uint8), np.ones((16, 32), np.uint8))
    values = Values(ClassTable(("a", "b", "c"), (3, 200, 7), ((1, 2, 3), (4, 5, 6), (7, 8, 9)), 255))
    output = Output(labels.shape, tile=32)
    with RasterWriter(tmp_path / "one.tif", output) as writer:
        writer.append(values.of(labels))
        writer.finish()
    with RasterWriter(tmp_path / "two.tif", output) as writer:
        for first, last in ((0, 96), (96, 192)):
            packed = PackedRows({"labels": output}, values)
            for top in range(first, last, 24):
                packed.put(Strip(top, labels[top : top + 24]), last=top + 24 == 192)
            for row in packed.rows["labels"]:
                writer.append_packed(row)
        writer.finish()
    assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "two.tif").read_bytes()
