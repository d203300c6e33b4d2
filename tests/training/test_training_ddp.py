"""Two processes that train one run: the same images in every step, counts pooled, faults told, resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_runs import assert_same_weights, rows, weights_of

from saccade.data import DataFolder, SampleCache
from saccade.errors import FileProblem, InvalidInput, SaccadeError
from saccade.evaluation import evaluate
from saccade.runtime.devices import DistributedContext, lightning_device, torch_device
from saccade.training import Run
from saccade.training.loading import Samples, Shuffle, batches_of, training_batches, validation_batches

Train = Callable[..., Run]

PLAIN = """
from torch import nn

def make(classes):
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, classes, 1))

def rebellious(classes):
    import os
    if "RANK_OF_TEST" in os.environ:
        raise ValueError("this network wants to be alone")
    return make(classes)
"""
"""A network without batch norm, whose gradient is the same however a batch is shared."""

HANGING = 600
"""Seconds after which something waits in vain: processes that lost each other wait for two hours, and a busy
machine takes minutes to start one."""

EXACT = ["sampler.name=uniform", "augment.flip_horizontal=false", "augment.flip_vertical=false"]
EXACT += ["augment.brightness=0", "augment.contrast=0", "training.batch_size=4"]


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "plain_network_8.py").write_text(PLAIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "network.name=python:plain_network_8.make"


def test_two_processes_learn_what_one_learns_and_count_what_one_counts(
    tiny_train: Train, plain: str, opened: DataFolder, cache: SampleCache
) -> None:
    """Without batch norm and augmentation the mean of two halves' gradients is the gradient of the whole."""
    alone = tiny_train("alone", plain, *EXACT)
    seen: list[dict[str, float]] = []
    options = {"device": "cpu:2", "on_epoch": lambda done, of, scores: seen.append(scores)}
    together = tiny_train("together", plain, *EXACT, **options)
    one, two = weights_of(alone), weights_of(together)
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        assert torch.allclose(two[name], tensor, atol=2e-5), name
    for row, other in zip(rows(alone.path), rows(together.path), strict=True):
        assert {k: float(v) for k, v in other.items()} == pytest.approx(
            {k: float(v) for k, v in row.items()}, abs=2e-3
        )
    together.segmenter.load_state_dict({k.removeprefix("segmenter."): v for k, v in two.items()})
    found = evaluate(together.segmenter, cache.iterate(opened, opened.split("val")), opened.classes)
    assert len(seen) == 2
    assert seen[-1]["val_miou"] == pytest.approx(found.miou, abs=1e-6)


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(tiny_train: Train, opened: DataFolder) -> None:
    options = ["training.epochs=3", "training.validate_every=2"]  # an epoch without validation too
    unbroken = tiny_train("unbroken", *options, device="cpu:2")

    def stop(done: int, of: int, scores: dict[str, float]) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(SaccadeError, match="go on with"):
        tiny_train("broken", *options, device="cpu:2", on_epoch=stop)
    resumed = tiny_train("broken", *options, device="cpu:2", resume=True)
    assert_same_weights(weights_of(resumed), weights_of(unbroken))
    assert rows(resumed.path) == rows(unbroken.path)
    assert not torch.distributed.is_initialized()


def test_what_the_other_process_fails_with_is_told(
    tiny_train: Train, plain: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from saccade.training import processes

    monkeypatch.setattr(processes, "_MAIN", "import os; os.environ['RANK_OF_TEST'] = '1';" + processes._MAIN)
    started = time.monotonic()
    with pytest.raises(SaccadeError, match="this network wants to be alone") as failed:
        tiny_train("run", plain.replace("make", "rebellious"), *EXACT, device="cpu:2")
    assert "\n" not in str(failed.value)
    assert time.monotonic() - started < HANGING
    assert not torch.distributed.is_initialized()


def test_no_process_outlives_the_first(tiny_data: Path, tmp_path: Path) -> None:
    """The first is killed without a chance to say goodbye."""
    command = [sys.executable, "-m", "saccade", "train", tiny_data, tmp_path / "run", "--device", "cpu:2"]
    options = ["--size", "8x12", "--network", "small:4", "--batch-size", "2", "--epochs", "10000", "-q"]
    first = subprocess.Popen([*map(str, command), *options])
    try:
        deadline = time.monotonic() + HANGING
        while not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists():
            assert time.monotonic() < deadline and first.poll() is None
            time.sleep(0.2)
        others = children(first.pid)
        assert len(others) == 1
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    deadline = time.monotonic() + HANGING
    while any(map(alive, others)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, others))


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    if not listed.exists():
        pytest.skip("this system does not list the children of a process")
    return [int(word) for word in listed.read_text().split()]


