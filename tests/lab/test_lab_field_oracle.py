"""The oracle picks, location by location, the field of view whose answer is nearest to the labels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from saccade.data import ClassTable
from saccade.data.cache import Sample
from saccade.errors import InvalidInput
from saccade.lab.studies.field_oracle import field_oracle
from saccade.samplers.foveation import FoveationSampler
from saccade.segmenter import Segmenter
from saccade.warp.pyramid import Pyramid

CLASSES = ClassTable(("dark", "bright"), (0, 1), ((0, 0, 0), (255, 255, 255)), 255)


class Says(nn.Module):
    """Sure of one class, whatever it sees."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, image: Tensor) -> Tensor:
        told = torch.full((len(image),), self.k)
        return 9.0 * nn.functional.one_hot(told, 2)[:, :, None, None].expand(-1, -1, *image.shape[2:]).float()


class Sees(nn.Module):
    """Says the class that the middle of its patch has."""

    def forward(self, image: Tensor) -> Tensor:
        light = image.mean(1, keepdim=True)
        return torch.cat([-light, light], 1) * 8


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The images are tiny."""


@pytest.fixture
def halves() -> Sample:
    labels = (torch.arange(60) >= 30).to(torch.uint8).expand(1, 44, 60).clone()
    return Sample("halves", Pyramid.of(labels[:, None].expand(1, 3, 44, 60).contiguous() * 255), labels)


def segmenter(network: nn.Module, estimator: str = "fixed", field: int = 0) -> Segmenter:
    torch.manual_seed(0)
    sampler = FoveationSampler((12, 12), (12, 20, 40), shrink=4, estimator=estimator, field=field)
    return Segmenter(sampler, network, mean=(0.5,) * 3, std=(0.25,) * 3).eval()


def test_each_half_is_given_to_the_network_that_knows_it(halves: Sample) -> None:
    fixed = [segmenter(Says(k), field=n) for n, k in enumerate((0, 0, 1))]
    found = field_oracle(fixed, [halves], CLASSES)
    assert found.alone == [pytest.approx(0.25)] * 3
    assert found.miou > 0.85  # of a patch on the border one half is lost
    assert found.picks[1] == 0  # of two that err alike the smallest field
    assert found.picks[0] == pytest.approx(0.5, abs=0.1) and sum(found.picks) == pytest.approx(1)


def test_one_network_isfed_with_every_field() -> None:
    blocks = torch.rand(9, 12, generator=torch.Generator().manual_seed(0)) > 0.5
    labels = blocks.repeat_interleave(5, 0).repeat_interleave(5, 1)[None, :44].to(torch.uint8)
    spots = Sample("spots", Pyramid.of(labels[:, None].expand(1, 3, 44, 60).contiguous() * 255), labels)
    found = field_oracle([segmenter(Sees(), "random")], [spots], CLASSES)
    fixed = [segmenter(Sees(), field=n) for n in range(3)]
    assert found.alone == field_oracle(fixed, [spots], CLASSES).alone
    assert found.alone[0] > found.alone[2]  # a wide patch blurs the spots
    assert found.miou >= max(found.alone) and found.picks[0] > found.picks[2]


def test_the_fields_alone_are_the_fixed_baselines(halves: Sample) -> None:
    one = segmenter(Sees(), field=1)
    predicted = one.predict(halves.pyramid).view(halves.labels.shape)
    both = ((predicted == k) & (halves.labels == k) for k in (0, 1))
    any_ = ((predicted == k) | (halves.labels == k) for k in (0, 1))
    by_hand = sum(float(a.sum() / b.sum()) for a, b in zip(both, any_, strict=True)) / 2
    assert field_oracle([one], [halves], CLASSES).alone[1] == pytest.approx(by_hand)


def test_places_without_labels_choose_nothing(halves: Sample) -> None:
    labels = halves.labels.clone()
    labels[:, :, 30:] = 255
    half = Sample("half", halves.pyramid, labels)
    found = field_oracle([segmenter(Says(k), field=n) for n, k in enumerate((1, 0, 0))], [half], CLASSES)
    assert found.picks == [0, 1, 0] and found.miou == 1 and found.iou == [1, None]


def test_what_it_cannot_bound_is_refused(halves: Sample) -> None:
    with pytest.raises(InvalidInput, match="1, or 3, one for each field"):
        field_oracle([segmenter(Sees())] * 2, [halves], CLASSES)
    with pytest.raises(InvalidInput, match="feeds one field a location"):
        field_oracle([segmenter(Sees(), "mean")], [halves], CLASSES)
    with pytest.raises(InvalidInput, match="at least one"):
        field_oracle([segmenter(Sees())], [], CLASSES)
