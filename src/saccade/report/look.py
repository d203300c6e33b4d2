"""From an evaluated segmenter to the examples of its page."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from saccade.evaluation import Evaluation, LabelledImage, look
from saccade.report.examples import Example, Looked, choose, draw
from saccade.report.palette import class_palette


def draw_examples(
    segmenter: nn.Module,
    evaluation: Evaluation,
    sample_of: Callable[[str], LabelledImage],
    *,
    own_colours: NDArray[np.uint8] | None = None,
    device: torch.device | str = "cpu",
    **how_many: Any,
) -> tuple[Example, ...]:
    """Predict and draw the worst, the median and the best images of an evaluation.

    Args:
        segmenter: that was evaluated.
        evaluation: of it.
        sample_of: the labelled image of a stem.
        own_colours: (K, 3) of the classes.
        device: where the network runs.
        how_many: ``worst``, ``median``, ``best``; see :func:`saccade.report.examples.choose`.
    """
    scores = {record.stem: record.miou for record in evaluation.records}
    shares = evaluation.confusion.sum(1).numpy()
    palette = class_palette(shares, own_colours)
    segmenter.to(device).eval()
    examples = []
    for stem, rank in choose(scores, **how_many).items():
        looked = look_at(segmenter, sample_of(stem), device)
        score = scores[stem] if math.isfinite(scores[stem]) else None
        examples.append(Example(stem, rank, score, draw(looked, evaluation.classes, palette, shares)))
    return tuple(examples)


def look_at(segmenter: nn.Module, sample: LabelledImage, device: torch.device | str = "cpu") -> Looked:
    """Predict one image and keep what is drawn of it."""
    found = look(segmenter, sample.pyramid.to(device), sample.labels.to(device))
    return Looked(
        stem=sample.stem,
        image=sample.pyramid.level(0)[0].permute(1, 2, 0).contiguous().numpy(),
        truth=sample.labels[0].numpy(),
        prediction=found.labels[0].numpy(),
        grids=found.grids.numpy(),
        density=None if found.density is None else found.density[0, 0].numpy(),
    )
