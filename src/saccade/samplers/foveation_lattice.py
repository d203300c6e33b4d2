"""Foveation's locations: where they lie, what the prediction of each covers, which a training draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saccade.errors import InvalidInput
from saccade.samplers.base import TrainingSample


def thumbnail_size(size: Sequence[int], shrink: int) -> tuple[int, int]:
    """(h, w) of the thumbnail of an image (H, W): one pixel for ``shrink`` of them along an axis."""
    return ceil(size[0] / shrink), ceil(size[1] / shrink)


@dataclass(frozen=True)
class Lattice:
    """Every ``stride``-th pixel of the thumbnail, the first and the last of each axis always among them.

    Attributes:
        size: (H, W) of the image.
        thumbnail: (h, w) of the thumbnail; its border pixels lie on the border pixels of the image.
        stride: in pixels of the thumbnail.
        field: (rows, columns) in pixels of the smallest field of view, which a prediction covers.

    Raises:
        InvalidInput: where a pixel of the image would be covered by no prediction.
    """

    size: tuple[int, int]
    thumbnail: tuple[int, int]
    stride: int
    field: tuple[float, float]

    def __post_init__(self) -> None:
        for axis in (0, 1):
            first, last = self.covered(axis)
            if first[0] > 0 or last[-1] < self.size[axis] - 1 or (first[1:] > last[:-1] + 1).any():
                raise self._gap(axis)

    def _gap(self, axis: int) -> InvalidInput:
        """What would close the gaps along an axis."""
        field = self.field[axis]
        between = f"or gaps are left between fields of {field:g} in {self.size[axis]} pixels"
        most = floor(field * max(1, self.thumbnail[axis] - 1) / self.size[axis])
        if most < 1:
            fix = f"at most {max(1, floor(field / 2))} suits most images; or widen the smallest field of view"
            shrink = ceil(self.size[axis] / self.thumbnail[axis])
            return InvalidInput("foveation.shrink", f"smaller, {between}", shrink, fix)
        fix = "or lower foveation.shrink, or widen the smallest field of view"
        expected = f"at most {most} pixels of the thumbnail, {between}"
        return InvalidInput("foveation.stride", expected, self.stride, fix)

    def numbers(self, axis: int) -> NDArray[np.int64]:
        """The pixels of the thumbnail along an axis (0 down, 1 across) that are locations."""
        count = self.thumbnail[axis]
        return np.unique(np.append(np.arange(0, count, self.stride), count - 1))

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of locations."""
        return len(self.numbers(0)), len(self.numbers(1))

    def centres(self, axis: int) -> NDArray[np.float64]:
        """Pixel coordinates of the locations along an axis."""
        return centres_of(self.numbers(axis), self.thumbnail[axis], self.size[axis])

    def covered(self, axis: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first and the last pixel that lie within half a field of each location, cut to the image."""
        middle, half = self.centres(axis), self.field[axis] / 2
        first = np.ceil(middle - half - 1e-9).astype(np.int64)
        last = np.floor(middle + half + 1e-9).astype(np.int64)
        return first.clip(0), last.clip(max=self.size[axis] - 1)

    @cached_property
    def places(self) -> Tensor:
        """(rows, columns, 2) float64 (x, y) in [-1, 1] of the locations."""
        y, x = (to_unit(self.centres(axis), self.size[axis]) for axis in (0, 1))
        return torch.from_numpy(np.stack(np.broadcast_arrays(x[None], y[:, None]), -1).copy())


def centres_of(numbers: NDArray[np.int64], count: int, pixels: int) -> NDArray[np.float64]:
    """Pixel coordinates of pixels of a thumbnail of ``count``, along an axis of ``pixels``."""
    if count == 1:
        return np.full(len(numbers), (pixels - 1) / 2)
    return numbers * (pixels - 1) / (count - 1)


def to_unit(places: NDArray[np.float64], pixels: int) -> NDArray[np.float64]:
    """Pixel coordinates to [-1, 1]."""
    return (places * 2 / max(pixels - 1, 1) - 1).clip(-1, 1) if pixels > 1 else np.zeros(len(places))


class Places:
    """Locations drawn without replacement: an order of all of them for each image and epoch.

    Args:
        count: B, drawn at each visit of an image.
        weights: one number a class: locations are drawn in proportion to the mean weight of the labels in
            their smallest field of view, so that rare classes come more often; None draws all alike.
    """

    def __init__(self, count: int, weights: Sequence[float] | None = None) -> None:
        self.count = count
        self.weights = None if weights is None else torch.tensor(weights, dtype=torch.float32)
        self._attraction: dict[str, Tensor] = {}

    def of(
        self,
        sample: TrainingSample,
        thumbnail: tuple[int, int],
        field: tuple[float, float],
        visit: int,
        seed: int,
    ) -> Tensor:
        """(B, 2) int64 rows and columns of the thumbnail for the ``visit``-th visit in an epoch, from 0.

        An image with fewer locations than an epoch asks for starts anew when all had their turn.

        Args:
            sample: the image.
            thumbnail: (h, w), whose pixels are the locations.
            field: (rows, columns) in pixels of the smallest field of view.
            visit: from 0.
            seed: of the epoch's order.
        """
        generator = torch.Generator().manual_seed(seed)
        noise = torch.rand(thumbnail[0] * thumbnail[1], generator=generator)
        if self.weights is not None:
            noise = weighted_keys(noise, self._attracting(sample, thumbnail, field).flatten())
        order = noise.argsort(descending=True, stable=True)
        numbers = torch.arange(visit * self.count, (visit + 1) * self.count) % len(order)
        chosen = order[numbers]
        return torch.stack([chosen // thumbnail[1], chosen % thumbnail[1]], 1)

    def _attracting(
        self, sample: TrainingSample, thumbnail: tuple[int, int], field: tuple[float, float]
    ) -> Tensor:
        if sample.varied:
            return self._made(sample, thumbnail, field)
        if sample.stem not in self._attraction:
            self._attraction[sample.stem] = self._made(sample, thumbnail, field)
        return self._attraction[sample.stem]

    def _made(self, sample: TrainingSample, thumbnail: tuple[int, int], field: tuple[float, float]) -> Tensor:
        """(h, w) float32: the mean weight of the labels around each location, in its smallest field."""
        assert self.weights is not None
        table = torch.zeros(256)
        table[: len(self.weights)] = self.weights
        summed = np.zeros((sample.size[0] + 1, sample.size[1] + 1))
        np.cumsum(
            np.cumsum(table[sample.labels[0].long()].numpy(), 0, dtype=np.float64), 1, out=summed[1:, 1:]
        )
        edges = []
        for axis in (0, 1):
            middle = centres_of(np.arange(thumbnail[axis]), thumbnail[axis], sample.size[axis])
            half = field[axis] / 2
            low = np.ceil(middle - half).clip(0, sample.size[axis] - 1).astype(np.int64)
            high = np.floor(middle + half).clip(0, sample.size[axis] - 1).astype(np.int64) + 1
            edges.append((low, high))
        (top, bottom), (left, right) = edges
        total = summed[np.ix_(bottom, right)] - summed[np.ix_(top, right)]
        total -= summed[np.ix_(bottom, left)] - summed[np.ix_(top, left)]
        return torch.from_numpy(total / ((bottom - top)[:, None] * (right - left))).float()


def weighted_keys(noise: Tensor, weights: Tensor) -> Tensor:
    """Keys whose falling order is a draw without replacement in proportion to the weights (>= 0).

    log(u) / w of Efraimidis and Spirakis (2006); what weighs nothing comes last.
    """
    return noise.clamp_min(1e-12).log() / weights.clamp_min(1e-9)
