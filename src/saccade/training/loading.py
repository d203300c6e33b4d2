"""Batches of decoded samples in an order that follows from (seed, epoch), and how they are varied."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data import Sampler as OrderSampler

from saccade.data import DataSet, Item, SampleCache
from saccade.data.cache import Sample
from saccade.data.dataset import EpochDraws
from saccade.data.options import Crop
from saccade.errors import InvalidInput
from saccade.rasters.bands import Bands
from saccade.runtime.seeds import seed_of
from saccade.runtime.threads import in_order
from saccade.segmenter import IMAGENET_MEAN, IMAGENET_STD
from saccade.training.config import AugmentConfig

_MEAN, _STD = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
_BLACK, _WHITE = -_MEAN / _STD, (1 - _MEAN) / _STD


@dataclass(frozen=True)
class Augmentation:
    """The augmentation of a batch of B images.

    Attributes:
        flipped: (B, 2) bool, along x and y.
        gain: (B, 1, 1, 1), of the normalised pixels.
        shift: (B, C, 1, 1), added to the normalised pixels.
        speckles: (B,) int64, a seed of the salt and pepper of each image; None without.
        speckled: share of the samples that are salt or pepper.
        dark, light: (C, 1, 1) normalised values of pepper and of salt.
    """

    flipped: Tensor
    gain: Tensor
    shift: Tensor
    speckles: Tensor | None = None
    speckled: float = 0.0
    dark: Tensor = _BLACK
    light: Tensor = _WHITE

    @classmethod
    def random(
        cls, batch: int, options: AugmentConfig, generator: torch.Generator, bands: Bands | None = None
    ) -> Augmentation:
        """A random one for ``batch`` images; the same state of the generator gives the same."""
        channels = 3 if bands is None else len(bands.names)
        coins = torch.rand(batch, 2, generator=generator) < 0.5
        allowed = torch.tensor([options.flip_horizontal, options.flip_vertical])
        gain = 1 + options.contrast * torch.randn(batch, 1, 1, 1, generator=generator)
        shift = options.brightness * torch.randn(batch, channels, 1, 1, generator=generator)
        if not options.salt_and_pepper:
            return cls(coins & allowed, gain, shift)
        seeds = torch.randint(2**62, (batch,), generator=generator)
        ends = (_BLACK, _WHITE) if bands is None else _ends(bands)
        return cls(coins & allowed, gain, shift, seeds, options.salt_and_pepper, *ends)

    def of(self, places: Sequence[int]) -> Augmentation:
        """The augmentation of some images of the batch."""
        chosen = list(places)
        speckles = None if self.speckles is None else self.speckles[chosen]
        return replace(
            self,
            flipped=self.flipped[chosen],
            gain=self.gain[chosen],
            shift=self.shift[chosen],
            speckles=speckles,
        )

    def flip(self, maps: Tensor) -> Tensor:
        """(B, ..., h, w), each flipped as its image is."""
        turned = []
        for plane, (x, y) in zip(maps, self.flipped.tolist(), strict=True):
            axes = ([-1] if x else []) + ([-2] if y else [])
            turned.append(plane.flip(axes) if axes else plane)
        return torch.stack(turned)

    def flip_grid(self, grids: Tensor) -> Tensor:
        """Grids (B, h, w, 2) of the flipped images to places in the images as they are."""
        return grids * (1 - 2 * self.flipped.to(grids))[:, None, None]

    def colour_jitter(self, pixels: Tensor) -> Tensor:
        """(B, C, h, w) normalised pixels under another light, some of them black or white."""
        lit = pixels * self.gain.to(pixels) + self.shift.to(pixels)
        if self.speckles is None:
            return lit
        chances = torch.stack([_chances(seed, lit) for seed in self.speckles.tolist()])[:, None]
        salted = torch.where(chances >= 1 - self.speckled / 2, self.light.to(lit), lit)
        return torch.where(chances < self.speckled / 2, self.dark.to(lit), salted)


def _ends(bands: Bands) -> tuple[Tensor, Tensor]:
    """The 2nd and the 98th percentile of each band, normalised."""
    mean, std = torch.tensor(bands.mean), torch.tensor(bands.std)
    low, high = ((torch.tensor(limit) - mean) / std for limit in (bands.low, bands.high))
    return low.view(-1, 1, 1), high.view(-1, 1, 1)


def _chances(seed: int, pixels: Tensor) -> Tensor:
    """(h, w) in [0, 1), the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(pixels.shape[-2:], generator=generator).to(pixels.device)


PARTS = 1
"""What the seed of a draw of parts has behind those of the other draws of a step."""


def random_crops(batch: Sequence[Sample], crop: Crop, seed: int) -> list[Sample]:
    """A part of each image, its place uniform and following from ``seed``; whole images as they are."""
    places = torch.rand(len(batch), 2, generator=torch.Generator().manual_seed(seed)).tolist()
    return [_part(sample, crop, (down, right)) for sample, (down, right) in zip(batch, places, strict=True)]


def _part(sample: Sample, crop: Crop, place: tuple[float, float]) -> Sample:
    return (
        sample if crop.extent(sample.size) == sample.size else sample.part(crop.anywhere(sample.size, place))
    )


