"""What several studies share.

Arms have the names that they have in every comparison, so that runs are shared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from saccade.data.cache import Sample
from saccade.evaluation.comparison.arms import Arm, Outcome, Setting
from saccade.evaluation.comparison.results import Comparison
from saccade.metrics.bootstrap import Interval, Resampled, draw_images, iou_parts, resample
from saccade.training.sampler_options import SAMPLERS

Counts = Callable[[Sample], Sequence[Tensor]]
"""Of an image, confusion matrices (K, K), one for each way that is compared."""

UNIFORM = Arm("uniform", ("sampler.name=uniform",))
DEFORMATION = Arm("deformation", ("sampler.name=deformation",))
DOWNSAMPLERS = tuple(name for name in ("uniform", "oracle", "boundary", "deformation") if name in SAMPLERS)
"""Samplers of one view an image."""


def compared(setting: Setting, outcomes: Sequence[Outcome]) -> Comparison:
    """The outcomes of a study's arms as a comparison, for gains between any two of them."""
    arms = tuple(dict.fromkeys(one.case.arm for one in outcomes))
    return Comparison(setting, arms, tuple(outcomes))


def scored(setting: Setting, confusion: Counts) -> list[Resampled]:
    """IoUs from confusion matrices of single images, resampled: one for each that ``confusion`` gives.

    Args:
        setting: whose images are visited once.
        confusion: counts an image.
    """
    rows = [[iou_parts(one) for one in confusion(sample)] for sample in setting.samples()]
    ways = np.array(rows).swapaxes(0, 1)[:, None]
    images = draw_images(len(rows))
    return [resample(parts, images) for parts in ways]


def gain_text(found: Interval) -> str:
    """``+3.1 [2.5, 3.7], win``."""
    low, high = 100 * found.low, 100 * found.high
    return f"{100 * found.value:+.1f} [{low:.1f}, {high:.1f}], {found.verdict}"
