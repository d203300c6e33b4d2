"""Overviews of training images, read once: they are the same in every epoch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.data.cache import Sample
from saccade.segmenter import Segmenter


class Overviews:
    """Keeps overviews by the image's stem, as many as fit.

    Args:
        limit_bytes: what the kept ones may take together; 2700 overviews of 64 x 128 by default.
    """

    def __init__(self, limit_bytes: int = 1 << 28) -> None:
        self.left = limit_bytes
        self._kept: dict[str, Tensor] = {}

    def of(self, segmenter: Segmenter, batch: Sequence[Sample]) -> Tensor | None:
        """(B, 3, h_o, w_o) as :meth:`saccade.Segmenter.overview` gives; None where none is wanted."""
        if segmenter.sampler.overview_size is None:
            return None
        return torch.cat([self._one(segmenter, sample) for sample in batch])

    def _one(self, segmenter: Segmenter, sample: Sample) -> Tensor:
        kept = None if sample.varied else self._kept.get(sample.stem)
        if kept is not None:
            return kept
        made = segmenter.overview([sample.pyramid])
        assert made is not None  # asked for only where there is one
        size = made.numel() * made.element_size()
        if not sample.varied and size <= self.left:
            self._kept[sample.stem] = made
            self.left -= size
        return made
