"""A moving average of the weights: what it is, that it changes no step, and that it is what is kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from training_runs import assert_same_weights, rows, weights_of

from saccade.data import DataFolder, SampleCache
from saccade.errors import UsageError
from saccade.evaluation import evaluate
from saccade.training import Run, load_run, read_config
from saccade.training.loop import Interrupted
from saccade.training.task import SegmentationTask

Train = Callable[..., Run]
AVERAGE = "training.average=0.9"


def saved(run: Run, checkpoint: str = "last") -> dict:
    return torch.load(run.path / "checkpoints" / f"{checkpoint}.ckpt", weights_only=True)


def recursion(states: list[dict[str, np.ndarray]], decay: float) -> dict[str, np.ndarray]:
    """The average written out in float64, step by step."""
    mean = {name: value.astype(np.float64) for name, value in states[0].items()}
    for step, state in enumerate(states[1:], 2):
        kept = min(decay, (step + 1) / (step + 10))
        mean = {name: kept * mean[name] + (1 - kept) * value for name, value in state.items()}
    return mean


def test_the_average_is_that_of_the_weights_and_statistics_after_every_step(
    tiny_train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, update = [], SegmentationTask.on_train_batch_end

    def watched(task: SegmentationTask, *told: object) -> None:
        states.append({n: v.detach().numpy().copy() for n, v in task.state_dict().items()})
        update(task, *told)

    monkeypatch.setattr(SegmentationTask, "on_train_batch_end", watched)
    run = tiny_train("run", "training.epochs=4", AVERAGE)
    found, wanted = weights_of(run), recursion(states, 0.9)
    assert len(states) > 4 and any("running_var" in name for name in wanted)
    for name, value in found.items():
        if value.is_floating_point():
            np.testing.assert_allclose(value.numpy(), wanted[name], rtol=1e-4, atol=1e-6, err_msg=name)
        else:
            assert value.item() == states[-1][name].item()


def test_what_is_trained_is_what_is_trained_without_to_the_bit(tiny_train: Train) -> None:
    plain, averaged = tiny_train("plain"), tiny_train("averaged", AVERAGE)
    assert_same_weights(saved(averaged)["training_weights"], weights_of(plain))
    assert "training_weights" not in saved(plain)
    assert any(
        not torch.equal(weights_of(averaged)[name], value) for name, value in weights_of(plain).items()
    )


def test_what_is_validated_is_what_is_kept_and_predicts(
    tiny_train: Train, opened: DataFolder, cache: SampleCache
) -> None:
    run = tiny_train("run", "training.epochs=3", AVERAGE)
    last = load_run(run.path, "last")
    scores = evaluate(last.segmenter, cache.iterate(opened, opened.split("val")), opened.classes)
    assert float(rows(run.path)[-1]["val_miou"]) == pytest.approx(scores.miou, abs=1e-5)


@pytest.mark.parametrize("options", [(), ("training.variant=staged", "training.first_stage_epochs=2")])
def test_a_resumed_run_equals_an_unbroken_one(tiny_train: Train, options: tuple[str, ...]) -> None:
    def stop(done: int, *_: object) -> None:
        if done == 2:
            raise KeyboardInterrupt

    options = ("training.epochs=4", AVERAGE, *options)
    whole = tiny_train("whole", *options)
    with pytest.raises(Interrupted):
        tiny_train("broken", *options, on_epoch=stop)
    resumed = tiny_train("broken", *options, resume=True)
    for checkpoint in ("last", "best"):
        assert_same_weights(weights_of(resumed, checkpoint), weights_of(whole, checkpoint))
    assert_same_weights(saved(resumed)["training_weights"], saved(whole)["training_weights"])
    assert rows(resumed.path) == rows(whole.path)


@pytest.mark.parametrize("decay", ["1", "-0.1", "many"])
def test_a_decay_that_is_none_is_refused(decay: str) -> None:
    with pytest.raises(UsageError, match=r"training\.average"):
        read_config(overrides=[f"training.average={decay}"])
