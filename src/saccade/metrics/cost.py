"""What a prediction costs: pixels, operations, seconds, bytes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saccade.metrics.flops import pipeline_flops
from saccade.metrics.memory import peak_memory
from saccade.warp import Pyramid

WARM_UP = 2
REPEATS = 9
ENOUGH_SECONDS = 4.0


@dataclass(frozen=True)
class Cost:
    """The cost of one image, from decoded pixels in memory to full-resolution labels.

    Attributes:
        pixels: that are read of the image for the segmentation network.
        gflops: 10^9 operations of sampler, reading, network and unwarping together; see
            :class:`saccade.metrics.flops.PipelineFlops`.
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


def measure_cost(segmenter: nn.Module, image: Tensor, labels: Tensor | None = None) -> Cost:
    """Measure a segmenter on one image, on the device that it is on.

    Args:
        segmenter: in the mode (eval) in which it predicts; see :func:`saccade.metrics.flops.pipeline_flops`.
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
    taken: list[float] = []
    while len(taken) < REPEATS and (len(taken) < 3 or sum(taken) < ENOUGH_SECONDS):
        _wait_for(device)
        start = time.perf_counter()
        call()
        _wait_for(device)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _device_of(module: nn.Module) -> torch.device:
    return next((tensor.device for tensor in module.parameters()), torch.device("cpu"))


def _with_weights(increase: int | None, module: nn.Module) -> int | None:
    weights = sum(t.numel() * t.element_size() for t in [*module.parameters(), *module.buffers()])
    return None if increase is None else weights + increase
