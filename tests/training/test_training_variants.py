"""Which half learns when, from which loss, and which weights are kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from training_runs import Weights, rows, weights_of

from saccade.data import DataFolder, SampleCache
from saccade.errors import InvalidInput, SaccadeError
from saccade.samplers.deformation import EdgeDensityLoss
from saccade.training import Config, Run, load_run
from saccade.training.loading import Samples
from saccade.training.loop import resolve
from saccade.training.run_folder import build_segmenter
from saccade.training.task import SegmentationTask

Train = Callable[..., Run]
SAMPLER, NETWORK = "segmenter.sampler.", "segmenter.network."


def changed(before: Weights, after: Weights, part: str) -> list[str]:
    return [name for name in before if name.startswith(part) and not torch.equal(before[name], after[name])]


def statistics(weights: Weights, part: str) -> list[str]:
    return [name for name in weights if name.startswith(part) and "running_" in name]


def history(tiny_train: Train, monkeypatch: pytest.MonkeyPatch, *options: str) -> list[Weights]:
    """The weights at the start, and after each epoch."""
    kept: list[Weights] = []

    def remember(self: SegmentationTask, *_: object) -> None:
        kept.append({name: tensor.clone() for name, tensor in self.state_dict().items()})

    monkeypatch.setattr(SegmentationTask, "on_train_start", remember, raising=False)
    monkeypatch.setattr(SegmentationTask, "on_train_epoch_end", remember, raising=False)
    tiny_train("run", *options)
    return kept


@pytest.mark.parametrize(("variant", "sampler_learns_later"), [("staged", False), ("staged_joint", True)])
def test_stages_freeze_weights_and_statistics(
    tiny_train: Train, monkeypatch: pytest.MonkeyPatch, variant: str, sampler_learns_later: bool
) -> None:
    stages = ("training.first_stage_epochs=1", "training.epochs=1")
    options = (f"training.variant={variant}", *stages, "optimizer.warmup=0")
    start, first, second = history(tiny_train, monkeypatch, *options)
    assert changed(start, first, NETWORK) == []
    assert set(statistics(start, SAMPLER)) < set(changed(start, first, SAMPLER))
    assert set(statistics(start, NETWORK)) < set(changed(first, second, NETWORK))
    assert bool(changed(first, second, SAMPLER)) == sampler_learns_later


def test_joint_training_moves_both_halves_from_the_start(
    tiny_train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, first, _ = history(tiny_train, monkeypatch)
    assert changed(start, first, NETWORK) and changed(start, first, SAMPLER)


def task_of(data: DataFolder, config: Config) -> SegmentationTask:
    torch.manual_seed(0)
    config = resolve(config, data)
    segmenter = build_segmenter(config, len(data.classes))
    task = SegmentationTask(segmenter, config, data.classes.names, 2)
    task.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    return task


def sampler_gradient(data: DataFolder, cache: SampleCache, config: Config) -> float:
    """Size of the gradient in the density net after one step."""
    task = task_of(data, config)
    samples = Samples(data, data.split("train"), cache)
    task.training_step([samples[0], samples[1]], 0).backward()
    gradients = [p.grad for p in task.segmenter.sampler.parameters() if p.grad is not None]
    return sum(float(g.abs().sum()) for g in gradients)


def test_the_single_variant_teaches_the_density_net_by_the_segmentation_loss_alone(
    opened: DataFolder,
    cache: SampleCache,
    tiny_config: Callable[..., Config],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("the edge loss was asked for")

    monkeypatch.setattr(EdgeDensityLoss, "__call__", forbidden)
    assert sampler_gradient(opened, cache, tiny_config("training.variant=single")) > 0


@pytest.mark.parametrize(("through_grid", "reaches"), [("true", True), ("false", False)])
def test_the_segmentation_loss_moves_the_samples_only_where_told(
    opened: DataFolder,
    cache: SampleCache,
    tiny_config: Callable[..., Config],
    through_grid: str,
    reaches: bool,
) -> None:
    config = tiny_config(f"loss.through_grid={through_grid}", "loss.edge_weight=0")
    assert (sampler_gradient(opened, cache, config) > 0) == reaches


def test_the_edge_loss_alone_moves_the_density_net(
    opened: DataFolder, cache: SampleCache, tiny_config: Callable[..., Config]
) -> None:
    assert sampler_gradient(opened, cache, tiny_config("loss.through_grid=false")) > 0


def test_the_best_checkpoint_is_the_best_by_validation_miou(tiny_train: Train) -> None:
    run = tiny_train("run", "training.epochs=5", "optimizer.learning_rate=0.02")
    scores = [float(row["val_miou"]) for row in rows(run.path)]
    assert len(set(scores)) > 1
    assert run.epoch == scores.index(max(scores)) + 1
    assert load_run(run.path, "last").epoch == 5


def script_scores(monkeypatch: pytest.MonkeyPatch, scores: dict[int, float]) -> None:
    """Validation says what a test wants, by epoch."""

    def say(self: SegmentationTask) -> None:
        self.confusion = torch.zeros_like(self.confusion)
        self.log_dict({"val_miou": scores.get(self.current_epoch, 0.1)}, batch_size=1)

    monkeypatch.setattr(SegmentationTask, "on_validation_epoch_end", say)


def test_early_stopping_counts_validations_without_a_better_score(
    tiny_train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_scores(monkeypatch, {0: 0.5, 1: 0.6, 2: 0.6, 3: 0.5, 4: 0.9})
    run = tiny_train("run", "training.epochs=8", "training.early_stopping=2")
    assert len(rows(run.path)) == 4
    assert run.epoch == 2
    again = tiny_train("run", "training.epochs=8", "training.early_stopping=2", resume=True)
    assert len(rows(again.path)) == 4


def test_early_stopping_does_not_count_the_stage_in_which_the_network_waits(
    tiny_train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_scores(monkeypatch, {4: 0.5})
    staged = ["training.variant=staged", "training.first_stage_epochs=3"]
    run = tiny_train("run", "training.epochs=4", "training.early_stopping=2", *staged)
    assert run.epoch == 5
    assert [row["val_miou"] != "" for row in rows(run.path)] == [False] * 3 + [True] * 4


def test_rows_without_a_validation_have_no_scores_and_the_last_epoch_has_one(tiny_train: Train) -> None:
    run = tiny_train("run", "training.epochs=4", "training.validate_every=3")
    assert [row["val_miou"] != "" for row in rows(run.path)] == [False, False, True, True]
    late = tiny_train("late", "training.validate_every=9")
    assert [row["val_miou"] != "" for row in rows(late.path)] == [False, True]
    assert late.epoch == 2


def test_metrics_csv_has_a_row_an_epoch_with_losses_scores_and_rate(
    tiny_train: Train, opened: DataFolder
) -> None:
    run = tiny_train("run", "optimizer.schedule=constant", "optimizer.warmup=0")
    found = rows(run.path)
    assert [row["epoch"] for row in found] == ["0", "1"]
    assert [row["step"] for row in found] == ["2", "4"]
    for row in found:
        parts = float(row["train_segmentation_loss"]) + float(row["train_sampler_loss"])
        assert float(row["train_loss"]) == pytest.approx(parts, rel=1e-4)
        ious = [float(row[f"val_iou_{name}"]) for name in opened.classes.names]
        assert float(row["val_miou"]) == pytest.approx(sum(ious) / len(ious), abs=1e-5)
        assert float(row["lr"]) == run.config.optimizer.learning_rate


def test_a_loss_that_is_not_finite_is_one_clear_line(
    tiny_train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = SegmentationTask._segmentation
    monkeypatch.setattr(SegmentationTask, "_segmentation", lambda *args: score(*args) * torch.nan)
    with pytest.raises(SaccadeError, match="the loss became nan in epoch 1, step 1; lower"):
        tiny_train("run")


@pytest.mark.parametrize(
    "options",
    [
        ("training.precision=bf16-mixed",),
        ("training.precision=bf16-mixed", "loss.through_grid=true", "sampler.grid=attraction"),
        ("sampler.net=null", "sampler.dilations=[1,2,4]", "training.precision=bf16-mixed"),
        ("sampler.net=small:2", "loss.through_grid=true"),
        ("loss.segmentation=focal", "loss.edge=mse", "loss.edge_weight=100", "loss.class_weights=[1,2,3,4]"),
        ("training.batch_size=9",),
        ("sampler.thumbnail=[6,10]", "sampler.density=[5,7]", "sampler.edge_weights=equal"),
    ],
)
def test_every_option_trains_to_finite_weights(tiny_train: Train, options: tuple[str, ...]) -> None:
    weights = weights_of(tiny_train("run", *options))
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


@pytest.mark.parametrize("sampler", ["uniform", "oracle"])
def test_a_sampler_that_learns_nothing_has_no_stages(
    tiny_config: Callable[..., Config], sampler: str
) -> None:
    with pytest.raises(SaccadeError, match="joint where the sampler has nothing to learn"):
        tiny_config(f"sampler.name={sampler}", "training.variant=staged", "training.first_stage_epochs=1")


def test_half_precision_on_a_cpu_is_refused(tiny_train: Train) -> None:
    with pytest.raises(InvalidInput, match="bf16-mixed on a CPU"):
        tiny_train("run", "training.precision=16-mixed")


def test_images_of_different_sizes_train_in_one_batch(
    opened: DataFolder, tiny_config: Callable[..., Config], cache: SampleCache
) -> None:
    from saccade.data import Sample
    from saccade.warp import Pyramid

    first = Samples(opened, opened.split("train"), cache)[0]
    image = first.pyramid.level(0)[:, :, :20, :30].contiguous()
    small = Sample("small", Pyramid.of(image), first.labels[:, :20, :30].contiguous())
    loss = task_of(opened, tiny_config()).training_step([first, small], 0)
    loss.backward()
    assert torch.isfinite(loss)


def test_the_cache_that_is_handed_in_is_used_even_where_it_keeps_nothing(tiny_train: Train) -> None:
    class Counting(SampleCache):
        asked = 0

        def get(self, data: object, item: object) -> object:  # type: ignore[override]
            Counting.asked += 1
            return super().get(data, item)  # type: ignore[arg-type]

    cache = Counting(0)
    tiny_train("run", cache=cache)
    assert Counting.asked == 2 * (4 + 2) + 2  # two for the step on the side
    assert len(cache) == 0
