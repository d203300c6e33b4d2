"""Batches of decoded samples: every image decoded once, in an order that follows from (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data import Sampler as OrderSampler

from saccade.data import DataSet, Item, SampleCache
from saccade.data.cache import Sample
from saccade.training.seeds import seed_of


class Samples(Dataset):
    """The samples of one split, from the cache."""

    def __init__(self, data: DataSet, items: Sequence[Item], cache: SampleCache) -> None:
        self.data, self.items, self.cache = data, list(items), cache

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        return self.cache.get(self.data, self.items[index])


class Shuffle(OrderSampler[int]):
    """Another order in every epoch, the same for the same seed."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed, self.epoch = count, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(seed_of(self.seed, self.epoch))
        return iter(torch.randperm(self.count, generator=generator).tolist())


def training_batches(samples: Samples, batch_size: int, seed: int) -> DataLoader:
    """Shuffled; an incomplete last batch is left out where there is a complete one."""
    batch_size = min(batch_size, len(samples))
    order = Shuffle(len(samples), seed)
    return DataLoader(samples, batch_size, sampler=order, drop_last=True, collate_fn=list)


def validation_batches(samples: Samples) -> DataLoader:
    """One image at a time, in order."""
    return DataLoader(samples, 1, shuffle=False, collate_fn=list)
