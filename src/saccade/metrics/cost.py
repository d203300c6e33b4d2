"""What a prediction costs: samples, floating-point operations, seconds, bytes."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from saccade.grids.relaxation import levels
from saccade.runtime.memory import peak_memory
from saccade.warp import Pyramid

BILINEAR = 8
"""For one value: three interpolations of two numbers, and their weights."""

AVERAGED = 32
"""For one value: a footprint spans about 4 x 4 pixels of its pyramid level, each weighted and added."""

HALVING = 4
"""For one value of a level of the pyramid: the mean of four."""

STIFFENING = 52
"""For one node of an elastic grid and round: two readings of the density; on both axes pull and move."""

CYCLING = 92
"""For one node of a level of a V-cycle: coarser springs; on both axes two steps, and between levels."""

BARYCENTRIC = 6
"""For one score: three weighted, two additions, and the comparison of the argmax."""


def count_flops(call: Callable[[], Any]) -> int:
    """Operations of the convolutions and matrix products that ``call`` runs, on any device."""
    from torch.utils.flop_counter import FlopCounterMode  # loads triton

    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


@dataclass(frozen=True)
class PipelineFlops:
    """Operations for one image, by part; see :func:`pipeline_flops`.

    Attributes:
        sampler: deciding where to look: its network, its grid, and reading its thumbnail.
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
            ``segmenter.antialias`` says how it samples, and ``segmenter.sampler.thumbnail_size`` (h, w),
            where there is one, what its sampler looks at first.
        image: (1, C, H, W) tensor or a list of one Pyramid.
        labels: (1, H, W), for samplers that see them.
    """
    everything, network, prediction = _counted(segmenter, image, labels)
    channels, size = _channels_and_size(image)
    antialias = bool(getattr(segmenter, "antialias", True))
    thumbnail = _thumbnail(segmenter.sampler, size)
    looked = sampling_flops(thumbnail[0] * thumbnail[1], channels, True) if thumbnail else 0
    grids = prediction.views.grids
    if getattr(segmenter.sampler, "relaxes_springs", False):
        looked += len(grids) * elastic_flops((grids.shape[1], grids.shape[2]))
    halved = pyramid_flops(size, channels) if antialias or thumbnail else 0
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
    from torch.utils.flop_counter import FlopCounterMode  # loads triton

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


def _thumbnail(sampler: Any, size: tuple[int, int]) -> tuple[int, int] | None:
    """(h, w) of what a sampler looks at first in an image of ``size``."""
    sizes = getattr(sampler, "thumbnail_for", None)
    thumbnail: tuple[int, int] | None = sizes(size) if sizes else getattr(sampler, "thumbnail_size", None)
    return thumbnail


def elastic_flops(size: tuple[int, int]) -> int:
    """Operations to bring the springs of one :func:`saccade.grids.elastic_grid` of ``size`` to rest."""
    nodes = [rows * columns for (rows, columns), _ in levels(size)]
    rounds = [count for _, count in levels(size)]
    return sum(
        count * (STIFFENING * nodes[level] + CYCLING * sum(nodes[level:]))
        for level, count in enumerate(rounds)
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


WARM_UP = 2
REPEATS = 9
ENOUGH_SECONDS = 4.0


@dataclass(frozen=True)
class Cost:
    """The cost of one image, from decoded pixels in memory to full-resolution labels.

    Attributes:
        pixels: that are read of the image for the segmentation network.
        gflops: 10^9 operations of sampler, reading, network and unwarping together; see
            :class:`saccade.metrics.cost.PipelineFlops`.
        sampler_gflops: of these, those of deciding where to look.
        seconds_per_image: median of repeated predictions after a warm-up, one image at a time.
        peak_memory_bytes: weights, and what a prediction needs beside them at its peak, the image excluded;
            None where the system does not say.
    """

    pixels: int
    gflops: float
    sampler_gflops: float
    seconds_per_image: float
    peak_memory_bytes: int | None

    def to_json(self) -> dict[str, int | float | None]:
        return asdict(self)

    @classmethod
    def from_json(cls, parts: Mapping[str, Any]) -> Cost:
        """The inverse of :meth:`to_json`; raises TypeError, ValueError."""
        cost = cls(**parts)
        for name, value in asdict(cost).items():
            unknown = value is None and name == "peak_memory_bytes"
            if not unknown and not (type(value) in (int, float) and 0 <= value < math.inf):
                raise ValueError(f"{name}: {value!r}")
        return replace(cost, pixels=int(cost.pixels))


def measure_cost(segmenter: nn.Module, image: Tensor, labels: Tensor | None = None) -> Cost:
    """Measure a segmenter on one image, on the device that it is on.

    Args:
        segmenter: in the mode (eval) in which it predicts; see :func:`saccade.metrics.cost.pipeline_flops`.
        image: (1, C, H, W) uint8 on the CPU or on the segmenter's device.
        labels: (1, H, W), only for samplers that see them.
    """
    device = _device_of(segmenter)
    image = image.to(device)
    flops, prediction = pipeline_flops(segmenter, [Pyramid.of(image)], labels)

    def predict() -> Any:
        return segmenter.predict(image, labels=labels)  # type: ignore[operator]

    seconds = seconds_of(predict, device)
    grids = prediction.views.grids
    return Cost(
        pixels=getattr(prediction.views, "samples_read", grids[..., 0].numel()),
        gflops=flops.total / 1e9,
        sampler_gflops=flops.sampler / 1e9,
        seconds_per_image=seconds,
        peak_memory_bytes=_with_weights(peak_memory(predict, device), segmenter),
    )


def seconds_of(call: Callable[[], Any], device: torch.device) -> float:
    """Median seconds of a call after a warm-up, the device waited for; fewer repeats where it is slow."""
    for _ in range(WARM_UP):
        call()
    durations: list[float] = []
    while len(durations) < REPEATS and (len(durations) < 3 or sum(durations) < ENOUGH_SECONDS):
        _wait_for(device)
        start = time.perf_counter()
        call()
        _wait_for(device)
        durations.append(time.perf_counter() - start)
    return statistics.median(durations)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _device_of(module: nn.Module) -> torch.device:
    return next((tensor.device for tensor in module.parameters()), torch.device("cpu"))


def _with_weights(increase: int | None, module: nn.Module) -> int | None:
    weights = sum(t.numel() * t.element_size() for t in [*module.parameters(), *module.buffers()])
    return None if increase is None else weights + increase
