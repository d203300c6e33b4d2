"""Foveation: what is chosen, how it is read, where the locations lie."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from saccade.errors import InvalidInput
from saccade.samplers.foveation import FoveationSampler, blend
from saccade.samplers.foveation_choice import (
    FoveationNet,
    Reading,
    central,
    choose_blindly,
    choose_in_prediction,
    choose_in_training,
    expected_regret,
    temperature_at,
)
from saccade.samplers.foveation_lattice import Lattice, thumbnail_size

LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.0, 0.1, 3.0]])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_published_net_has_17280_weights_and_gives_probabilities() -> None:
    net = FoveationNet(5)
    kernels = sum(p.numel() for p in net.parameters() if p.ndim == 4)
    assert kernels == 3 * 40 * 9 + 40 * 40 * 9 + 40 * 5 * 9
    found = net(torch.randn(2, 3, 9, 11)).exp()
    assert found.shape == (2, 5, 9, 11)
    torch.testing.assert_close(found.sum(1), torch.ones(2, 9, 11))


def test_a_large_thumbnail_in_strips_gives_what_it_gives_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    net = FoveationNet(4).eval()
    thumbnail = torch.randn(1, 3, 53, 17)
    with torch.no_grad():
        whole = net(thumbnail)
        monkeypatch.setattr("saccade.samplers.foveation_choice.STRIP", 17 * 10)
        torch.testing.assert_close(net(thumbnail), whole, atol=1e-5, rtol=1e-5)


def test_mean_feeds_the_probabilities() -> None:
    log = LOGITS.log_softmax(1)
    choice = choose_in_training(log, "mean", generator())
    torch.testing.assert_close(choice.weights, LOGITS.softmax(1))


def test_mode_is_one_hot_and_its_gradient_that_of_the_probabilities() -> None:
    target = torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.2, 0.1]])
    gradients = []
    for kind in ("mode", "mean"):
        logits = LOGITS.clone().requires_grad_()
        weights = choose_in_training(logits.log_softmax(1), kind, generator()).weights
        if kind == "mode":
            assert weights.tolist() == [[1, 0, 0], [0, 0, 1]]
        (weights * target).sum().backward()
        gradients.append(logits.grad)
    assert torch.allclose(gradients[0], gradients[1])


def test_gumbel_draws_by_the_probabilities_and_is_nearly_one_hot_at_the_floor() -> None:
    log = torch.tensor([0.6, 0.3, 0.1]).log().expand(20_000, 3)
    weights = choose_in_training(log, "gumbel", generator(), 0.1).weights
    assert weights.max(1).values.mean() > 0.9
    shares = torch.bincount(weights.argmax(1), minlength=3) / len(weights)
    assert torch.allclose(shares, torch.tensor([0.6, 0.3, 0.1]), atol=0.015)


def test_reinforce_draws_by_the_probabilities_and_tells_their_logarithm() -> None:
    log = torch.tensor([0.5, 0.2, 0.3]).log().expand(20_000, 3).clone().requires_grad_()
    choice = choose_in_training(log, "reinforce", generator())
    assert choice.log_probability is not None
    chosen = choice.weights.argmax(1)
    assert torch.equal(choice.log_probability, log.detach()[0, chosen])
    shares = torch.bincount(chosen, minlength=3) / len(chosen)
    assert torch.allclose(shares, torch.tensor([0.5, 0.2, 0.3]), atol=0.015)


@pytest.mark.parametrize("estimator", ["mode", "gumbel", "reinforce", "regret"])
def test_a_prediction_takes_the_most_probable_field_without_chance(estimator: str) -> None:
    weights = choose_in_prediction(LOGITS.log_softmax(1), estimator)
    assert weights.tolist() == [[1, 0, 0], [0, 0, 1]]


def test_regret_feeds_every_field_alike_and_asks_for_the_cheapest() -> None:
    log = LOGITS.log_softmax(1)[:1].expand(9000, 3).clone().requires_grad_()
    choice = choose_in_training(log, "regret", generator())
    assert choice.log_probabilities is log and not choice.weights.requires_grad
    assert (choice.weights.sum(0) - 3000).abs().max() < 200
    losses = torch.tensor([[0.5, 0.2, 0.9]])
    sure = torch.tensor([[0.0, 1.0, 0.0]]).log()
    assert float(expected_regret(sure, losses)) == 0
    assert float(expected_regret(torch.full((1, 3), 1 / 3).log(), losses)) == pytest.approx(1.0 / 3)


def test_the_baselines_choose_blindly() -> None:
    assert choose_blindly(2, 4, "fixed", 3, None).tolist() == [[0, 0, 0, 1]] * 2
    assert choose_blindly(2, 4, "average", 0, None).tolist() == [[0.25] * 4] * 2
    drawn = choose_blindly(4000, 4, "random", 0, generator()).sum(0)
    assert drawn.sum() == 4000 and (drawn - 1000).abs().max() < 120


def test_the_temperature_reaches_its_floor_in_the_last_step() -> None:
    values = [temperature_at(step, 50, 1.0, 0.1) for step in range(50)]
    assert values[0] == 1.0 and values[-1] == pytest.approx(0.1)
    assert all(a > b for a, b in itertools.pairwise(values))


def test_the_central_share_of_a_ramp_is_a_flatter_ramp_through_the_same_middle() -> None:
    ramp = (torch.arange(16) + 0.5) / 16 - 0.5
    torch.testing.assert_close(central(16, 0.25) @ ramp, ramp * 0.25)
    assert torch.equal(central(16, 1.0), torch.eye(16))
    assert central(1, 0.3).tolist() == [[1.0]]


def test_an_aligned_answer_is_the_middle_of_what_was_fed() -> None:
    """A score that says where it is in the image says the same whatever field was fed."""
    bank, size = (32, 64, 128), (8, 8)
    reading = Reading("aligned", bank, size)
    place = (torch.arange(8) + 0.5) / 8 - 0.5
    scores = torch.stack([width * place for width in bank])[:, None, None, :].expand(3, 1, 8, 8)
    found = reading(scores, torch.eye(3))
    torch.testing.assert_close(found, (32 * place).expand(3, 1, 8, 8))


def test_the_reading_of_a_blend_is_the_weighted_sum_of_the_aligned_ones() -> None:
    reading = Reading("aligned", (10, 15, 40), (6, 6))
    scores, weights = torch.randn(1, 4, 6, 6), torch.tensor([[0.2, 0.5, 0.3]])
    each = reading(scores.expand(3, -1, -1, -1), torch.eye(3))
    torch.testing.assert_close(reading(scores, weights)[0], (weights[0][:, None, None, None] * each).sum(0))


def test_the_published_reading_takes_the_answer_as_it_is() -> None:
    scores = torch.randn(2, 3, 5, 5)
    assert Reading("published", (10, 20), (5, 5))(scores, torch.eye(2)) is scores


def test_a_blend_is_the_weighted_mean_of_the_patches() -> None:
    pixels, weights = torch.randn(4, 3, 3, 5, 5), torch.rand(4, 3).softmax(1)
    wanted = (pixels * weights[:, :, None, None, None]).sum(1)
    torch.testing.assert_close(blend(pixels, weights), wanted)
    assert torch.equal(blend(pixels[:, :1], weights), pixels[:, 0])


sides = st.integers(1, 400)


@settings(max_examples=60, deadline=None)
@given(st.tuples(sides, sides), st.integers(1, 40), st.integers(1, 6), st.integers(2, 90))
def test_a_lattice_covers_every_pixel_or_is_refused(
    size: tuple[int, int], shrink: int, stride: int, field: int
) -> None:
    thumbnail = thumbnail_size(size, shrink)
    try:
        lattice = Lattice(size, thumbnail, stride, (field, field))
    except InvalidInput as error:
        assert "gaps" in str(error)
        return
    for axis in (0, 1):
        covered = np.zeros(size[axis], bool)
        for first, last in zip(*lattice.covered(axis), strict=True):
            covered[first : last + 1] = True
        assert covered.all()
    assert lattice.shape[0] <= math.ceil(thumbnail[0] / stride) + 1


def test_locations_lie_on_the_pixels_of_the_thumbnail_and_patches_around_them() -> None:
    sampler = FoveationSampler((4, 4), (8, 32), shrink=4, stride=2, estimator="fixed", field=1)
    lattice = sampler.lattice((41, 61))
    assert lattice.thumbnail == (11, 16) and lattice.numbers(0).tolist() == [0, 2, 4, 6, 8, 10]
    places = lattice.places
    assert places[0, 0].tolist() == [-1, -1] and places[-1, -1].tolist() == [1, 1]
    middle = places[2:3, 7]
    grids, inside = sampler.fields_at(middle, (41, 61), torch.tensor([0]))
    assert grids.shape == (1, 1, 4, 4, 2) and inside.all()
    torch.testing.assert_close(grids[0, 0].mean((0, 1)), middle[0].float())
    pixels = (grids[0, 0, :, :, 1] + 1) / 2 * 40
    assert (pixels[1:] - pixels[:-1]).allclose(torch.tensor(2.0))


def thumbnail_for(sampler: FoveationSampler, size: tuple[int, int]) -> Tensor | None:
    wanted = sampler.thumbnail_for(size)
    return None if wanted is None else torch.randn(1, 3, *wanted, generator=generator(3))


@pytest.mark.parametrize("estimator", ["mean", "mode", "fixed", "random", "average", "ensemble"])
def test_views_say_where_it_looked_and_what_was_read(estimator: str) -> None:
    sampler = FoveationSampler((4, 4), (8, 16, 24), shrink=4, estimator=estimator).eval()
    size = (33, 47)
    found = sampler.choose(thumbnail_for(sampler, size), size)
    views = sampler.views(found, size)
    locations = found.lattice.shape[0] * found.lattice.shape[1]
    assert views.grids.shape == (locations, 4, 4, 2)
    read = 3 if estimator in ("mean", "average", "ensemble") else 1
    assert views.samples_read == locations * read * 16
    assert views.density is not None and views.density.sum() == pytest.approx(1)


def test_two_predictions_look_alike() -> None:
    sampler = FoveationSampler((4, 4), (8, 16, 24), shrink=4, estimator="random").eval()
    first, second = (sampler.choose(None, (33, 47)).weights for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bank": (8, 8)}, "increase"),
        ({"bank": (16, 8)}, "increase"),
        ({"estimator": "men"}, "did you mean 'mean'"),
        ({"border": "flip"}, "reflect"),
        ({"reading": "publishd"}, "did you mean 'published'"),
        ({"field": 3}, "from 0 to 2"),
    ],
)
def test_bad_options_are_refused_with_the_way_out(options: dict, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        FoveationSampler(**{"size": (4, 4), "bank": (8, 16, 24), **options})


def test_a_stride_that_leaves_gaps_is_refused() -> None:
    sampler = FoveationSampler((4, 4), (8, 16), shrink=4, stride=3, estimator="fixed")
    with pytest.raises(InvalidInput, match="gaps"):
        sampler.lattice((64, 64))


def test_an_thumbnail_alone_is_not_enough() -> None:
    with pytest.raises(InvalidInput, match="size of the image"):
        FoveationSampler((4, 4), (8, 16))(torch.zeros(1, 3, 4, 4))


def test_a_lattice_that_no_stride_could_close_asks_for_a_smaller_shrink() -> None:
    with pytest.raises(InvalidInput, match=r"foveation\.shrink.*smaller.*at most 4 suits"):
        Lattice((64, 96), (4, 6), 1, (8.0, 8.0))
    Lattice((64, 96), (64 // 4, 96 // 4), 1, (8.0, 8.0))