def alive(pid: int) -> bool:
    """Neither gone nor waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Ten(Samples):
    """Ten samples that are their own numbers."""

    def __init__(self, count: int = 10) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:  # type: ignore[override]
        return index


@given(st.integers(1, 40), st.integers(1, 12), st.booleans(), st.integers(0, 3))
def test_an_epoch_comes_to_every_image_in_batches_of_one_size(
    samples: int, batch_size: int, every_image: bool, epoch: int
) -> None:
    size = min(batch_size, samples)
    shuffle = Shuffle(samples, size, seed=5, every_image=every_image)
    shuffle.set_epoch(epoch)
    batches = list(shuffle)
    assert len(batches) == len(shuffle) == batches_of(samples, batch_size, every_image)
    assert {len(batch) for batch in batches} == {size}
    assert all(len(set(batch)) == size for batch in batches[:-1])
    seen = Counter(index for batch in batches for index in batch)
    if every_image:
        assert sorted(seen) == list(range(samples)) and max(seen.values()) <= 2
    else:
        assert sum(seen.values()) == samples // size * size and max(seen.values()) == 1
    if samples % size == 0:  # nothing is left: what 0.1 did
        other = Shuffle(samples, size, seed=5, every_image=not every_image)
        other.set_epoch(epoch)
        assert list(other) == batches


@pytest.mark.parametrize("count", [1, 2, 4])
def test_processes_share_the_batches_of_one(count: int) -> None:
    whole = Shuffle(10, 4, seed=3)
    parts = [Shuffle(10, 4, seed=3, rank=rank, count=count) for rank in range(count)]
    for epoch in range(3):
        for shuffle in (whole, *parts):
            shuffle.set_epoch(epoch)
        for batch, *shares in zip(whole, *parts, strict=True):
            assert sorted(index for share in shares for index in share) == sorted(batch)
            assert {len(share) for share in shares} == {4 // count}


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_image_is_validated_once_in_as_many_steps(count: int) -> None:
    loaders = [validation_batches(Ten(), rank=rank, count=count) for rank in range(count)]
    assert len({len(loader) for loader in loaders}) == 1
    seen = [index for loader in loaders for batch in loader for index in batch]
    assert sorted(seen) == list(range(10))


@pytest.mark.parametrize(("batch_size", "images", "words"), [(3, 10, "got 3;"), (8, 5, "5, all training")])
def test_a_batch_that_cannot_be_shared_is_refused(batch_size: int, images: int, words: str) -> None:
    with pytest.raises(InvalidInput, match="a multiple of the 2 processes") as refused:
        training_batches(Ten(images), batch_size, 0, rank=0, count=2)
    assert words in str(refused.value)


def test_what_is_read_ahead_is_what_is_read() -> None:
    def batches(largest: int) -> tuple[type, list[list[int]], float]:
        torch.manual_seed(7)
        loader = training_batches(Ten(), 4, seed=3, largest=largest)
        read = [list(batch) for epoch in range(2) for batch in loader]
        return type(loader), read, float(torch.rand(1))

    ahead, plain = batches(0), batches(1 << 40)
    assert ahead[0] is not plain[0] and ahead[1:] == plain[1:]


def test_a_file_that_goes_while_it_is_read_ahead_is_told() -> None:
    class Gone(Ten):
        def __getitem__(self, index: int) -> int:
            if index == 6:
                raise FileProblem("gone.png", "an image", "no such file")
            return super().__getitem__(index)

    with pytest.raises(FileProblem, match="no such file"):
        list(training_batches(Gone(), 2, 0))


def test_devices_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert lightning_device("auto") == lightning_device("cuda") == DistributedContext("cuda", (0,))
    assert lightning_device("cuda:2") == DistributedContext("cuda", (2,))
    assert lightning_device("cuda:0,2") == DistributedContext("cuda", (0, 2), count=2)
    assert lightning_device("cpu") == DistributedContext("cpu")
    assert lightning_device("cpu:4") == DistributedContext("cpu", count=4)
    assert torch_device("cuda:1") == torch.device("cuda", 1)
    for wrong in [
        "cuda:3",
        "cuda:0,3",
        "cuda:1,1",
        "cuda:",
        "cpu:0",
        "cpu:x",
        "gpu",
        "",
        "cuda:-1",
        "auto:1",
    ]:
        with pytest.raises(InvalidInput, match="expected device"):
            lightning_device(wrong)
    with pytest.raises(InvalidInput, match="training and predict alone take several"):
        torch_device("cpu:2")
