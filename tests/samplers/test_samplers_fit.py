"""Sizes that follow the proportions of each image."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.errors import InvalidInput
from saccade.geometry import Fit
from saccade.networks import SmallUNet
from saccade.samplers.deformation import DeformationSampler
from saccade.samplers.oracle import OracleSampler
from saccade.samplers.uniform import UniformSampler
from saccade.segmenter import Segmenter
from saccade.warp.pyramid import Pyramid

SIDES = st.integers(1, 30_000)


@pytest.mark.parametrize(
    ("image", "size"),
    [
        ((368, 7986), (36, 800)),  # the paper's example
        ((7986, 368), (800, 36)),
        ((2000, 3000), (80, 120)),
        ((80, 800), (80, 800)),
        ((40, 50), (80, 100)),
        ((10, 30_000), (2, 800)),
    ],
)
def test_sizes_are_those_of_the_paper(image: tuple[int, int], size: tuple[int, int]) -> None:
    assert Fit(80, 800).of(image) == size


@given(SIDES, SIDES)
@settings(max_examples=100, deadline=None)
def test_both_limits_hold_and_one_is_reached(rows: int, columns: int) -> None:
    found = Fit(80, 800).of((rows, columns))
    assert found == Fit(80, 800).of((columns, rows))[::-1]
    assert min(found) <= 80 and max(found) <= 800
    assert min(found) == 80 or max(found) == 800
    if min(found) > 2:  # in proportion, up to the rounding of one side
        assert abs(found[0] * columns - found[1] * rows) <= max(rows, columns)


@pytest.mark.parametrize(("short", "long"), [(1, 800), (0, 5), (81, 80)])
def test_impossible_limits_are_refused(short: int, long: int) -> None:
    with pytest.raises(InvalidInput, match="SHORTxLONG"):
        Fit(short, long)


def test_a_sampler_for_an_image_shares_its_weights_and_leaves_the_other_as_it_is() -> None:
    sampler = DeformationSampler((8, 80), thumbnail_size=(4, 40), density_size=(2, 20))
    assert sampler.for_image((100, 200)) is sampler
    sampler.follow_images()
    sized = sampler.for_image((100, 200))
    assert (sized.size, sized.thumbnail_size, sized.density_size) == ((8, 16), (4, 8), (2, 4))
    assert (sampler.size, sampler.thumbnail_size, sampler.density_size) == ((8, 80), (4, 40), (2, 20))
    assert all(a is b for a, b in zip(sized.parameters(), sampler.parameters(), strict=True))
    assert sampler.thumbnail_for((400, 100)) == (16, 4)


@pytest.mark.parametrize("kind", [UniformSampler, DeformationSampler, OracleSampler])
def test_each_image_is_segmented_in_its_own_proportions(kind: type) -> None:
    sampler = kind((8, 40))
    sampler.follow_images()
    segmenter = Segmenter(sampler, SmallUNet(2, width=2, depth=1)).eval()
    for size, view in [((30, 60), (8, 16)), ((60, 30), (16, 8)), ((10, 90), (4, 40))]:
        image = torch.randint(0, 255, (1, 3, *size), dtype=torch.uint8)
        labels = [torch.randint(0, 2, size, dtype=torch.uint8)]
        with torch.no_grad():
            assert segmenter(image, labels).views.size == view
        assert segmenter.predict(image, labels).shape == (1, *size)
        with torch.no_grad():
            assert segmenter(image, labels, size=(6, 7)).views.size == (6, 7)


def test_images_of_different_shapes_do_not_go_into_one_call() -> None:
    sampler = UniformSampler((8, 40))
    sampler.follow_images()
    segmenter = Segmenter(sampler, SmallUNet(2, width=2, depth=1)).eval()
    pyramids = [Pyramid.of(torch.zeros(1, 3, *size, dtype=torch.uint8)) for size in [(20, 40), (40, 20)]]
    with pytest.raises(InvalidInput, match="one by one"):
        segmenter.sampler.glimpse([segmenter.view(one) for one in pyramids])
