"""Decoded samples: each image is decoded once and kept while a limit in bytes allows it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saccade.data.dataset import DataSet, Decoded, Item
from saccade.errors import InvalidInput
from saccade.geometry import Window
from saccade.runtime.memory import available_memory
from saccade.runtime.threads import in_order
from saccade.warp import Pyramid


@dataclass(frozen=True)
class Sample:
    """One image of a data set, ready to be sampled.

    Attributes:
        stem: the item's name.
        pyramid: of the image, uint8 (1, 3, H, W), red, green, blue.
        labels: (1, H, W) uint8 ids 0..K-1, ignored pixels 255.
        read_instances: as :attr:`saccade.data.Decoded.read_instances`.
        varied: a part of the image that was chosen by chance: what is computed of it holds only once.

    Examples:
        >>> from saccade.data import SampleCache, open_data
        >>> from saccade.testing import make_fake
        >>> data = open_data(make_fake("folder", "leaves", size=(16, 24)))
        >>> sample = SampleCache().get(data, data.split("train")[0])
        >>> sample.pyramid.size, sample.labels.shape
        ((16, 24), torch.Size([1, 16, 24]))
    """

    stem: str
    pyramid: Pyramid
    labels: Tensor
    read_instances: Callable[[], NDArray[np.integer]] | None = field(default=None, compare=False)
    varied: bool = False

    @classmethod
    def of(cls, item: Item, decoded: Decoded) -> Sample:
        """From decoded pixels (H, W, 3) and (H, W)."""
        image = torch.from_numpy(_own(decoded.image)).permute(2, 0, 1)
        labels = torch.from_numpy(_own(decoded.labels))
        return cls(item.stem, Pyramid.of(image[None]), labels[None], decoded.read_instances)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.labels.shape[1], self.labels.shape[2]

    @property
    def instances(self) -> Tensor | None:
        """(1, H, W) int32 ids of single objects, 0 where there is none; None where nobody drew any.

        Read from the disk at each call. Raises FileProblem where it cannot be.
        """
        if self.read_instances is None:
            return None
        return torch.from_numpy(np.ascontiguousarray(self.read_instances(), np.int32))[None]

    def part(self, window: Window) -> Sample:
        """A part of the image that was chosen by chance, as a sample of its own, without instances."""
        rows, columns = window.slices
        image = self.pyramid.level(0)[:, :, rows, columns]
        return Sample(self.stem, Pyramid.of(image), self.labels[:, rows, columns], None, True)

    @property
    def nbytes(self) -> int:
        return self.pyramid.nbytes + self.labels.nbytes


def _own(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An array that torch takes as it is: contiguous and writable; a copy only where it was not."""
    return np.require(array, requirements=("C", "W"))


class SampleCache:
    """Samples by item, within a limit in bytes. Safe to use from several threads.

    The first items that are asked for stay; nothing is thrown out for another, because a training visits
    every item equally often and in random order, so that any exchange would only cost decoding.

    Args:
        limit_bytes: what the kept samples may take together, 0 to keep none; default half of the memory that
            is free now.

    Raises:
        InvalidInput: when ``limit_bytes`` is negative.

    Examples:
        >>> from saccade.data import SampleCache, open_data
        >>> from saccade.testing import make_fake
        >>> cache = SampleCache(limit_bytes=1 << 20)
        >>> data = open_data(make_fake("folder", "leaves", count=(3, 1, 1)), on_decoded=cache.keep)
        >>> [sample.size for sample in cache.iterate(data, data.split("train"))]
        [(16, 24), (16, 24), (16, 24)]
    """

    def __init__(self, limit_bytes: int | None = None) -> None:
        if limit_bytes is not None and limit_bytes < 0:
            raise InvalidInput("limit_bytes", "0 or more", limit_bytes)
        self.limit_bytes = available_memory() // 2 if limit_bytes is None else limit_bytes
        self._kept: dict[Item, Sample] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many samples are kept."""
        return len(self._kept)

    @property
    def nbytes(self) -> int:
        """Bytes of the kept samples."""
        return self._bytes

    def keep(self, item: Item, decoded: Decoded) -> None:
        """Keeps pixels that were decoded for another reason; hand it to ``open_data`` as ``on_decoded``."""
        if item not in self._kept and self._fits(decoded.image.nbytes + decoded.labels.nbytes):
            self._store(item, Sample.of(item, decoded))

    def get(self, data: DataSet, item: Item) -> Sample:
        """The sample of an item of ``data``; raises FileProblem where its files cannot be read."""
        kept = self._kept.get(item)
        return self._store(item, Sample.of(item, data.read(item))) if kept is None else kept

    def iterate(self, data: DataSet, items: Iterable[Item], *, ahead: int = 2) -> Iterator[Sample]:
        """Samples in the order of ``items``; up to ``ahead`` of them are decoded in two threads beforehand.

        At most ``ahead`` + 1 samples that are not kept are in memory at once.
        """
        if ahead < 0:
            raise InvalidInput("ahead", "0 or more", ahead)
        return self._serial(data, items) if ahead == 0 else self._ahead(data, items, ahead)

    def _serial(self, data: DataSet, items: Iterable[Item]) -> Iterator[Sample]:
        for item in items:
            yield self.get(data, item)

    def _ahead(self, data: DataSet, items: Iterable[Item], ahead: int) -> Iterator[Sample]:
        threads = min(2, ahead)
        with closing(in_order(partial(self.get, data), items, threads=threads, ahead=ahead)) as samples:
            yield from samples

    def _fits(self, nbytes: int) -> bool:
        return self._bytes + nbytes <= self.limit_bytes

    def _store(self, item: Item, sample: Sample) -> Sample:
        with self._lock:
            if item not in self._kept and self._fits(sample.nbytes):
                self._kept[item] = sample
                self._bytes += sample.nbytes
            return self._kept.get(item, sample)
