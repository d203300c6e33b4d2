"""Gains, factors of pixels and tables of a comparison, on counts that are known."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from comparisons import comparison_of, trial_of

from saccade.errors import SaccadeError
from saccade.lab.results import equal_quality, pixels_for, stacked, to_csv, to_json
from saccade.metrics.bootstrap import iou_parts


@pytest.fixture
def config(six_scenes):
    return trial_of(six_scenes, seeds=(0, 1, 2))


def test_gains_are_over_uniform_at_the_same_size_wherever_it_stands(config):
    found = comparison_of(config, {"deformation": (0.1, 0.1), "uniform": (0.3, 0.1)})
    assert found.reference.name == "uniform"
    small, large = found.of(found.methods[0])
    assert found.gain(small).verdict == "win"
    assert found.gain(small).value == pytest.approx(
        small.iou.values[-1] - found.points["uniform", (8, 12)].iou.values[-1]
    )
    assert found.gain(large).verdict == "unclear"
    assert found.gain(found.points["uniform", (8, 12)]) is None


def test_without_uniform_the_first_arm_is_the_reference(config):
    found = comparison_of(config, {"oracle": (0.1, 0.1), "deformation": (0.3, 0.2)})
    assert found.reference.name == "oracle"
    assert found.gain(found.points["deformation", (8, 12)]).verdict == "loss"
    assert found.sees_labels == {"oracle"}


def test_a_failed_seed_is_left_out_of_the_means_and_stays_in_the_table(config):
    failed = {"deformation_8x12_s1": "the loss became nan"}
    found = comparison_of(config, {"uniform": (0.3, 0.2), "deformation": (0.2, 0.1)}, failed)
    assert found.points["deformation", (8, 12)].seeds == (0, 2)
    assert [one.trial.name for one in found.failures] == ["deformation_8x12_s1"]
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert len(rows) == 12
    (row,) = [row for row in rows if row["status"] == "failed"]
    assert (row["sampler"], row["size"], row["seed"]) == ("deformation", "8x12", "1")
    assert (row["reason"], row["miou"]) == ("the loss became nan", "")


def test_an_arm_that_failed_altogether_has_no_point(config):
    failed = {f"deformation_8x12_s{seed}": "killed" for seed in range(3)}
    found = comparison_of(config, {"uniform": (0.3, 0.2), "deformation": (0.2, 0.1)}, failed)
    assert ("deformation", (8, 12)) not in found.points
    assert to_json(found)["runs"][6]["status"] == "failed"


def test_the_json_is_strict_and_holds_scores_intervals_and_verdicts(config):
    found = comparison_of(config, {"uniform": (0.3, 0.2), "deformation": (0.1, 0.05)})
    plain = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert [(row["sampler"], row["size"]) for row in plain["summary"]][:2] == [
        ("uniform", "8x12"), ("uniform", "16x24"),
    ]  # fmt: skip
    gained = plain["summary"][2]
    assert gained["miou_gain"]["verdict"] == "win"
    assert gained["miou_gain"]["low"] < gained["miou_gain"]["value"] < gained["miou_gain"]["high"]
    assert gained["pixels_for_equal_miou"]["value"] == "inf"
    assert set(gained["classes"]) == {"water", "land", "forest", "boat"}
    csv_mean = np.mean([row["miou"] for row in plain["runs"] if row["sampler"] == "uniform"][:3])
    assert plain["summary"][0]["miou"]["value"] == pytest.approx(csv_mean)


def test_evaluations_of_other_images_are_not_mixed(config):
    found = comparison_of(config, {"uniform": (0.3, 0.2)}).outcomes[0].evaluation
    from dataclasses import replace

    other = replace(found, records=found.records[::-1])
    with pytest.raises(SaccadeError, match="different images"):
        stacked([found, other], lambda record: iou_parts(record.confusion))


PIXELS = np.array([100.0, 400.0, 1600.0])


@pytest.mark.parametrize(
    ("score", "pixels"),
    [(0.5, 0), (0.4, 0), (0.6, 200), (0.7, 400), (0.75, 800), (0.8, 1600), (0.81, np.inf)],
)
def test_pixels_for_a_score_are_read_off_the_curve_in_doublings(score, pixels):
    curve = np.array([[0.5, 0.7, 0.8]])
    assert pixels_for(np.array([score]), PIXELS, curve) == pytest.approx([pixels])


def test_the_first_crossing_counts_where_a_curve_falls_again():
    assert pixels_for(np.array([0.6]), PIXELS, np.array([[0.5, 0.7, 0.55]])) == pytest.approx([200])


def test_equal_quality_is_one_for_the_same_scores(config):
    found = comparison_of(config, {"uniform": (0.3, 0.1), "deformation": (0.3, 0.1)})
    large = equal_quality(found, found.points["deformation", (16, 24)])
    assert large.value == pytest.approx(1)
    assert equal_quality(found, found.points["uniform", (16, 24)]) is None


def test_equal_quality_lies_between_the_sizes_and_its_range_holds_it(config):
    found = comparison_of(config, {"uniform": (0.4, 0.1), "deformation": (0.2, 0.1)})
    small = equal_quality(found, found.points["deformation", (8, 12)])
    assert 1 < small.low < small.value < small.high < 4


def test_equal_quality_needs_two_sizes_of_the_reference(six_scenes):
    one = trial_of(six_scenes, sizes=((8, 12),))
    found = comparison_of(one, {"uniform": (0.4,), "deformation": (0.2,)})
    assert equal_quality(found, found.points["deformation", (8, 12)]) is None
