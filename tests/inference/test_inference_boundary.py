"""Prediction with a sampler that predicts a tensor and no density."""

from __future__ import annotations

import pytest
from torch import nn

from saccade.errors import UsageError
from saccade.inference.jobs import require_predictor
from saccade.samplers import BoundarySampler, DeformationSampler
from saccade.segmenter import Segmenter


def test_its_density_is_refused_before_anything_is_read() -> None:
    segmenter = Segmenter(BoundarySampler((8, 8), width=4), nn.Conv2d(3, 2, 1))
    with pytest.raises(UsageError, match=r"BoundarySampler predicts no density; leave density out of --save"):
        require_predictor(segmenter, ["density"])
    require_predictor(segmenter, ["samples", "overlay", "scores"])


def test_the_density_of_one_that_predicts_it_is_not_refused() -> None:
    require_predictor(Segmenter(DeformationSampler((8, 8)), nn.Conv2d(3, 2, 1)), ["density"])
