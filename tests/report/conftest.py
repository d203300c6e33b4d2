"""A small evaluation and the pictures of an image, without any network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from saccade.evaluation import Evaluation, ImageRecord
from saccade.metrics import boundary_counts, confusion_matrix, object_records, trimap_counts
from saccade.metrics.boundary import WIDTHS
from saccade.metrics.cost import Cost
from saccade.report.examples import SegmentedSample


def make_segmented(seed: int, size: tuple[int, int] = (80, 120), density: bool = True) -> SegmentedSample:
    rng = np.random.default_rng(seed)
    truth = np.zeros(size, np.uint8)
    truth[size[0] // 4 : -size[0] // 4, size[1] // 4 : -size[1] // 4] = 1
    truth[size[0] // 2 : size[0] // 2 + 6, size[1] // 2 : size[1] // 2 + 9] = 2
    prediction = np.roll(truth, seed + 1, 1)
    image = (rng.random((*size, 3)) * 60 + truth[..., None] * 60).astype(np.uint8)
    truth[:3] = 255
    grids = (rng.random((1, 6, 9, 2)) * 2 - 1).astype(np.float32)
    return SegmentedSample(
        f"photo{seed}", image, truth, prediction, grids, rng.random((8, 12)) if density else None
    )


def make_evaluation(classes: tuple[str, ...] = ("ground", "leaf", "spot"), images: int = 5) -> Evaluation:
    records = []
    for seed in range(images):
        segmented = make_segmented(seed)
        pred, truth = torch.tensor(segmented.prediction)[None], torch.tensor(segmented.truth)[None]
        k = len(classes)
        confusion = confusion_matrix(pred, truth, k)
        records.append(
            ImageRecord(
                segmented.stem,
                confusion,
                confusion_matrix(truth.where(truth != 255, 0), truth, k),
                boundary_counts(pred, truth, k),
                trimap_counts(pred, truth, k),
                torch.stack([confusion.sum(1), confusion.sum(1)]),
                object_records(pred, truth, k),
            )
        )
    return Evaluation(classes, tuple(records), Cost(8192, 1.9, 0.4, 0.021, 55_000_000), WIDTHS)


@pytest.fixture
def segmented():
    return make_segmented


@pytest.fixture
def evaluation():
    return make_evaluation
