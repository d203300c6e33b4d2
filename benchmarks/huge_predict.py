"""What ``huge.py`` predicts with: a small learned sampler and network, and notes of what they read."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.data.classes import ClassTable, default_colours
from saccade.geometry import Window
from saccade.networks import build_network
from saccade.rasters import RGBRaster, as_rgb
from saccade.samplers import DeformationSampler
from saccade.segmenter import Segmenter

NAMES = tuple(f"class {number}" for number in range(7))
CLASSES = ClassTable(NAMES, tuple(range(7)), tuple(default_colours(7)), 255)


class Shaped(nn.Module):
    """A network that was never trained, its answers bent to seven classes in smooth shapes.

    Alone it would give one class everywhere, and such labels are cheaper to write than any real ones.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("shapes", torch.randn(1, len(NAMES), 24, 24))

    def forward(self, image: Tensor) -> Tensor:
        scores = self.network(image)
        return scores + F.interpolate(self.shapes, scores.shape[2:], mode="bicubic")


def segmenter() -> Segmenter:
    """256 x 256 samples, a thumbnail of 128 x 128, a small U-Net of seven classes; weights cost no time."""
    torch.manual_seed(0)
    sampler = DeformationSampler((256, 256), thumbnail_size=(128, 128))
    return Segmenter(sampler, Shaped(build_network("small", len(NAMES)))).eval()


def noting(read: list[tuple[int, int, int]]) -> Callable[..., RGBRaster]:
    """``as_rgb`` that writes down the level and corner of every window that is read."""

    class Noting(RGBRaster):
        def _read(self, window: Window, level: int) -> Any:
            read.append((level, window.top, window.left))
            return super()._read(window, level)

    return lambda raster, **limits: Noting(as_rgb(raster, **limits), (0.0, 255.0), ())


def timed(function: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    """The function, adding the seconds that it takes under ``name``."""

    @wraps(function)
    def measured(*args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **options)
        finally:
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - start

    return measured
