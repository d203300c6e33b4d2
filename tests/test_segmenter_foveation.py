"""A segmenter with a foveation sampler: whole images, strip by strip."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from saccade.metrics.cost import measure_cost
from saccade.networks import build_network
from saccade.samplers.foveation import FoveatedImage, FoveationSampler
from saccade.segmenter import Segmenter
from saccade.warp.pyramid import Pyramid

ESTIMATORS = ("mean", "mode", "fixed", "random", "average")


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The images are tiny."""


class Bright(nn.Module):
    """Says whether a pixel is bright."""

    def forward(self, image: Tensor) -> Tensor:
        light = image.mean(1, keepdim=True)
        return torch.cat([-light, light], 1) * 8


class Source:
    """An image in memory as if it lay on a disk."""

    def __init__(self, pyramid: Pyramid) -> None:
        self.pyramid, self.size, self.white = pyramid, pyramid.size, 255.0

    def sample(self, grids: Tensor, *, antialias: bool) -> Tensor:
        from saccade.warp.sampling import sample

        return sample(self.pyramid, grids, antialias=antialias)


def segmenter(network: nn.Module | None = None, **options: object) -> Segmenter:
    torch.manual_seed(1)
    sampler = FoveationSampler((8, 8), (8, 14, 30), shrink=2, **options)  # type: ignore[arg-type]
    network = build_network("small:4", 3) if network is None else network
    return Segmenter(sampler, network, mean=(0.5,) * 3, std=(0.25,) * 3).eval()


def foveated(made: Segmenter, source: Pyramid | Source) -> FoveatedImage:
    assert isinstance(made.sampler, FoveationSampler)
    return made.sampler.foveate(made.view(source))


def halves(size: tuple[int, int]) -> Tensor:
    image = torch.zeros(1, 3, *size, dtype=torch.uint8)
    image[..., size[1] // 2 :] = 255
    return image


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("window", ["smooth", "uniform"])
def test_what_is_bright_is_found_where_it_is(estimator: str, window: str) -> None:
    size = (40, 52)
    found = segmenter(Bright(), estimator=estimator, window=window).predict(halves(size))
    assert found.shape == (1, *size) and found.dtype == torch.uint8
    wrong = found[0] != (torch.arange(52) >= 26)
    assert not wrong[:, :24].any() and not wrong[:, 28:].any()


@pytest.mark.parametrize("field", [0, 1, 2])
def test_the_aligned_reading_puts_an_edge_back_whatever_was_fed(field: int) -> None:
    found = segmenter(Bright(), estimator="fixed", field=field).predict(halves((40, 52)))
    assert int((found[0] != (torch.arange(52) >= 26)).sum()) <= 40 * 2


def test_as_published_the_answer_to_a_wide_field_stands_for_the_smallest() -> None:
    """An edge 5.5 pixels right of the middle is there in 16 pixels; in 48 it looks a third as far."""
    places = torch.zeros(1, 2, dtype=torch.float64)
    found = {}
    for reading in ("aligned", "published"):
        sampler = FoveationSampler((8, 8), (16, 48), shrink=4, estimator="fixed", field=1, reading=reading)
        made = Segmenter(sampler, Bright(), mean=(0.5,) * 3, std=(0.25,) * 3).eval()
        image = torch.zeros(1, 3, 61, 61, dtype=torch.uint8)
        image[..., 36:] = 255
        weights = torch.tensor([[0.0, 1.0]])
        scores = foveated(made, Pyramid.of(image)).scores(places, weights)
        found[reading] = (scores[0, 1] > 0.5).float().mean().item()
    assert found["aligned"] == pytest.approx((38 - 35.5) / 16, abs=0.13)
    assert found["published"] == pytest.approx((54 - 35.5) / 48, abs=0.07)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(ESTIMATORS), st.integers(1, 40))
def test_any_band_height_gives_the_same_bits_and_no_gap(
    height: int, width: int, estimator: str, rows: int
) -> None:
    made = segmenter(estimator=estimator)
    torch.manual_seed(2)
    pyramid = Pyramid.of(torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8))
    with torch.no_grad():
        image = foveated(made, pyramid)
        whole = next(iter(image.strips(height, scores=True)))
        parts = list(image.strips(rows, scores=True))
    assert np.array_equal(np.concatenate([part.labels for part in parts]), whole.labels)
    assert whole.scores is not None
    assert np.array_equal(np.concatenate([p.scores for p in parts if p.scores is not None]), whole.scores)
    assert whole.labels.shape == (height, width) and whole.labels.max() < 3


def test_work_that_goes_on_from_a_row_gives_the_rest() -> None:
    made = segmenter(estimator="mean")
    pyramid = Pyramid.of(torch.randint(0, 256, (1, 3, 61, 33), dtype=torch.uint8))
    image = foveated(made, pyramid)
    whole = np.concatenate([strip.labels for strip in image.strips(16)])
    rest = list(image.strips(16, start=32))
    assert rest[0].top == 32
    assert np.array_equal(np.concatenate([strip.labels for strip in rest]), whole[32:])


@pytest.mark.parametrize("estimator", ["mean", "mode", "random"])
def test_an_image_on_disk_is_read_as_one_in_memory(estimator: str) -> None:
    made = segmenter(estimator=estimator)
    pyramid = Pyramid.of(torch.randint(0, 256, (1, 3, 41, 57), dtype=torch.uint8))
    there = foveated(made, Source(pyramid))
    with torch.no_grad():
        labels = np.concatenate([strip.labels for strip in there.strips(9)])
    assert np.array_equal(labels, made.predict(pyramid)[0].numpy())
    regions = there.regions
    assert len(regions) == len(there.glimpses().grids) and (regions[:, :2].diff() > 0).all()


def test_images_smaller_than_a_patch_are_mirrored_and_labelled() -> None:
    for size in ((1, 1), (3, 2), (5, 70)):
        found = segmenter(estimator="mean").predict(torch.full((3, *size), 90, dtype=torch.uint8))
        assert found.shape == size


@pytest.mark.parametrize("border", ["reflect", "edge", "zero"])
def test_every_border_policy_labels_the_whole_image(border: str) -> None:
    found = segmenter(Bright(), estimator="average", border=border).predict(halves((24, 30)))
    assert (found[0, :, 20:] == 1).all() and (found[0, :, :10] == 0).all()


def test_it_is_looked_at_and_its_cost_counts_every_patch_read() -> None:
    image = torch.randint(0, 256, (1, 3, 40, 52), dtype=torch.uint8)
    made = segmenter(estimator="mean")
    found = made.segment(Pyramid.of(image))
    locations = len(found.glimpses.grids)
    assert found.classes == 3 and found.labels.shape == (40, 52) and found.density is not None
    cost = measure_cost(made, image)
    assert cost.pixels == locations * 3 * 64
    assert 0 < cost.sampler_gflops < cost.gflops


def test_several_images_are_labelled_at_once() -> None:
    images = torch.randint(0, 256, (2, 3, 21, 30), dtype=torch.uint8)
    made = segmenter(estimator="mode")
    both = made.predict(images)
    assert torch.equal(both[1], made.predict(images[1]))
    with torch.no_grad():
        found = made(images)
    assert len(found.scores) == len(found.views.grids) == len(found.views.image_index)
    assert found.views.image_index.unique().tolist() == [0, 1]
