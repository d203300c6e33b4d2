"""A batch whose views differ in size, taken apart: images that can be stacked stay together."""

from __future__ import annotations

from collections.abc import Iterator

from saccade.data.cache import Sample
from saccade.samplers import Sampler
from saccade.training.augment import Augmentation


def by_view(
    sampler: Sampler, batch: list[Sample], draw: Augmentation
) -> Iterator[tuple[list[Sample], Augmentation, float]]:
    """The images of each size of view, their part of the draw, and their share of the batch.

    A sampler of fixed sizes leaves the batch whole.
    """
    groups: dict[object, list[int]] = {}
    for place, one in enumerate(batch):
        sized = sampler.for_image(one.size)
        groups.setdefault((sized.size, sized.overview_size), []).append(place)
    for places in groups.values():
        if len(places) == len(batch):
            yield batch, draw, 1.0
        else:
            yield [batch[place] for place in places], draw.of(places), len(places) / len(batch)
