"""From file to file with a sampler that adds up its own patches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saccade.data.classes import ClassTable
from saccade.inference import Job, PredictionConfig, predict_image
from saccade.networks import build_network
from saccade.samplers.foveation import FoveationSampler
from saccade.segmenter import Segmenter

CLASSES = ClassTable(("a", "b", "c"), (0, 1, 2), ((1, 2, 3), (40, 50, 60), (9, 9, 9)), 255)


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The image is tiny."""


@pytest.mark.parametrize("estimator", ["mean", "mode"])
def test_the_file_says_what_the_segmenter_says(tmp_path: Path, estimator: str) -> None:
    torch.manual_seed(0)
    pixels = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    sampler = FoveationSampler((8, 8), (12, 20, 40), shrink=4, estimator=estimator)
    segmenter = Segmenter(sampler, build_network("small:4", 3)).eval()
    job = Job(tmp_path / "image.png", tmp_path / "labels.png")
    predict_image(segmenter, job, PredictionConfig(CLASSES))
    wanted = segmenter.predict(torch.from_numpy(pixels).permute(2, 0, 1))
    assert np.array_equal(np.asarray(Image.open(job.labels)), wanted.numpy())
