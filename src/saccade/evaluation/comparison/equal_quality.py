"""Pixels for equal quality: how many more the reference needs for the score of another arm."""

from __future__ import annotations

import numpy as np

from saccade.evaluation.comparison.results import Comparison, Point
from saccade.metrics.bootstrap import Array, Interval, interval


def pixels_for(scores: Array, pixels: Array, curve: Array) -> Array:
    """Where a curve of scores over pixels first reaches a score.

    Between two sizes the score is taken as linear in the logarithm of the pixels. Outside the sizes that were
    measured nothing is assumed.

    Args:
        scores: (T,) to be reached.
        pixels: (P,) of the curve, ascending.
        curve: (T, P) scores of the curve.

    Returns:
        (T,) pixels; infinite above all that the curve reaches, 0 at or below its first score.
    """
    found = np.full(scores.shape, np.inf)
    steps = np.log2(pixels)
    for here in range(len(pixels) - 2, -1, -1):
        low, high = curve[:, here], curve[:, here + 1]
        crosses = (low < scores) & (scores <= high)
        rise = np.where(crosses, high - low, 1)
        share = np.where(crosses, (scores - low) / rise, 0)
        found = np.where(crosses, 2 ** (steps[here] + share * (steps[here + 1] - steps[here])), found)
    return np.where(scores <= curve[:, 0], 0.0, found)


def equal_quality(compared: Comparison, point: Point, which: int = -1) -> Interval | None:
    """Times the pixels that the reference needs for the score of ``point``; None without two of its sizes.

    The value is infinite where the reference reaches that score at no size measured, 0 where it is there
    already at its smallest.
    """
    reference = sorted(compared.of(compared.reference), key=lambda one: one.pixels)
    if len(reference) < 2 or point.arm == compared.reference:
        return None
    pixels = np.array([one.pixels for one in reference], np.float64)
    drawn = np.stack([one.iou.draws[:, which] for one in reference], 1)
    value = np.array([[one.iou.values[which] for one in reference]])
    factors = pixels_for(point.iou.draws[:, which], pixels, drawn) / point.pixels
    middle = pixels_for(point.iou.values[which : which + 1 or None], pixels, value) / point.pixels
    return interval(float(middle[0]), factors)
