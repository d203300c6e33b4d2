"""What one view costs on this machine, found by looking at a blank image a few times."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import sqrt
from weakref import WeakKeyDictionary

import torch
from torch import nn

from saccade.inference.look import look
from saccade.inference.source import MemorySource
from saccade.inference.views import OwnPatches
from saccade.metrics.flops import AVERAGED, count_flops, elastic_flops, sampling_flops
from saccade.metrics.memory import peak_memory
from saccade.rasters import Window
from saccade.segmenter import Segmenter, evaluating
from saccade.warp import Pyramid

LARGEST = 1 << 16
"""Samples of the view that is tried; a larger one is reckoned from it."""

REPEATS = 5
MEMORY_MARGIN = 1.25
"""The memory of a large view against that of as many samples in small ones."""


@dataclass(frozen=True)
class ViewCost:
    """One view, from pixels read to scores.

    Attributes:
        flops: operations of sampler and network.
        seconds: on this machine as it is now.
        bytes: beyond the weights, on the device of the networks.
        on_gpu: whether that is a GPU.
    """

    flops: int
    seconds: float
    bytes: int
    on_gpu: bool


def cost_of_view(segmenter: Segmenter, view: tuple[int, int]) -> ViewCost:
    """The memory of a view, measured once for a network and a size, however many images follow.

    Operations and time are left out: counting them takes 80 MB itself.
    """
    known = _KNOWN.setdefault(segmenter.network, {})
    key = (view, segmenter.sampler.overview_size)
    if key not in known:
        known[key] = measure_view(segmenter, view, memory_alone=True)
    return known[key]


_KNOWN: WeakKeyDictionary[nn.Module, dict[tuple, ViewCost]] = WeakKeyDictionary()


def measure_view(segmenter: Segmenter, view: tuple[int, int], *, memory_alone: bool = False) -> ViewCost:
    """Looks at a blank image: once to count, once to see the memory, a few times for the time."""
    scale = min(1.0, sqrt(LARGEST / (view[0] * view[1])))
    tried = max(1, round(view[0] * scale)), max(1, round(view[1] * scale))
    blank = MemorySource(Pyramid.of(torch.full((1, 3, *tried), 127, dtype=torch.uint8)))
    call = partial(look, segmenter, blank, [Window.full(tried)], view=tried)
    cost = _memory_of(segmenter, call) if memory_alone else _measured(segmenter, call)
    factor = view[0] * view[1] / (tried[0] * tried[1])
    margin = MEMORY_MARGIN if factor > 1 else 1.0
    return replace(
        cost,
        flops=round(cost.flops * factor) + _uncounted(segmenter, view),
        seconds=cost.seconds * factor,
        bytes=round(cost.bytes * factor * margin),
    )


def measure_patch(segmenter: Segmenter, patches: OwnPatches) -> ViewCost:
    """Looks at one patch of the image itself, in the middle."""
    middle = len(patches.regions) // 2
    return _measured(segmenter, lambda: patches.look([middle]))


def _memory_of(segmenter: Segmenter, call: Callable[[], object]) -> ViewCost:
    device = segmenter.mean.device
    with evaluating(segmenter):
        call()
        used = peak_memory(call, device) or 0
    return ViewCost(0, 0.0, used, device.type == "cuda")


def _measured(segmenter: Segmenter, call: Callable[[], object]) -> ViewCost:
    device = segmenter.mean.device
    with evaluating(segmenter):
        flops = count_flops(call)
        seconds = min(_seconds(call, device) for _ in range(REPEATS))
        used = peak_memory(call, device) or 0
    return ViewCost(flops, seconds, used, device.type == "cuda")


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _uncounted(segmenter: Segmenter, view: tuple[int, int]) -> int:
    """Operations that torch's counter does not see: the springs of the grid, and reading pixels."""
    read = view[0] * view[1] * 3 * AVERAGED
    overview = segmenter.sampler.overview_size
    if overview is not None:
        read += sampling_flops(overview[0] * overview[1], 3, True)
    springs = getattr(getattr(segmenter.sampler, "gather", None), "rule", None) == "elastic"
    return read + (elastic_flops(view) if springs else 0)
