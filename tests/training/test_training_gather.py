"""How far samples gather: drawn in training, chosen by the validation images, kept with the run."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from training_runs import assert_same_weights, rows, weights_of

import saccade
from saccade.data import DataFolder, SampleCache
from saccade.errors import FileProblem
from saccade.grids import uniform_grid
from saccade.metrics import confusion_matrix, miou
from saccade.samplers.deformation import SHARES, DensityToGrid, drawn_shares, evened
from saccade.training import Run, load_run, read_config
from saccade.training.budgets import Budget, read_budgets, write_budgets

DRAWN = "sampler.gather=drawn"


def density_of(count: int) -> torch.Tensor:
    return torch.rand(count, 1, 9, 12, generator=torch.Generator().manual_seed(0)) ** 3


@pytest.mark.parametrize("grid", ["elastic", "attraction"])
def test_without_a_share_samples_are_even_and_with_all_of_it_as_ever(grid: str) -> None:
    to_grid, density = DensityToGrid(grid), density_of(2)
    assert torch.allclose(to_grid(evened(density, 0.0), (8, 10)), uniform_grid((8, 10), 2), atol=1e-6)
    assert torch.equal(evened(density, 1.0), density)
    mixed = to_grid(evened(density, torch.tensor([0.0, 1.0])), (8, 10))
    assert torch.allclose(mixed[0], uniform_grid((8, 10))[0], atol=1e-6)
    assert torch.allclose(mixed[1], to_grid(density, (8, 10))[1], atol=1e-5)


def test_the_more_is_kept_the_nearer_samples_come() -> None:
    density = torch.zeros(1, 1, 16, 16)
    density[..., 9:12, 9:12] = 1
    spacing = [
        float(DensityToGrid()(evened(density, share), (16, 16))[0, :, :, 0].diff(dim=1).min())
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert all(wide > narrow for wide, narrow in itertools.pairwise(spacing))


def test_a_third_each_is_even_full_and_between() -> None:
    shares = drawn_shares(3000, torch.Generator().manual_seed(0))
    assert abs(float((shares == 0).float().mean()) - 1 / 3) < 0.03
    assert abs(float((shares == 1).float().mean()) - 1 / 3) < 0.03
    assert shares.min() >= 0 and shares.max() <= 1


def test_the_best_share_of_each_budget_is_kept_and_sampled_with(
    tiny_train: Callable[..., Run], opened: DataFolder, cache: SampleCache
) -> None:
    run = tiny_train("run", DRAWN, "training.epochs=2")
    (kept,) = read_budgets(run.path)
    assert (
        run.segmenter.sampler.shares == load_run(run.path).segmenter.sampler.shares == {kept.size: kept.share}
    )
    scores = {}
    for share in SHARES:
        run.segmenter.sampler.shares = {kept.size: share}
        counts = sum(
            confusion_matrix(run.segmenter.predict(sample.pyramid), sample.labels, len(run.classes))
            for sample in cache.iterate(opened, opened.split("val"))
        )
        scores[share] = float(miou(counts))
    assert kept.val_miou == pytest.approx(max(scores.values()))
    assert scores[kept.share] == max(scores.values())


def test_a_run_for_a_range_keeps_a_share_for_each_of_its_budgets(tiny_train: Callable[..., Run]) -> None:
    run = tiny_train("run", DRAWN, "sampler.size=6x8..14x18", "training.epochs=1")
    assert [one.size for one in read_budgets(run.path)] == list(run.segmenter.sampler.shares)
    assert len(run.segmenter.sampler.shares) == 5


def test_a_prediction_takes_the_share_of_the_size_nearest_to_its_own() -> None:
    torch.manual_seed(0)
    sampler = saccade.DeformationSampler((8, 10)).eval()
    sampler.shares = {(8, 10): 0.0, (32, 40): 1.0}
    thumbnail = torch.rand(1, 3, 8, 10)
    even = sampler(thumbnail, size=(8, 12)).grids
    assert torch.allclose(even, uniform_grid((8, 12)), atol=1e-6)
    assert not torch.allclose(sampler(thumbnail, size=(30, 40)).grids, uniform_grid((30, 40)), atol=1e-3)


def test_a_resumed_run_draws_what_an_unbroken_one_does(tiny_train: Callable[..., Run]) -> None:
    whole = tiny_train("whole", DRAWN, "training.epochs=3")

    def stop(done: int, _: int, scores: object) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(saccade.SaccadeError):
        tiny_train("broken", DRAWN, "training.epochs=3", on_epoch=stop)
    stopped = tiny_train("broken", DRAWN, "training.epochs=3", resume=True)
    assert rows(stopped.path) == rows(whole.path)
    assert_same_weights(weights_of(stopped), weights_of(whole))
    assert read_budgets(stopped.path) == read_budgets(whole.path)


def test_other_samplers_have_nothing_to_draw(tiny_train: Callable[..., Run]) -> None:
    run = tiny_train("run", DRAWN, "sampler.name=uniform", "training.epochs=1")
    assert read_budgets(run.path) == []
    with pytest.raises(saccade.SaccadeError, match=r"sampler\.gather"):
        read_config(overrides=["sampler.gather=drawm"])


@pytest.mark.parametrize(
    "text",
    ["{", "[1]", '[{"size": [8, 0], "val_miou": 0.5}]', '[{"size": [8, 8], "val_miou": 0, "share": 2}]'],
)
def test_a_damaged_file_of_budgets_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "budgets.json").write_text(text)
    with pytest.raises(FileProblem, match=r"budgets\.json"):
        read_budgets(tmp_path)


def test_what_is_kept_of_budgets_comes_back(tmp_path: Path) -> None:
    budgets = [Budget((8, 10), 0.5, 0.5), Budget((16, 20), 0.75)]
    write_budgets(tmp_path, budgets)
    assert read_budgets(tmp_path) == budgets
    assert "share" not in json.loads((tmp_path / "budgets.json").read_text())[1]
