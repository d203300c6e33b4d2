"""Foveation studies: local scores, the gold standard, strides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from saccade.data import ClassTable
from saccade.data.cache import Sample
from saccade.lab.studies import STUDIES, load_study
from saccade.lab.studies.foveation import compare_maps, foveation_map, gold_standard, local_miou, stride_study
from saccade.samplers.foveation import FoveationSampler
from saccade.segmenter import Segmenter
from saccade.warp.pyramid import Pyramid

CLASSES = ClassTable(("dark", "bright"), (0, 1), ((0, 0, 0), (255, 255, 255)), 255)
BANK = (12, 20, 40)


class Bright(nn.Module):
    """Says whether a pixel is bright; or the contrary."""

    def __init__(self, sign: float = 1.0) -> None:
        super().__init__()
        self.sign = sign

    def forward(self, image: Tensor) -> Tensor:
        light = self.sign * image.mean(1, keepdim=True)
        return torch.cat([-light, light], 1) * 8


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The images are tiny."""


@pytest.fixture
def halves() -> Sample:
    labels = (torch.arange(60) >= 30).to(torch.uint8).expand(1, 44, 60).clone()
    image = labels[:, None].expand(1, 3, 44, 60).contiguous() * 255
    return Sample("halves", Pyramid.of(image), labels)


def segmenter(network: nn.Module, estimator: str = "fixed", field: int = 0) -> Segmenter:
    torch.manual_seed(0)
    sampler = FoveationSampler((12, 12), BANK, shrink=4, estimator=estimator, field=field)
    return Segmenter(sampler, network, mean=(0.5,) * 3, std=(0.25,) * 3).eval()


def test_the_local_score_is_that_of_the_smallest_field_around_a_place(halves: Sample) -> None:
    sampler = segmenter(Bright()).sampler
    assert isinstance(sampler, FoveationSampler)
    predicted = halves.labels[0].clone()
    predicted[:, 24:36] = 1 - predicted[:, 24:36]
    found = local_miou(predicted, halves.labels[0], 2, sampler)
    assert found.shape == (11, 15)
    row, column = 5, 7
    lines, columns = (
        [n for n in range(side) if abs(n - place * (side - 1) / (count - 1)) <= 6]
        for place, count, side in ((row, 11, 44), (column, 15, 60))
    )
    window = np.ix_(lines, columns)
    said, true = predicted.numpy()[window], halves.labels[0].numpy()[window]
    each = [((said == k) & (true == k)).sum() / ((said == k) | (true == k)).sum() for k in (0, 1)]
    assert float(found[row, column]) == pytest.approx(np.mean(each))
    assert float(found[0, 0]) == 1.0


def test_the_gold_standard_leans_to_the_field_that_serves(halves: Sample) -> None:
    wrong, right = Bright(-1), Bright()
    for good, best in ((0, 0.0), (2, 1.0)):
        fixed = [segmenter(right if n == good else wrong, field=n) for n in range(3)]
        weighed, nearest = gold_standard(fixed, halves, 2)
        assert np.allclose(nearest, best)
        assert np.abs(weighed - best).mean() < 0.15


def test_maps_are_compared_image_by_image(halves: Sample) -> None:
    fixed = [segmenter(Bright() if n == 0 else Bright(-1), field=n) for n in range(3)]
    found = compare_maps(fixed, {"fixed0": fixed[0], "fixed2": fixed[2]}, [halves, halves], 2)
    assert list(found.stems) == ["halves"] * 2
    scores = found.to_json()
    assert scores["mse_best"]["fixed0"]["mean"] == 0 and scores["mse_best"]["fixed2"]["mean"] == 1
    assert scores["mse"]["fixed0"]["mean"] < 0.1 < scores["mse"]["fixed2"]["mean"]


def test_a_map_is_between_the_smallest_and_the_widest_field(halves: Sample) -> None:
    found = foveation_map(segmenter(Bright(), "mean"), halves)
    assert found.shape == (11, 15) and found.min() >= 0 and found.max() <= 1


def test_strides_that_leave_gaps_are_left_out_and_the_others_scored(halves: Sample) -> None:
    made = segmenter(Bright())
    own = made.sampler.stride
    found = stride_study(made, [halves], CLASSES, (1, 2, 8)).scores
    assert [one.stride for one in found] == [1, 2] and made.sampler.stride == own
    assert found[0].locations == 11 * 15 and found[1].locations == 6 * 8
    assert all(one.miou > 0.9 for one in found)


@pytest.mark.parametrize("name", ["foveation", "foveation-stride", "fields-of-view"])
def test_the_studies_are_on_the_list(name: str) -> None:
    assert name in STUDIES and load_study(name).name == name
