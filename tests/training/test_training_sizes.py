"""One run serves every size of a range: what it is trained on, what it keeps, and what it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from training_runs import assert_same_weights, rows, weights_of

import saccade
from saccade.cli import main
from saccade.data import DataFolder, SampleCache
from saccade.errors import InvalidInput, UsageError
from saccade.grids import elastic_grid
from saccade.training import Config, Run, load_run, read_config
from saccade.training.run_folder import build_segmenter
from saccade.training.task import Seen, SegmentationTask

RANGE = "sampler.size=6x8..14x18"
SMALLEST, LARGEST = (6, 8), (14, 18)


def sizes_seen(
    monkeypatch: pytest.MonkeyPatch, train: Callable[[], object]
) -> list[tuple[bool, tuple[int, int]]]:
    """Whether the network was learning, and (h, w), each time that something was scored."""
    seen, score = [], saccade.Segmenter.score

    def watched(self: saccade.Segmenter, pixels: Tensor) -> Tensor:
        seen.append((torch.is_grad_enabled(), (pixels.shape[2], pixels.shape[3])))
        return score(self, pixels)

    monkeypatch.setattr(saccade.Segmenter, "score", watched)
    train()
    return seen


def test_a_range_gives_its_ends_and_its_middle() -> None:
    sampler = read_config(overrides=["sampler.size=24x48..192x384"]).sampler
    assert (sampler.smallest, sampler.size, sampler.largest) == ((24, 48), (68, 136), (192, 384))
    assert sampler.budget == "24x48..192x384"


def test_one_size_is_the_default_and_ends_a_range_of_an_earlier_source(tmp_path: Path) -> None:
    assert Config().sampler.sizes is None and Config().sampler.size == (64, 128)
    (tmp_path / "range.yaml").write_text("sampler: {size: 32x64..128x256}\n")
    assert str(read_config(tmp_path / "range.yaml").sampler.sizes) == "32x64..128x256"
    assert read_config(tmp_path / "range.yaml", ["sampler.size=32x64"]).sampler.sizes is None


@pytest.mark.parametrize("text", ["32x64..", "..32x64", "64x128..32x64", "32x64..32x64", "32x64...64x128",
                                  "1x1..8x8", "64x32..32x64"])  # fmt: skip
def test_what_is_no_range_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_config(overrides=[f"sampler.size={text}"])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [["sampler.fit=true"], ["sampler.name=foveation"], ["sampler.size=64x64", "sampler.smallest=2x2"]],
)
def test_what_cannot_serve_a_range_is_refused_by_name(options: list[str]) -> None:
    with pytest.raises(UsageError, match=r"sampler\.fit|foveation|sampler\.smallest"):
        read_config(overrides=[RANGE, *options])


@pytest.mark.parametrize("sampler", ["uniform", "deformation", "boundary", "oracle"])
def test_every_step_sees_the_largest_the_smallest_and_one_between(
    sampler: str, tiny_train: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ["boundary.width=4", "training.first_stage_epochs=1"]
    seen = sizes_seen(monkeypatch, lambda: tiny_train("run", RANGE, f"sampler.name={sampler}", *own))
    learning = [size for learns, size in seen if learns]
    learning = learning[-12:]  # four steps; before them stands what is tried on the side
    steps = [learning[at : at + 3] for at in range(0, 12, 3)]
    assert all(step[0] == LARGEST and step[2] == SMALLEST for step in steps)
    between = {step[1] for step in steps}
    assert len(between) > 1 and all(SMALLEST <= size <= LARGEST for size in between)


def test_the_run_keeps_its_range_and_predicts_at_its_middle(tiny_train: Callable[..., Run]) -> None:
    run = tiny_train("run", RANGE, "training.epochs=1")
    again = load_run(run.path)
    assert again.config.sampler.smallest == SMALLEST and again.config.sampler.largest == LARGEST
    assert str(again.segmenter.sampler.sizes) == "6x8..14x18" and again.segmenter.sampler.size == (9, 12)
    assert "6x8..14x18" in run._repr_html_()


def test_a_resumed_run_repeats_an_unbroken_one(tiny_train: Callable[..., Run]) -> None:
    whole = tiny_train("whole", RANGE, "training.epochs=3")

    def stop(done: int, _: int, scores: object) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(saccade.SaccadeError):
        tiny_train("broken", RANGE, "training.epochs=3", on_epoch=stop)
    stopped = tiny_train("broken", RANGE, "training.epochs=3", resume=True)
    assert rows(stopped.path) == rows(whole.path)
    assert_same_weights(weights_of(stopped), weights_of(whole))


def test_the_loss_is_the_mean_of_the_three_sizes(
    opened: DataFolder,
    cache: SampleCache,
    tiny_config: Callable[..., Config],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_config(RANGE, "sampler.name=uniform", "loss.distillation=0")
    names = opened.classes.names
    batch = [cache.get(opened, item) for item in opened.split("train")[:2]]

    def loss(sizes: tuple[tuple[int, int], ...]) -> Tensor:
        torch.manual_seed(0)
        task = SegmentationTask(build_segmenter(config, len(names)), config, names, 1).train()
        task.segmenter.network.eval()  # batch norm would tell one size of another
        monkeypatch.setattr(SegmentationTask, "current_epoch", 0)
        monkeypatch.setattr(SegmentationTask, "global_rank", 0)
        return task._glimpse_losses(batch, task._augmentation(2, 0), sizes)[0]

    sizes = (LARGEST, (9, 11), SMALLEST)
    alone = torch.stack([loss((size,)) for size in sizes])
    assert torch.allclose(loss(sizes), alone.mean(), rtol=1e-6)


def test_a_teacher_is_read_where_the_smaller_samples_lie() -> None:
    """Shares that are linear in the place come back as the place, on grids that are far from even."""
    density = torch.full((1, 1, 16, 32), 0.01)
    density[..., 5:8, 20:24] = 1.0
    density = density / density.sum()
    large, small = elastic_grid(density, (32, 64), floor=0.1), elastic_grid(density, (8, 16), floor=0.1)
    right = (large[..., 0] + 1) / 2
    scores = torch.stack([right, 1 - right], 1).clamp(1e-6, 1).log()
    labels = torch.zeros(1, 32, 64, dtype=torch.int64)
    found = Seen(scores, labels, large).shares_at(small)
    inside = small[:, 1:-1, 1:-1, 0]
    assert found.shape == (1, 2, 8, 16)
    assert (found[:, 0, 1:-1, 1:-1] - (inside + 1) / 2).abs().max() < 0.02
    assert torch.allclose(found.sum(1), torch.ones(1, 8, 16), atol=1e-5)


def test_the_largest_teaches_only_smaller_sizes_and_only_where_asked(tiny_train: Callable[..., Run]) -> None:
    weights = [
        weights_of(tiny_train(f"run{share}{size}", f"sampler.size={size}", f"loss.distillation={share}"))
        for size in ("8x12", "6x8..14x18") for share in (0, 1)
    ]  # fmt: skip
    assert_same_weights(weights[0], weights[1])
    assert any(not torch.equal(weights[2][name], weights[3][name]) for name in weights[2])


def test_evaluate_takes_any_size_and_keeps_each_answer(
    tiny_train: Callable[..., Run], tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tiny_train("run", RANGE, "training.epochs=1")
    assert saccade.evaluate(run.path, tiny_data, device="cpu").subject.size == (9, 12)
    own = (run.path / "evaluation_test.json").read_bytes()
    small = saccade.evaluate(run.path, tiny_data, size="6x8", device="cpu")
    assert small.cost.pixels == 48 and small.subject.size == (6, 8)
    assert main(["evaluate", str(run.path), str(tiny_data), "--size", "3x4", "--device", "cpu"]) == 0
    assert "outside of the 6x8..14x18" in (said := capsys.readouterr().err) and "nearest is 6x8" in said
    assert (run.path / "evaluation_test.json").read_bytes() == own
    assert len(list(run.path.glob("evaluation_test_*.json"))) == 2
    assert main(["evaluate", str(run.path), str(tiny_data), "--size", "big"]) == 1


def test_a_plan_shows_the_budgets_and_a_prediction_tells_of_one_outside(
    tiny_train: Callable[..., Run], tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tiny_train("run", RANGE, "training.epochs=1")
    image = sorted((tiny_data / "images").iterdir())[0]
    foreseen = saccade.plan(image, run.path, device="cpu")
    assert [rung.size for rung in foreseen.ladder] == [(6, 8), (7, 10), (9, 12), (11, 15), (14, 18)]
    assert all(a.gflops < b.gflops for a, b in zip(foreseen.ladder, foreseen.ladder[1:], strict=False))
    assert "--size 6x8: 48 samples" in "\n".join(foreseen.lines()) and not foreseen.notices
    assert "nearest" in saccade.plan(image, run.path, size="2x3", device="cpu").notices[0]
    words = ["predict", str(run.path), str(image), str(tmp_path / "out"), "--device", "cpu"]
    assert main([*words, "--size", "2x3", "--mode", "whole"]) == 0
    assert "the nearest is" in capsys.readouterr().err
    assert main([*words, "--size", "7x9", "--overwrite"]) == 0
    assert "outside" not in capsys.readouterr().err


def test_a_size_is_refused_where_a_sampler_chooses_its_own() -> None:
    config = read_config(overrides=["sampler.fit=true", "sampler.size=8x40", "network.name=small:4"])
    with pytest.raises(UsageError, match="leave --size out"):
        build_segmenter(config, 2).with_size((4, 4))
    with pytest.raises(InvalidInput, match="pair"):
        build_segmenter(read_config(overrides=["network.name=small:4"]), 2).with_size((4,))
