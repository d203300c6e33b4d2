"""What a run for a range of sizes is known to score at some of them, and what a plan says of it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

import saccade
from saccade.data import DataFolder, SampleCache
from saccade.errors import FileProblem
from saccade.evaluation import evaluate
from saccade.training import Run
from saccade.training.scores_by_size import expected_score, known_scores

RANGE = "sampler.size=6x8..14x18"
Train = Callable[..., Run]


def test_every_rung_has_the_score_that_an_evaluation_gives(
    tiny_train: Train, opened: DataFolder, cache: SampleCache
) -> None:
    run = tiny_train("run", RANGE)
    scores = known_scores(run)
    assert list(scores) == run.config.sampler.sizes.ladder()
    for size in ((6, 8), (14, 18)):
        samples = cache.iterate(opened, opened.split("val"))
        found = evaluate(run.segmenter.with_size(size), samples, opened.classes)
        assert scores[size] == pytest.approx(found.miou)


def test_a_plan_shows_them_and_what_lies_between(tiny_train: Train, opened: DataFolder) -> None:
    run = tiny_train("run", RANGE)
    image, scores = opened.split("test")[0].image, known_scores(run)
    at_rung = saccade.plan(image, run.path, size=(14, 18), device="cpu")
    assert at_rung.miou == pytest.approx(scores[14, 18])
    assert [rung.miou for rung in at_rung.ladder] == list(scores.values())
    text = "\n".join(at_rung.lines())
    assert f"mIoU {scores[14, 18]:.3f} on the validation images" in text
    assert f"mIoU {scores[6, 8]:.3f} on val" in text
    plan = saccade.plan(image, run.path, size=(7, 10), device="cpu")
    between = plan.miou
    assert between is not None and plan.to_json()["miou"] == pytest.approx(between)
    sizes = list(scores)
    assert between == pytest.approx(expected_score(scores, (7, 10)))
    assert min(scores[sizes[0]], scores[sizes[1]]) <= between <= max(scores[sizes[0]], scores[sizes[1]])
    assert saccade.plan(image, run.path, size=(3, 4), device="cpu").miou is None, (
        "nothing is promised outside"
    )


def test_a_run_for_one_size_promises_what_its_validation_said(tiny_train: Train, opened: DataFolder) -> None:
    run = tiny_train("run")
    image = opened.split("test")[0].image
    said = {
        float(row["val_miou"]) for row in saccade.training.run_folder.read_metrics(run.path / "metrics.csv")
    }
    assert saccade.plan(image, run.path, device="cpu").miou in said
    assert saccade.plan(image, run.path, device="cpu", size=(4, 6)).miou is None
    assert not (run.path / "budgets.json").exists()


def test_without_the_file_there_is_no_promise_and_a_broken_one_is_a_line(tiny_train: Train) -> None:
    run = tiny_train("run", RANGE)
    file = run.path / "budgets.json"
    assert json.loads(file.read_text())[0]["size"] == [6, 8]
    file.write_text('[{"size": 5}]')
    with pytest.raises(FileProblem, match=r"budgets\.json"):
        known_scores(run)
    file.unlink()
    assert set(known_scores(run)) <= {run.config.sampler.size}
