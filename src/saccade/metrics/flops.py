"""Floating-point operations of a whole pipeline: what torch's counter sees, and formulas for the rest.

A multiplication and an addition are two operations. The counter sees convolutions and matrix products (those
of the attraction grid among them) and, as is usual in the field, neither normalisations nor activations.
Attention is forced onto its plain path while counting, because fused kernels hide their products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from saccade.grids.elastic import SWEEPS, levels

BILINEAR = 8
"""For one value: three interpolations of two numbers, and their weights."""

AVERAGED = 32
"""For one value: a footprint spans about 4 x 4 pixels of its pyramid level, each weighted and added."""

HALVING = 4
"""For one value of a level of the pyramid: the mean of four."""

STIFFENING = 48
"""For one node of an elastic grid and round: two readings of the density, four shares."""

SWEEPING = 20
"""For one node of an elastic grid and sweep: two weighted means of four neighbours, and the step."""

BARYCENTRIC = 6
"""For one score: three weighted, two additions, and the comparison of the argmax."""


def count_flops(call: Callable[[], Any]) -> int:
    """Operations of the convolutions and matrix products that ``call`` runs, on any device."""
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


@dataclass(frozen=True)
class PipelineFlops:
    """Operations for one image, by part; see :func:`pipeline_flops`.

    Attributes:
        sampler: deciding where to look: its network, its grid, and reading its overview.
        reading: the pyramid, and sampling the views.
        network: the segmentation network.
        unwarping: putting the scores back, as if every pixel of the image were interpolated; the program
            spares those where a triangle's corners agree on the class.
    """

    sampler: int
    reading: int
    network: int
    unwarping: int

    @property
    def total(self) -> int:
        return self.sampler + self.reading + self.network + self.unwarping


def pipeline_flops(segmenter: nn.Module, image: Any, labels: Any = None) -> tuple[PipelineFlops, Any]:
    """Operations of ``segmenter.predict`` on one image, and the Prediction that the count saw.

    Args:
        segmenter: called as ``segmenter(image, labels=labels)``; ``segmenter.network`` is its network,
            ``segmenter.antialias`` says how it samples, and ``segmenter.sampler.overview_size`` (h, w), where
            there is one, what its sampler looks at first.
        image: (1, C, H, W) tensor or a list of one Pyramid.
        labels: (1, H, W), for samplers that see them.
    """
    everything, network, prediction = _counted(segmenter, image, labels)
    channels, size = _channels_and_size(image)
    antialias = bool(getattr(segmenter, "antialias", True))
    overview = _overview(segmenter.sampler, size)
    looked = sampling_flops(overview[0] * overview[1], channels, True) if overview else 0
    grids = prediction.views.grids
    if getattr(getattr(segmenter.sampler, "gather", None), "rule", None) == "elastic":
        looked += len(grids) * elastic_flops((grids.shape[1], grids.shape[2]))
    halved = pyramid_flops(size, channels) if antialias or overview else 0
    samples = getattr(prediction.views, "samples_read", grids[..., 0].numel())
    flops = PipelineFlops(
        sampler=everything - network + looked,
        reading=halved + sampling_flops(samples, channels, antialias),
        network=network,
        unwarping=unwarping_flops(size, prediction.scores.shape[1]),
    )
    return flops, prediction


def _counted(segmenter: nn.Module, image: Any, labels: Any) -> tuple[int, int, Any]:
    """Operations of the whole call, those inside its network, and what it gave."""
    network: Any = segmenter.network
    entered: list[int] = []
    spent: list[int] = []
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        hooks = (
            network.register_forward_pre_hook(lambda *_: entered.append(counter.get_total_flops())),
            network.register_forward_hook(lambda *_: spent.append(counter.get_total_flops() - entered.pop())),
        )
        try:
            prediction = segmenter(image, labels=labels)
        finally:
            for hook in hooks:
                hook.remove()
    return counter.get_total_flops(), sum(spent), prediction


def _overview(sampler: Any, size: tuple[int, int]) -> tuple[int, int] | None:
    """(h, w) of what a sampler looks at first in an image of ``size``."""
    asked = getattr(sampler, "overview_of", None)
    found: tuple[int, int] | None = asked(size) if asked else getattr(sampler, "overview_size", None)
    return found


def elastic_flops(size: tuple[int, int]) -> int:
    """Operations to bring the springs of one :func:`saccade.grids.elastic_grid` of ``size`` to rest."""
    return sum(
        rows * columns * rounds * (STIFFENING + SWEEPS * SWEEPING) for (rows, columns), rounds in levels(size)
    )


def sampling_flops(samples: int, channels: int, antialias: bool) -> int:
    """Operations to read ``samples`` places of an image, bilinear or each over its footprint."""
    return samples * channels * (AVERAGED if antialias else BILINEAR)


def pyramid_flops(size: tuple[int, int], channels: int) -> int:
    """Operations to halve an image of ``size`` again and again: its levels hold a third of its values."""
    return size[0] * size[1] * channels * HALVING // 3


def unwarping_flops(size: tuple[int, int], classes: int) -> int:
    """Operations to interpolate ``classes`` scores at every pixel of ``size`` and to take the highest."""
    return size[0] * size[1] * classes * BARYCENTRIC


def _channels_and_size(image: Any) -> tuple[int, tuple[int, int]]:
    if isinstance(image, torch.Tensor):
        return image.shape[1], (image.shape[2], image.shape[3])
    return image[0].channels, image[0].size
