"""Samples are decoded once and kept within a limit in bytes; beyond it they are decoded at each visit."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from data_folders import FolderMaker

from saccade.data import DataFolder, Decoded, Item, Sample, SampleCache, open_data
from saccade.data.classes import ClassTable
from saccade.errors import FileProblem, InvalidInput
from saccade.runtime.memory import available_memory

HEIGHT, WIDTH = 6, 10


class Counted:
    """A data set of drawn items that counts how often each is decoded."""

    classes = ClassTable(("a", "b"), (0, 1), ((0, 0, 0), (1, 1, 1)), 255)

    def __init__(self, count: int) -> None:
        self.items = [Item(str(k), Path(f"{k}.png"), Path(f"{k}.mask.png")) for k in range(count)]
        self.reads: Counter[str] = Counter()
        self.most_at_once = 0
        self._running = 0
        self._lock = threading.Lock()

    def split(self, name: str) -> list[Item]:
        return self.items

    def read(self, item: Item) -> Decoded:
        with self._lock:
            self.reads[item.stem] += 1
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)
        threading.Event().wait(0.002)
        with self._lock:
            self._running -= 1
        return Decoded(
            np.full((HEIGHT, WIDTH, 3), int(item.stem), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
        )


def bytes_of_one() -> int:
    data = Counted(1)
    return SampleCache(0).get(data, data.items[0]).nbytes


def test_a_sample_holds_what_the_files_hold(folder: FolderMaker) -> None:
    data = open_data(folder.root)
    (item,) = data.split("val")
    sample, decoded = SampleCache().get(data, item), data.read(item)
    assert sample.stem == "b"
    assert sample.size == (8, 12)
    assert (sample.labels.dtype, tuple(sample.labels.shape)) == (torch.uint8, (1, 8, 12))
    assert (sample.labels[0].numpy() == decoded.labels).all()
    level = sample.pyramid.level(0)
    assert (level.dtype, tuple(level.shape)) == (torch.uint8, (1, 3, 8, 12))
    assert (level[0].permute(1, 2, 0).numpy() == decoded.image).all()


def test_each_item_is_decoded_once_within_the_limit() -> None:
    data, cache = Counted(5), SampleCache(5 * bytes_of_one())
    for _ in range(3):
        assert [sample.stem for sample in cache.iterate(data, data.items)] == list("01234")
    assert set(data.reads.values()) == {1}
    assert len(cache) == 5


def test_beyond_the_limit_the_rest_is_decoded_at_each_visit() -> None:
    data, cache = Counted(5), SampleCache(2 * bytes_of_one() + 1)
    for _ in range(3):
        for item in data.items:
            cache.get(data, item)
    assert data.reads == {"0": 1, "1": 1, "2": 3, "3": 3, "4": 3}
    assert cache.nbytes == 2 * bytes_of_one()


def test_a_limit_of_zero_keeps_nothing() -> None:
    data, cache = Counted(2), SampleCache(0)
    list(cache.iterate(data, data.items))
    assert (len(cache), cache.nbytes) == (0, 0)


@pytest.mark.parametrize("ahead", [0, 1, 2, 5])
def test_the_order_is_that_of_the_items_whatever_the_look_ahead(ahead: int) -> None:
    data = Counted(9)
    order = [data.items[k] for k in (3, 8, 0, 3, 1, 7)]
    samples = list(SampleCache(0).iterate(data, order, ahead=ahead))
    assert [sample.stem for sample in samples] == ["3", "8", "0", "3", "1", "7"]
    assert [int(sample.pyramid.level(0)[0, 0, 0, 0]) for sample in samples] == [3, 8, 0, 3, 1, 7]


def test_no_more_is_decoded_ahead_than_allowed() -> None:
    data = Counted(20)
    samples = SampleCache(0).iterate(data, data.items, ahead=2)
    next(samples)
    threading.Event().wait(0.1)
    assert sum(data.reads.values()) <= 3
    samples.close()
    assert data.most_at_once <= 2


def test_a_file_that_fails_is_an_error_at_its_place(folder: FolderMaker) -> None:
    data: DataFolder = open_data(folder.root)
    folder.image("b").write_bytes(b"")
    items = [*data.split("train"), *data.split("val"), *data.split("test")]
    samples = SampleCache(0).iterate(data, items)
    assert next(samples).stem == "a"
    with pytest.raises(FileProblem, match=r"b\.png"):
        next(samples)


def test_pixels_of_the_check_are_not_decoded_again(
    folder: FolderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = SampleCache()
    data = open_data(folder.root, on_decoded=cache.keep)
    monkeypatch.setattr(DataFolder, "read", lambda self, item: pytest.fail("decoded again"))
    for name in ("train", "val", "test"):
        for item in data.split(name):
            assert cache.get(data, item).stem == item.stem


def test_two_threads_that_want_one_item_count_its_bytes_once() -> None:
    data, cache = Counted(1), SampleCache()
    threads = [threading.Thread(target=cache.get, args=(data, data.items[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.nbytes == bytes_of_one()


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_turned_and_read_only_pixels_become_samples(turn: int) -> None:
    image = np.rot90(np.arange(HEIGHT * WIDTH * 3, dtype=np.uint8).reshape(HEIGHT, WIDTH, 3), turn)
    labels = np.rot90(np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH), turn)
    image.flags.writeable = labels.flags.writeable = False
    sample = Sample.of(Item("a", Path("a"), Path("b")), Decoded(image, labels))
    assert (sample.pyramid.level(0)[0].permute(1, 2, 0).numpy() == image).all()
    assert (sample.labels[0].numpy() == labels).all()


def test_negative_limits_are_refused() -> None:
    data = Counted(1)
    with pytest.raises(InvalidInput, match="limit_bytes"):
        SampleCache(-1)
    with pytest.raises(InvalidInput, match="ahead"):
        SampleCache().iterate(data, data.items, ahead=-1)


def test_the_default_limit_is_below_what_the_machine_has() -> None:
    assert 0 < SampleCache().limit_bytes <= available_memory()
