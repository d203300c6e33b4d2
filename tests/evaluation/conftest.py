"""A segmenter whose answers are known: colours are classes, so it errs only where sampling does."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from saccade.grids.uniform import uniform_grid
from saccade.samplers.glimpses import Glimpses
from saccade.segmenter import Segmentation
from saccade.warp import Pyramid, sample, unwarp_labels


class ColourNetwork(nn.Module):
    """Scores 1 for the class whose id is the red value, else 0; class ``blind`` is taken for class 0."""

    def __init__(self, classes: int, blind: int | None = None) -> None:
        super().__init__()
        self.classes, self.blind = classes, blind
        self.seen_in_training = False

    def forward(self, image):
        self.seen_in_training |= self.training
        ids = image[:, 0].long()
        if self.blind is not None:
            ids = ids.where(ids != self.blind, 0)
        return nn.functional.one_hot(ids, self.classes).permute(0, 3, 1, 2).float()


class ColourSegmenter(nn.Module):
    antialias = False

    def __init__(self, size, classes=3, views=1, blind=None):
        super().__init__()
        self.size, self.views = size, views
        self.sampler, self.network = nn.Identity(), ColourNetwork(classes, blind)

    def forward(self, pyramids, labels=None):
        grids = uniform_grid(self.size).repeat(self.views, 1, 1, 1)
        pixels = sample(pyramids[0], grids[:1], mode="nearest").repeat(self.views, 1, 1, 1)
        scores = self.network(pixels)
        return SimpleNamespace(
            scores=scores, views=Glimpses(grids, torch.zeros(self.views, dtype=torch.int64))
        )

    def segment(self, image, labels=None):
        found = self([image], labels=labels)
        full = unwarp_labels(found.scores[:1], found.views.grids[:1], image.size)[0]
        return Segmentation(full, found.scores, found.views, found.scores.shape[1], image)

    def predict(self, image, labels=None):
        pyramid = image if isinstance(image, Pyramid) else Pyramid.of(image)
        prediction = self([pyramid], labels=labels)
        return unwarp_labels(prediction.scores[:1], prediction.views.grids[:1], pyramid.size)


def make_sample(seed: int, size: tuple[int, int] = (60, 90), classes: int = 3, ignored: float = 0.1):
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.normal(size=(classes, *size)), (0, 4, 4))
    ids = fields.argmax(0).astype(np.uint8)
    image = torch.tensor(np.repeat(ids[None, None], 3, 1))
    ids[: round(ignored * size[0])] = 255
    return SimpleNamespace(stem=f"image{seed}", pyramid=Pyramid.of(image), labels=torch.tensor(ids)[None])


@pytest.fixture
def colour_segmenter():
    return ColourSegmenter


@pytest.fixture
def samples():
    return [make_sample(seed, size) for seed, size in enumerate([(60, 90), (41, 70), (80, 33)])]


@pytest.fixture
def sample_of():
    return make_sample
