"""Random changes of training images, at the cost of the samples only, from seeds that a resume repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

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
        shift: (B, 3, 1, 1), added to the normalised pixels.
        speckles: (B,) int64, a seed of the salt and pepper of each image; None without.
        speckled: share of the samples that are salt or pepper.
    """

    flipped: Tensor
    gain: Tensor
    shift: Tensor
    speckles: Tensor | None = None
    speckled: float = 0.0

    @classmethod
    def random(cls, batch: int, options: AugmentConfig, generator: torch.Generator) -> Augmentation:
        """A random one for ``batch`` images; the same state of the generator gives the same."""
        coins = torch.rand(batch, 2, generator=generator) < 0.5
        allowed = torch.tensor([options.flip_horizontal, options.flip_vertical])
        gain = 1 + options.contrast * torch.randn(batch, 1, 1, 1, generator=generator)
        shift = options.brightness * torch.randn(batch, 3, 1, 1, generator=generator)
        if not options.salt_and_pepper:
            return cls(coins & allowed, gain, shift)
        seeds = torch.randint(2**62, (batch,), generator=generator)
        return cls(coins & allowed, gain, shift, seeds, options.salt_and_pepper)

    def of(self, places: Sequence[int]) -> Augmentation:
        """The augmentation of some images of the batch."""
        chosen = list(places)
        speckles = None if self.speckles is None else self.speckles[chosen]
        return Augmentation(
            self.flipped[chosen], self.gain[chosen], self.shift[chosen], speckles, self.speckled
        )

    def flip(self, maps: Tensor) -> Tensor:
        """(B, ..., h, w), each flipped as its image is."""
        turned = []
        for one, (x, y) in zip(maps, self.flipped.tolist(), strict=True):
            axes = ([-1] if x else []) + ([-2] if y else [])
            turned.append(one.flip(axes) if axes else one)
        return torch.stack(turned)

    def flip_grid(self, grids: Tensor) -> Tensor:
        """Grids (B, h, w, 2) of the flipped images to places in the images as they are."""
        return grids * (1 - 2 * self.flipped.to(grids))[:, None, None]

    def colour_jitter(self, pixels: Tensor) -> Tensor:
        """(B, 3, h, w) normalised pixels under another light, some of them black or white."""
        lit = pixels * self.gain.to(pixels) + self.shift.to(pixels)
        if self.speckles is None:
            return lit
        chances = torch.stack([_chances(seed, lit) for seed in self.speckles.tolist()])[:, None]
        salted = torch.where(chances >= 1 - self.speckled / 2, _WHITE.to(lit), lit)
        return torch.where(chances < self.speckled / 2, _BLACK.to(lit), salted)


def _chances(seed: int, pixels: Tensor) -> Tensor:
    """(h, w) in [0, 1), the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(pixels.shape[-2:], generator=generator).to(pixels.device)