class Samples(Dataset[Sample]):
    """The samples of one split, from the cache; or those that are drawn for an epoch, each for once.

    Args:
        data: the data set.
        items: of the split.
        cache: of decoded images.
        draws: the items of an epoch, in the place of ``items``.
        seed: of the run, which they follow from.
    """

    def __init__(
        self, data: DataSet, items: Sequence[Item], cache: SampleCache, draws: EpochDraws | None = None,
        seed: int = 0,
    ) -> None:  # fmt: skip
        self.data, self.items, self.cache = data, list(items), cache
        self.draws, self.seed = draws, seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draws the items of an epoch, where they are drawn."""
        if self.draws is not None:
            self.items = self.draws.of(self.seed, epoch)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        item = self.items[index]
        if self.draws is None:
            return self.cache.get(self.data, item)
        return replace(Sample.of(item, self.data.read(item)), varied=True)

    def __getitems__(self, indices: list[int]) -> list[Sample]:
        """Those of a batch, read in a few threads; torch's loader asks so."""
        with closing(in_order(self.__getitem__, indices)) as samples:
            return list(samples)


MOST_AHEAD = 1 << 28
"""Bytes of a batch that is read while another is trained on."""


class Ahead(DataLoader[Sample]):
    """Reads the next batch in the background, so that steps wait for the disk and for decoders no more than
    they must. What comes, and in which order, is as without."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        # Made now and not in the thread: it draws from the generator that all of torch shares.
        return self._ahead(super().__iter__())

    def _ahead(self, batches: Iterator[Any]) -> Iterator[Any]:
        count = range(len(self))
        with closing(in_order(lambda _: next(batches), count, threads=1, ahead=1)) as read:
            yield from read


class Shuffle(OrderSampler[list[int]]):
    """Batches in another order every epoch, the same for the same seed; all have the same size.

    Several processes share each batch: together they see what one process alone would.

    Args:
        samples: how many there are.
        batch_size: images of all processes together.
        seed: of the run.
        rank, count: which of how many processes this is.
        rounds: how often an epoch comes to each image, each time in another order.
        every_image: what is left for the last batch is filled up with the first images of the order; without,
            it is left out.
        on_epoch: called with each epoch before it begins.
    """

    def __init__(
        self, samples: int, batch_size: int, seed: int, rank: int = 0, count: int = 1, rounds: int = 1,
        every_image: bool = True, on_epoch: Callable[[int], None] | None = None,
    ) -> None:  # fmt: skip
        self.on_epoch = on_epoch
        self.every_image = every_image
        self.samples, self.batch_size, self.seed, self.rounds = samples, batch_size, seed, rounds
        self.rank, self.count, self.epoch = rank, count, 0
        self.sampler = self  # where Lightning looks for set_epoch

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch
        if self.on_epoch is not None:
            self.on_epoch(epoch)

    def __len__(self) -> int:
        return batches_of(self.samples, self.batch_size, self.every_image) * self.rounds

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(seed_of(self.seed, self.epoch))
        for _ in range(self.rounds):
            order = torch.randperm(self.samples, generator=generator).tolist()
            if self.every_image:
                order += order[: -len(order) % self.batch_size]
            for start in range(0, len(order) - self.batch_size + 1, self.batch_size):
                yield order[start + self.rank : start + self.batch_size : self.count]


def batches_of(samples: int, batch_size: int, every_image: bool = True) -> int:
    """How many batches there are of ``samples`` images; one where they are fewer than a batch."""
    size = min(batch_size, samples)
    return -(-samples // size) if every_image else samples // size


def training_batches(
    samples: Samples, batch_size: int, seed: int, *, rank: int = 0, count: int = 1, rounds: int = 1,
    every_image: bool = True, largest: int = 0,
) -> DataLoader[Sample]:  # fmt: skip
    """Shuffled batches, or this process's share of them.

    The next batch is read while one is trained on, where it takes :data:`MOST_AHEAD` at most; ``largest``:
    the bytes of the largest sample.

    Raises:
        InvalidInput: when a batch cannot be shared equally.
    """
    size = min(batch_size, len(samples))
    if size % count:
        named = f"{size}, all training images" if size < batch_size else str(size)
        fix = "change training.batch_size, or the number of processes"
        raise InvalidInput("training.batch_size", f"a multiple of the {count} processes", named, fix)
    order = Shuffle(len(samples), size, seed, rank, count, rounds, every_image, samples.set_epoch)
    loader = Ahead if size // count * largest <= MOST_AHEAD else DataLoader
    return loader(samples, batch_sampler=order, collate_fn=list)


def validation_batches(samples: Samples, *, rank: int = 0, count: int = 1) -> DataLoader[Sample]:
    """One image at a time, in order; of several processes each has every ``count``-th.

    All have as many batches, for they wait for each other after each: some end with an empty one.
    """
    own: list[list[int]] = [[index] for index in range(rank, len(samples), count)]
    own += [[]] * (-(-len(samples) // count) - len(own))
    return DataLoader(samples, batch_sampler=own, collate_fn=list)
