"""Operations against sums done by hand on three networks; time and memory against calls of known cost."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from saccade.grids.uniform import uniform_grid
from saccade.metrics.cost import count_flops, elastic_flops, measure_cost, pipeline_flops, seconds_of
from saccade.runtime.memory import STATUS, peak_memory
from saccade.samplers.glimpses import Glimpses
from saccade.warp import Pyramid, sample, unwarp_labels

CPU = torch.device("cpu")


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(16, 48)
        self.out = nn.Linear(16, 16)

    def forward(self, tokens):
        q, k, v = self.mix(tokens).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out(attended.transpose(1, 2).flatten(2))


def test_a_convolutional_network_by_hand():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 5, 1))
    by_hand = 2 * 20 * 30 * (3 * 3 * 3 * 8 + 8 * 5)
    assert count_flops(lambda: network(torch.zeros(1, 3, 20, 30))) == by_hand


def test_an_encoder_and_decoder_with_strides_and_groups_by_hand():
    network = nn.Sequential(
        nn.Conv2d(4, 12, 3, stride=2, padding=1, groups=2), nn.ReLU(), nn.ConvTranspose2d(12, 6, 2, stride=2)
    )
    down = 2 * 8 * 16 * (3 * 3 * (4 // 2) * 12)
    up = 2 * 8 * 16 * (12 * 6 * 2 * 2)
    assert count_flops(lambda: network(torch.zeros(1, 4, 16, 32))) == down + up


def test_attention_by_hand():
    linear = 2 * 10 * 16 * (48 + 16)
    products = 2 * 2 * (10 * 10 * 8) * 2
    assert count_flops(lambda: Attention()(torch.zeros(1, 10, 16))) == linear + products


class TinySampler(nn.Module):
    thumbnail_size = (4, 6)

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(3, 1, 1)

    def forward(self, thumbnail):
        self.net(thumbnail)
        return uniform_grid((8, 10))


class TinySegmenter(nn.Module):
    antialias = False

    def __init__(self) -> None:
        super().__init__()
        self.sampler, self.network = TinySampler(), nn.Conv2d(3, 5, 3, padding=1)

    def forward(self, pyramids, labels=None):
        grid = self.sampler(sample(pyramids[0], uniform_grid((4, 6)), antialias=True) / 255)
        scores = self.network(sample(pyramids[0], grid) / 255)
        return SimpleNamespace(scores=scores, views=Glimpses(grid, torch.zeros(1, dtype=torch.int64)))

    @torch.no_grad()
    def predict(self, image, labels=None):
        prediction = self([Pyramid.of(image)])
        return unwarp_labels(prediction.scores, prediction.views.grids, image.shape[2:])


IMAGE = torch.randint(0, 256, (1, 3, 40, 60), dtype=torch.uint8)


def test_the_parts_of_a_pipeline_by_hand():
    flops, prediction = pipeline_flops(TinySegmenter(), [Pyramid.of(IMAGE)])
    assert flops.network == 2 * 80 * 27 * 5
    assert flops.sampler == 2 * 24 * 3 + 24 * 3 * 32
    assert flops.reading == 80 * 3 * 8 + 40 * 60 * 3 * 4 // 3
    assert flops.unwarping == 40 * 60 * 5 * 6
    assert flops.total == flops.network + flops.sampler + flops.reading + flops.unwarping
    assert prediction.scores.shape == (1, 5, 8, 10)


def test_the_operations_of_springs_by_hand():
    # 4 x 6 nodes, 15 rounds: each 52 a node for stiffness, and a V-cycle of 92 a node on them and on 3 x 4
    assert elastic_flops((4, 6)) == 15 * (24 * 52 + (24 + 12) * 92)


@pytest.mark.parametrize("rule", ["elastic", "attraction"])
def test_the_grid_of_a_density_belongs_to_the_share_of_the_sampler(rule):
    from saccade.samplers import DeformationSampler
    from saccade.samplers.deformation import DensityToGrid
    from saccade.segmenter import Segmenter

    sampler = DeformationSampler((8, 12), thumbnail_size=(16, 24), to_grid=DensityToGrid(rule))
    flops, _ = pipeline_flops(Segmenter(sampler, nn.Conv2d(3, 5, 1)).eval(), [Pyramid.of(IMAGE)])
    net = count_flops(lambda: sampler.net(torch.zeros(1, 3, 16, 24)))
    # Eq. 2: 16 rows of 24 to two times 12; then 16 rows to 8, for both of these and once more for the offsets
    products = 2 * (16 * 24 * 24 + 8 * 16 * 24 + 8 * 16 * 12)
    grid = elastic_flops((8, 12)) if rule == "elastic" else products
    assert flops.sampler == net + grid + 16 * 24 * 3 * 32
    assert flops.network == 2 * 96 * 3 * 5


def test_the_cost_of_a_segmenter_is_complete():
    cost = measure_cost(TinySegmenter(), IMAGE)
    flops, _ = pipeline_flops(TinySegmenter(), [Pyramid.of(IMAGE)])
    assert cost.pixels == 80
    assert (cost.gflops, cost.sampler_gflops) == (flops.total / 1e9, flops.sampler / 1e9)
    assert 0 < cost.seconds_per_image < 5
    assert set(cost.to_json()) == {
        "pixels",
        "gflops",
        "sampler_gflops",
        "seconds_per_image",
        "peak_memory_bytes",
    }


def test_hooks_do_not_stay_on_the_network():
    segmenter = TinySegmenter()
    pipeline_flops(segmenter, [Pyramid.of(IMAGE)])
    assert not segmenter.network._forward_hooks
    assert not segmenter.network._forward_pre_hooks


def test_seconds_are_those_of_a_warm_call():
    calls: list[float] = []

    def slow_at_first():
        time.sleep(0.3 if not calls else 0.02)
        calls.append(time.perf_counter())

    assert 0.02 <= seconds_of(slow_at_first, CPU) < 0.15


@pytest.mark.skipif(not STATUS.exists(), reason="only Linux tells the peak of a process")
def test_peak_memory_is_that_of_the_call_each_time():
    def hold():
        return torch.ones(60_000_000, dtype=torch.uint8).max()

    for _ in range(2):
        assert 55e6 < peak_memory(hold, CPU) < 80e6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_peak_memory_of_a_device_counts_what_was_allocated():
    device = torch.device("cuda")
    assert peak_memory(lambda: torch.ones(10_000_000, device=device), device) == pytest.approx(4e7, rel=0.06)
