"""Which locations of an image a training looks at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from saccade.data.cache import Sample
from saccade.samplers.foveation_lattice import centres_of


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
        self, one: Sample, overview: tuple[int, int], field: tuple[float, float], visit: int, seed: int
    ) -> Tensor:
        """(B, 2) int64 rows and columns of the overview for the ``visit``-th visit in an epoch, from 0.

        An image with fewer locations than an epoch asks for starts anew when all had their turn.

        Args:
            one: the image.
            overview: (h, w), whose pixels are the locations.
            field: (rows, columns) in pixels of the smallest field of view.
            visit: from 0.
            seed: of the epoch's order.
        """
        generator = torch.Generator().manual_seed(seed)
        noise = torch.rand(overview[0] * overview[1], generator=generator)
        if self.weights is not None:
            noise = weighted_keys(noise, self._attracting(one, overview, field).flatten())
        order = noise.argsort(descending=True, stable=True)
        numbers = torch.arange(visit * self.count, (visit + 1) * self.count) % len(order)
        chosen = order[numbers]
        return torch.stack([chosen // overview[1], chosen % overview[1]], 1)

    def _attracting(self, one: Sample, overview: tuple[int, int], field: tuple[float, float]) -> Tensor:
        if one.varied:
            return self._made(one, overview, field)
        if one.stem not in self._attraction:
            self._attraction[one.stem] = self._made(one, overview, field)
        return self._attraction[one.stem]

    def _made(self, one: Sample, overview: tuple[int, int], field: tuple[float, float]) -> Tensor:
        """(h, w) float32: the mean weight of the labels around each location, in its smallest field."""
        assert self.weights is not None
        table = torch.zeros(256)
        table[: len(self.weights)] = self.weights
        summed = np.zeros((one.size[0] + 1, one.size[1] + 1))
        np.cumsum(np.cumsum(table[one.labels[0].long()].numpy(), 0, dtype=np.float64), 1, out=summed[1:, 1:])
        edges = []
        for axis in (0, 1):
            middle = centres_of(np.arange(overview[axis]), overview[axis], one.size[axis])
            half = field[axis] / 2
            low = np.ceil(middle - half).clip(0, one.size[axis] - 1).astype(np.int64)
            high = np.floor(middle + half).clip(0, one.size[axis] - 1).astype(np.int64) + 1
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
