"""Studies that train nothing, against what is known without them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from comparisons import evaluation_of, trial_of

from saccade.lab.methods import Method, Outcome
from saccade.lab.studies import downsampling, foveation, load_study, study, study_json
from saccade.metrics import iou, recovery_counts
from saccade.samplers import OracleSampler
from saccade.samplers.deformation import DensityToGrid, EdgeTarget


@pytest.fixture(scope="module")
def measured(six_scenes):
    config = trial_of(six_scenes, sizes=((8, 12),))
    return config, downsampling.measure_of_oracle_blur(config, ())


def table_of(found):
    return next(block for block in found if isinstance(block, study.Table))


def test_each_class_is_a_task_of_its_own(measured):
    """Label recovery of a class against the rest, by a grid of its edges alone."""
    config, found = measured
    names = list(config.data.classes.names)
    row = next(row for row in table_of(found).rows if row[0] == names[-1])
    sampler = OracleSampler((8, 12), target=EdgeTarget(blur=downsampling.BLURS[2]), to_grid=DensityToGrid())
    counts = torch.zeros(2, 2, dtype=torch.int64)
    for sample in config.samples():
        told = torch.where(sample.labels == 255, 255, (sample.labels == len(names) - 1).long())
        counts += recovery_counts(told, sampler(labels=[told]).grids, 2)
    assert row[2 + 2] == pytest.approx(float(iou(counts)[1]))


def test_the_rarest_class_stands_first_and_the_mean_last(measured):
    config, found = measured
    shares = config.data.class_counts("test")
    names = [row[0] for row in table_of(found).rows]
    assert names[:-1] == [config.data.classes.names[k] for k in np.argsort(shares, kind="stable")]
    assert names[-1] == downsampling.ALL


def test_the_best_blur_is_the_one_of_the_highest_score(measured):
    for row in table_of(measured[1]).rows:
        scores = row[2:-2]
        assert downsampling.BLURS[int(np.argmax(scores))] == float(row[-2])


def test_no_blur_is_wider_than_the_density(measured):
    """A wider one would be refused."""
    assert table_of(measured[1]).head[-3] == "8"
    assert downsampling.blurs_of(measured[0], (64, 128)) == list(downsampling.BLURS)


def test_a_study_is_strict_json(measured):
    config, found = measured
    hole = study.Table("t", ("a",), [[float("nan")], [np.float64(0.5)]])
    content = study_json(config, load_study("oracle-blur"), [*found, hole], None)
    plain = json.loads(json.dumps(content, allow_nan=False))
    assert plain["study"] == "oracle-blur"
    assert plain["blocks"][-1]["rows"] == [[None], [0.5]]
    assert plain["images"] == 6


def test_foveation_is_compared_with_the_best_field_alone(six_scenes):
    config = trial_of(six_scenes, sizes=((8, 12),))
    wrong = {"fixed0": 0.3, "fixed1": 0.1, "mean": 0.2}
    outcomes = tuple(
        Outcome(config.trial(Method(name), (8, 12), 0), six_scenes, evaluation_of(config, share))
        for name, share in wrong.items()
    )
    (table,) = foveation.measure_of_fields(config, outcomes)
    ((name, _, best, gain),) = table.rows
    assert (name, best) == ("mean, 8x12", "fixed1")
    assert gain.startswith("-")
