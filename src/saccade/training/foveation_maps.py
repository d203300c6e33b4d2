"""Keeps, at each validation, how wide the foveation net looks: for pictures of how it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch

from saccade.samplers import FoveationSampler
from saccade.segmenter import Segmenter, evaluating

FOLDER = "foveation"
"""Of a run: epoch_NNNN.npy, (D, h, w) float16 probabilities of the fields of view in one validation image."""


class KeepMaps(L.Callback):
    """Writes the probabilities of the first validation image after each validation.

    Args:
        root: the run folder.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER

    @torch.no_grad()
    def on_validation_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        segmenter = pl_module.segmenter
        assert isinstance(segmenter, Segmenter)
        sampler = segmenter.sampler
        if batch_idx or not batch or not isinstance(sampler, FoveationSampler) or not sampler.learns:
            return
        with evaluating(segmenter):
            found = segmenter.foveate(batch[0].pyramid).found.probabilities
        assert found is not None  # there is a net
        self.folder.mkdir(exist_ok=True)
        if trainer.current_epoch == 0:
            for old in self.folder.glob("epoch_*.npy"):
                old.unlink()
        name = f"epoch_{trainer.current_epoch + 1:04}.npy"
        np.save(self.folder / name, found[0].numpy().astype(np.float16))
