"""Boundary sampling in training: taught first, then frozen; resumed in either stage; its targets flipped."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from training_runs import assert_same_weights, rows, weights_of

from saccade.data import DataFolder, SampleCache
from saccade.errors import InvalidInput
from saccade.samplers import BoundaryTarget, Glimpses
from saccade.samplers.boundary import BoundaryConfig, SamplingTensorLoss, target_classes
from saccade.training import Config, Run
from saccade.training.loading import Augmentation, Samples
from saccade.training.loop import Interrupted, resolve
from saccade.training.task import Thumbnails

BOUNDARY = ("sampler.name=boundary", "sampler.thumbnail=16x24", "boundary.width=4", "training.epochs=2")
STAGED = (*BOUNDARY, "training.first_stage_epochs=2")


@pytest.mark.parametrize("stopped_after", [1, 3])
def test_a_run_resumed_in_either_stage_equals_an_unbroken_one(
    tiny_train: Callable[..., Run], stopped_after: int
) -> None:
    def stop(done: int, _: int, __: dict) -> None:
        if done == stopped_after:
            raise KeyboardInterrupt

    whole = tiny_train("whole", *STAGED)
    with pytest.raises(Interrupted):
        tiny_train("broken", *STAGED, on_epoch=stop)
    resumed = tiny_train("broken", *STAGED, resume=True)
    assert_same_weights(weights_of(resumed), weights_of(whole))
    assert rows(resumed.path) == rows(whole.path)


def test_the_net_is_taught_first_and_each_stage_has_the_whole_schedule(
    tiny_train: Callable[..., Run],
) -> None:
    run = tiny_train("run", *STAGED)
    found = rows(run.path)
    assert [float(row["train_sampler_loss"]) > 0 for row in found] == [True, True, False, False]
    assert [float(row["train_segmentation_loss"]) > 0 for row in found] == [False, False, True, True]
    assert [row["val_miou"] != "" for row in found] == [False, False, True, True]
    assert found[0]["lr"] == found[2]["lr"]
    assert run.config.training.variant == "staged"


@pytest.mark.parametrize(
    "options",
    [
        ("training.variant=joint", "loss.through_grid=true", "training.precision=bf16-mixed"),
        ("training.variant=single",),
        ("training.variant=staged_joint", "training.first_stage_epochs=1"),
    ],
)
def test_other_variants_train_to_finite_weights(
    tiny_train: Callable[..., Run], options: tuple[str, ...]
) -> None:
    weights = weights_of(tiny_train("run", *BOUNDARY, *options))
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_the_lesson_is_over_when_the_net_says_what_the_mirrored_labels_ask_for(
    opened: DataFolder, cache: SampleCache
) -> None:
    """Mirroring the labels themselves is the oracle; ties between boundary pixels leave a little."""
    batch = [Samples(opened, opened.split("train"), cache)[k] for k in range(4)]
    flipped = torch.tensor([[False, False], [True, False], [False, True], [True, True]])
    draw = Augmentation(flipped, torch.ones(4, 1, 1, 1), torch.zeros(4, 3, 1, 1))
    turned = [Augmentation(m, draw.gain, draw.shift).flip(one.labels) for one, m in
              zip(batch, flipped.split(1), strict=True)]  # fmt: skip
    exact = BoundaryTarget()(turned, (8, 8))
    plain = BoundaryTarget()([one.labels for one in batch], (8, 8))
    auxiliary_loss = SamplingTensorLoss(BoundaryTarget())

    def loss(tensor: torch.Tensor) -> float:
        return float(
            auxiliary_loss(batch, Glimpses(torch.zeros(4, 2, 2, 2), torch.arange(4), tensor=tensor), draw)
        )

    assert loss(exact) < 1e-3
    assert loss(plain) > 10 * loss(exact)


def test_targets_are_made_once(
    opened: DataFolder, cache: SampleCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = [Samples(opened, opened.split("train"), cache)[0]]
    draw = Augmentation(torch.zeros(1, 2, dtype=torch.bool), torch.ones(1, 1, 1, 1), torch.zeros(1, 3, 1, 1))
    views = Glimpses(torch.zeros(1, 2, 2, 2), torch.arange(1), tensor=torch.zeros(1, 2, 8, 8))
    auxiliary_loss = SamplingTensorLoss(BoundaryTarget())
    first = auxiliary_loss(batch, views, draw)

    def forbidden(*_: object) -> torch.Tensor:
        raise AssertionError("made again")

    monkeypatch.setattr(BoundaryTarget, "__call__", forbidden)
    assert torch.equal(auxiliary_loss(batch, views, draw), first)


def test_kept_thumbnails_are_those_that_are_read(
    opened: DataFolder, cache: SampleCache, tiny_config: Callable[..., Config]
) -> None:
    from saccade.training.run_folder import build_segmenter

    segmenter = build_segmenter(resolve(tiny_config(*STAGED), opened), len(opened.classes))
    samples = Samples(opened, opened.split("train"), cache)
    batch = [samples[0], samples[1]]
    wanted = segmenter.thumbnail([one.pyramid for one in batch])
    assert wanted is not None
    for limit in (1 << 20, wanted.nbytes // 2, 0):
        thumbnails = Thumbnails(limit)
        for _ in range(2):
            found = thumbnails.of(segmenter, batch)
            assert found is not None and torch.equal(found, wanted)


def test_target_classes_go_by_name() -> None:
    names = ("sky", "road", "person")
    assert target_classes(BoundaryConfig(), names) is None
    assert target_classes(BoundaryConfig(classes=("person", "sky")), names) == (2, 0)
    with pytest.raises(InvalidInput, match="did you mean 'person'"):
        target_classes(BoundaryConfig(classes=("persn",)), names)
    with pytest.raises(InvalidInput, match=r"boundary.classes to be at least one class, or null for all"):
        target_classes(BoundaryConfig(classes=()), names)
