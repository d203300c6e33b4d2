"""Random parts of training images: the largest square, anywhere (ICCV 2019, 4.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from saccade.data.cache import Sample
from saccade.data.crop import Crop

PARTS = 1
"""What the seed of a draw of parts has behind those of the other draws of a step."""


def random_parts(batch: Sequence[Sample], crop: Crop, seed: int) -> list[Sample]:
    """A part of each image, its place uniform and following from ``seed``; whole images as they are."""
    places = torch.rand(len(batch), 2, generator=torch.Generator().manual_seed(seed)).tolist()
    return [_part(one, crop, (down, right)) for one, (down, right) in zip(batch, places, strict=True)]


def _part(one: Sample, crop: Crop, place: tuple[float, float]) -> Sample:
    return one if crop.extent(one.size) == one.size else one.part(crop.anywhere(one.size, place))
