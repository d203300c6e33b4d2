"""How sure a score, or a difference of scores, is: the bootstrap over images and seeds, vectorised.

A score is a ratio of sums over the images (an IoU: pixels in both over pixels in either). Drawing images with
replacement is then a product of two matrices, draws x images and images x counts (Efron and Tibshirani 1993).
All scores that are compared are drawn with the same images, so that a difference is one within each image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from saccade.errors import InvalidInput

DRAWS = 4000
LEVEL = 0.95
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value and the range that holds the middle 95 % of its draws.

    Attributes:
        value: of the data as they are.
        low, high: of the range; infinite where the draws are.
    """

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Of a difference: "win" or "loss" where the range excludes zero, else "unclear"."""
        return "win" if self.low > 0 else "loss" if self.high < 0 else "unclear"


def iou_parts(confusion: Tensor | NDArray[Any]) -> Array:
    """(..., 2, K) intersections and unions of confusion matrices (..., K, K), rows true, columns said."""
    counts = np.asarray(confusion, np.float64)
    both = np.diagonal(counts, axis1=-2, axis2=-1)
    return np.stack([both, counts.sum(-1) + counts.sum(-2) - both], -2)


def draw_images(images: int, draws: int = DRAWS, seed: int = 0) -> Array:
    """(draws, images): how often each image was drawn, ``images`` times with replacement.

    Raises:
        InvalidInput: without images or draws.
    """
    if images < 1 or draws < 1:
        raise InvalidInput("images and draws", "at least 1", (images, draws))
    generator = np.random.default_rng(seed)
    return generator.multinomial(images, np.full(images, 1 / images), size=draws).astype(np.float64)


@dataclass(frozen=True)
class Resampled:
    """M ratios and, last, their mean over those that have a value.

    Attributes:
        values: (M + 1,) of the data as they are, mean over the seeds.
        draws: (draws, M + 1).
    """

    values: Array
    draws: Array

    def interval(self, which: int = -1) -> Interval:
        """Of ratio ``which``; default the mean of all."""
        return interval(float(self.values[which]), self.draws[:, which])

    def gain(self, over: Resampled, which: int = -1) -> Interval:
        """Of the difference to another with the same images, draw by draw."""
        value = float(self.values[which] - over.values[which])
        return interval(value, self.draws[:, which] - over.draws[:, which])


def resample(parts: Array, images: Array, seed: int = 1) -> Resampled:
    """The ratios of drawn images and drawn seeds.

    A draw of seeds has its spread about their mean widened by sqrt(S / (S - 1)), so that its variance is the
    unbiased one, which matters for three seeds. With one seed the spread is that of the images alone.

    Args:
        parts: (S, N, 2, M) numerators and denominators of S seeds and N images.
        images: (draws, N) from :func:`draw_images`, the same for all that is compared.
        seed: of the drawing of the seeds; another for each that is compared, as their trainings are.

    Raises:
        InvalidInput: when the shapes do not fit.
    """
    if parts.ndim != 4 or parts.shape[2] != 2 or parts.shape[1] != images.shape[1]:
        expected = f"of shape (S, {images.shape[1]}, 2, M)"
        raise InvalidInput("parts", expected, parts.shape)
    seeds, number, _, ratios = parts.shape
    weights = _seed_weights(seeds, len(images), seed)
    drawn = np.stack(
        [_scores((images @ part.reshape(number, -1)).reshape(-1, 2, ratios)) for part in parts], 1
    )
    whole = _scores(parts.sum(1))
    return Resampled(_weighted(whole[None], np.full((1, seeds), 1 / seeds))[0], _weighted(drawn, weights))


def interval(value: float, draws: Array, level: float = LEVEL) -> Interval:
    """The middle ``level`` of the draws that have a value; nan where none has."""
    known = draws[~np.isnan(draws)]
    if not len(known):
        return Interval(value, np.nan, np.nan)
    ends = np.quantile(known, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return Interval(value, float(ends[0]), float(ends[1]))


def _seed_weights(seeds: int, draws: int, seed: int) -> Array:
    """(draws, S) that sum to 1."""
    if seeds == 1:
        return np.ones((draws, 1))
    generator = np.random.default_rng(seed)
    share = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
    return 1 / seeds + (share - 1 / seeds) * (seeds / (seeds - 1)) ** 0.5


def _scores(parts: Array) -> Array:
    """(..., 2, M) to (..., M + 1): ratios, nan where there is nothing to divide by, and their mean."""
    over, under = parts[..., 0, :], parts[..., 1, :]
    known = under > 0
    ratios = np.divide(over, under, out=np.full(over.shape, np.nan), where=known)
    count = known.sum(-1)
    total = np.where(known, ratios, 0).sum(-1)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return np.concatenate([ratios, mean[..., None]], -1)


def _weighted(scores: Array, weights: Array) -> Array:
    """(draws, S, M) and (draws, S) to (draws, M); a score that one of the seeds lacks has no value."""
    return (scores * weights[..., None]).sum(1)
