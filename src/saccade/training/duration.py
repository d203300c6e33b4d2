"""How long a training will take, from a step and a validated image that are measured on the side."""

from __future__ import annotations

import math
import time

import torch

from saccade.training.loading import Samples
from saccade.training.task import SegmentationTask, on_the_side

EPOCH_SECONDS = 0.1
"""What Lightning, the table of metrics and the checkpoint take in each epoch."""


def seconds_of_training(
    task: SegmentationTask, train: Samples, val: Samples, processes: int, device: torch.device
) -> float:
    """About the seconds of a training in which nothing else keeps the machine busy; weights stay as they are.

    A batch is sampled, trained on and its gradients computed, and one image is predicted; images are read
    before, as they are kept in memory during a training.

    Args:
        task: about to be trained; a step was made with it already, so that everything is compiled.
        train: images that are trained on.
        val: images of every validation.
        processes: that share the work.
        device: where it will be trained.
    """
    options = task.config.training
    batch = [train[index] for index in range(max(1, min(options.batch_size, len(train)) // processes))]
    sample = val[0]
    labels = [sample.labels] if task.segmenter.sampler.sees_labels else None
    with on_the_side(task, device):
        begun = time.perf_counter()
        loss = task.training_step(batch, 0)
        if loss.requires_grad:
            loss.backward()
        step = _since(begun, device)
        task.eval()
        for _ in range(2):  # the first compiles
            begun = time.perf_counter()
            task.segmenter.predict(sample.pyramid, labels)
            validated = _since(begun, device)
            if validated > 1:  # of which compiling is a small part
                break
    validations = math.ceil(options.epochs / options.validate_every)
    steps = task.steps_an_epoch * task.config.all_epochs
    return (
        steps * step + validations * len(val) * validated / processes + task.config.all_epochs * EPOCH_SECONDS
    )


def _since(begun: float, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun
