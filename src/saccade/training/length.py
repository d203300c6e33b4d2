"""How long a training is where nothing says so: small sets need more epochs for as many steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from saccade.training.config import Config, ScheduleConfig
from saccade.training.loading import batches_of

LEAST_STEPS = 300
"""Below, scores still rose steeply: of ten coffee leaves, lesion IoU 0.29 after 60 steps, 0.62 after 300 and
0.63 after 900 (benchmarks/results/small_sets.json)."""


def fitted_length(config: Config, images: int, set_by_user: Iterable[str]) -> Config:
    """The configuration with as many epochs as make :data:`LEAST_STEPS`, where the usual number makes fewer.

    Validations stay about as many as there were.

    Args:
        config: of the run.
        images: of the split train.
        set_by_user: ``section.key`` of every option that the user gave, which stay as they are.
    """
    set_by_user, schedule, usual = set(set_by_user), config.training, ScheduleConfig()
    steps = batches_of(images, schedule.batch_size, schedule.every_image) * config.recipe.visits
    epochs = max(usual.epochs, -(-LEAST_STEPS // steps))
    if "training.epochs" in set_by_user or epochs == schedule.epochs:
        return config
    every = max(1, epochs // usual.epochs)
    if "training.validate_every" in set_by_user or schedule.early_stopping is not None:
        every = schedule.validate_every
    return replace(config, training=replace(schedule, epochs=epochs, validate_every=every))
