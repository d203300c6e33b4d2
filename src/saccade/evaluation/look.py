"""One run of a segmenter on one image: the labels, and where it looked to find them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saccade.segmenter import evaluating
from saccade.warp import Pyramid


@dataclass(frozen=True)
class Look:
    """What a segmenter said of one image, on the CPU.

    Attributes:
        labels: (1, H, W) integer class ids at full resolution.
        grids: (V, h, w, 2) sample positions (x, y) in [-1, 1] of its views.
        density: (1, 1, h_a, w_a) that the sampler predicted; None where it predicts none.
        classes: K that the network scores.
    """

    labels: Tensor
    grids: Tensor
    density: Tensor | None
    classes: int


def look(segmenter: nn.Module, pyramid: Pyramid, labels: Tensor | None = None) -> Look:
    """Predict one image, keeping what the segmenter saw on the way, so that the network runs only once.

    Args:
        segmenter: in evaluation mode, on the device of ``pyramid``.
        pyramid: of one image.
        labels: (1, H, W), for samplers that see them.
    """
    seen: list[Any] = []
    hook = segmenter.register_forward_hook(lambda _module, _given, found: seen.append(found))
    scored: list[int] = []
    network: Any = segmenter.network
    counter = network.register_forward_hook(lambda _module, _given, found: scored.append(found.shape[1]))
    try:
        said = segmenter.predict(pyramid, labels=labels)  # type: ignore[operator]
    finally:
        hook.remove()
        counter.remove()
    if not seen:
        return _of_bands(segmenter, pyramid, said, scored[0])
    density = seen[0].views.density
    return Look(
        labels=said.cpu(),
        grids=torch.cat([found.views.grids for found in seen]).detach().cpu(),
        density=None if density is None else density.detach().cpu(),
        classes=seen[0].scores.shape[1],
    )


def _of_bands(segmenter: Any, pyramid: Pyramid, labels: Tensor, classes: int) -> Look:
    """A segmenter that predicts band by band never has all its scores: its views are proposed again."""
    with torch.no_grad(), evaluating(segmenter):
        views = segmenter.look([pyramid])
    density = None if views.density is None else views.density.cpu()
    return Look(labels.cpu(), views.grids.cpu(), density, classes)
