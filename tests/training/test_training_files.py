"""Files of a run appear whole or not at all, and a run goes on with the data that it was started with."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from training_runs import assert_same_weights, rows, weights_of

from saccade.data import open_data
from saccade.data.scenes import make_scenes
from saccade.errors import FileProblem
from saccade.runtime.files import write_file
from saccade.training import Config, Run, train
from saccade.training.loop import Interrupted
from saccade.training.run_folder import open_config, read_checkpoint

Train = Callable[..., Run]
OnEpoch = Callable[[int, int, dict[str, float]], None]


def stop_after(epochs: int) -> OnEpoch:
    def stop(done: int, _: int, __: dict[str, float]) -> None:
        if done == epochs:
            os.kill(os.getpid(), signal.SIGINT)

    return stop


def failing_write(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full when a file is finished for the ``at``-th time."""
    calls = iter(range(1, 1000))
    real = os.fsync

    def full(descriptor: int) -> None:
        if next(calls) == at:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)


def parts(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.name.endswith(".part")]


def test_temporary_files_lie_in_the_run_folder(
    tiny_train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no such folder"))
    run = tiny_train("run", "training.epochs=1")
    assert read_checkpoint(run.path / "checkpoints" / "last.ckpt")["epoch"] == 0


@pytest.mark.parametrize("at", range(1, 8))
def test_a_full_disk_leaves_what_was_there(
    tiny_train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    failing_write(at, monkeypatch)
    root = tmp_path / "run"
    with pytest.raises(FileProblem, match=r"a disk that is full") as refused:
        tiny_train("run")
    assert refused.value.path.is_relative_to(root)
    assert not parts(root)
    for file in (root / "checkpoints").glob("*.ckpt"):
        read_checkpoint(file)
    if (root / "metrics.csv").is_file():
        assert all(row["epoch"] for row in rows(root))


def test_what_a_killed_program_left_is_gone_at_the_next_start(tiny_train: Train, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        tiny_train("run", on_epoch=stop_after(1))
    left = [
        tmp_path / "run" / ".metrics.csv.12.part",
        tmp_path / "run" / "checkpoints" / ".last.ckpt.12.part",
    ]
    for path in left:
        path.write_bytes(b"half")
    tiny_train("run", resume=True)
    assert not parts(tmp_path / "run")


def test_what_a_dead_program_left_goes_when_its_file_is_written_and_a_living_ones_stays(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    dead, living = (tmp_path / f".table.json.{number}.part" for number in (ended.pid, os.getppid()))
    for path in (dead, living):
        path.write_bytes(b"half")
    write_file(tmp_path / "table.json", "{}")
    assert not dead.exists()
    assert living.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 100 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_small_disk_of_its_own_keeps_a_whole_checkpoint_or_none(
    opened, cache, tiny_config: Callable[..., Config], small_disk: Path
) -> None:
    with pytest.raises(FileProblem, match="a disk that is full") as refused:
        train(opened, small_disk / "run", tiny_config("network.name=small:16"), cache=cache, device="cpu")
    assert refused.value.path.is_relative_to(small_disk)
    assert not parts(small_disk)
    for file in small_disk.rglob("*.ckpt"):
        read_checkpoint(file)


def test_the_way_round_a_broken_last_checkpoint_is_true(tiny_train: Train, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        tiny_train("run", on_epoch=stop_after(1))
    folder = tmp_path / "run" / "checkpoints"
    (folder / "last.ckpt").write_bytes(b"")
    with pytest.raises(FileProblem, match=r"copy best\.ckpt over it and resume=True"):
        tiny_train("run", resume=True)
    shutil.copy(folder / "best.ckpt", folder / "last.ckpt")
    assert_same_weights(weights_of(tiny_train("run", resume=True)), weights_of(tiny_train("whole")))


@pytest.fixture
def stopped(tmp_path: Path, tiny_config: Callable[..., Config]) -> tuple[Path, Path]:
    """A data folder of its own, and a run on it that was stopped after the first of two epochs."""
    data = make_scenes(tmp_path / "data", count=(4, 2, 2), size=(32, 48), seed=1)
    with pytest.raises(Interrupted):
        train(
            open_data(data, splits=("train", "val")), tmp_path / "run", tiny_config(), device="cpu",
            on_epoch=stop_after(1),
        )  # fmt: skip
    return data, tmp_path / "run"


def swap_val_and_test(data: Path) -> None:
    splits = json.loads((data / "splits.json").read_text())
    splits["val"], splits["test"] = splits["test"], splits["val"]
    (data / "splits.json").write_text(json.dumps(splits))


def leave_one_out_of_val(data: Path) -> None:
    splits = json.loads((data / "splits.json").read_text())
    splits["val"] = splits["val"][:1]
    (data / "splits.json").write_text(json.dumps(splits))


def correct_a_mask(data: Path) -> None:
    file = sorted((data / "masks").iterdir())[0]
    with Image.open(file) as image:
        values = np.array(image)
    values[:, 0] = values[:, 1]
    values[0] = 1 - np.minimum(values[0], 1)
    Image.fromarray(values).save(file)


def enlarge_an_image(data: Path) -> None:
    for kind in ("images", "masks"):
        file = sorted((data / kind).iterdir())[0]
        with Image.open(file) as image:
            image.resize((96, 64), Image.Resampling.NEAREST).save(file)


def ignore_another_value(data: Path) -> None:
    table = json.loads((data / "classes.json").read_text())
    (data / "classes.json").write_text(json.dumps({**table, "ignore_index": 77}))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (swap_val_and_test, "val has 2 images that are missing"),
        (leave_one_out_of_val, "val has 1 images that are missing"),
        (correct_a_mask, "masks with other labels"),
        (enlarge_an_image, "images of another size"),
        (ignore_another_value, "ignored values"),
    ],
)
def test_a_run_goes_on_with_its_own_data_only(
    stopped: tuple[Path, Path], tiny_config: Callable[..., Config], change: Callable[[Path], None], told: str
) -> None:
    data, root = stopped
    weights = read_checkpoint(root / "checkpoints" / "last.ckpt")["state_dict"]
    change(data)
    config = tiny_config()
    with pytest.raises(FileProblem, match=told):
        train(
            open_data(data, splits=("train", "val")), root, _resolved(root, config), resume=True, device="cpu"
        )
    assert_same_weights(read_checkpoint(root / "checkpoints" / "last.ckpt")["state_dict"], weights)


def _resolved(root: Path, config: Config) -> Config:
    """With the weights by rarity of the run, so that only the data differs."""
    weights = open_config(root)[0].sampler.edge_weights
    return replace(config, sampler=replace(config.sampler, edge_weights=weights))


def test_a_run_of_before_data_was_recorded_goes_on(
    stopped: tuple[Path, Path], tiny_config: Callable[..., Config]
) -> None:
    data, root = stopped
    file = root / "checkpoints" / "last.ckpt"
    saved = torch.load(file, weights_only=True)
    del saved["data"]
    torch.save(saved, file)
    train(open_data(data, splits=("train", "val")), root, tiny_config(), resume=True, device="cpu")
    assert "data" in read_checkpoint(file)


def test_one_class_and_one_image_train_and_score(tmp_path: Path, tiny_config: Callable[..., Config]) -> None:
    data = make_scenes(tmp_path / "data", count=(1, 1, 1), size=(32, 48), seed=1)
    for file in (data / "masks").iterdir():
        Image.fromarray(np.zeros((32, 48), np.uint8)).save(file)
    table = {"ignore_index": 1, "classes": [{"index": 0, "name": "sea"}, {"index": 1, "name": "rest"}]}
    (data / "classes.json").write_text(json.dumps(table))
    run = train(open_data(data), tmp_path / "run", tiny_config("training.batch_size=1"), device="cpu")
    assert [float(row["val_miou"]) for row in rows(run.path)] == [1.0, 1.0]
