"""Costs that were measured for an earlier table: kept where they are of the same runs, else not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from comparisons import comparison_of, trial_of

from saccade.lab.costs import Costs, fingerprint
from saccade.metrics.cost import Cost


@pytest.fixture(scope="module")
def compared(tiny_data):
    return comparison_of(trial_of(tiny_data, seeds=(0, 1)), {"uniform": (0.4, 0.3), "oracle": (0.2, 0.1)})


@pytest.fixture
def costs(compared) -> Costs:
    rows = {
        (one.trial.method.name, one.trial.size): (fingerprint(one.trial), Cost(96, 0.1, 0.01, 0.02, None))
        for one in compared.outcomes
    }
    image = f"test/{compared.config.data.split('test')[0].stem}"
    return Costs("cpu", 2, 0.5, image, rows)


def test_costs_come_back_from_their_file(costs):
    assert Costs.from_json(json.loads(json.dumps(costs.to_json()))) == costs


@pytest.mark.parametrize("content", [None, [], {}, {"rows": [{}]}, {"rows": [[1]]}, {"rows": 3}, "costs"])
def test_anything_else_is_no_costs(content):
    assert Costs.from_json(content) is None


def test_tables_of_before_options_were_kept_are_measured_again(costs):
    rows = [{k: v for k, v in row.items() if k != "options"} for row in costs.to_json()["rows"]]
    assert Costs.from_json(costs.to_json() | {"rows": rows}) is None


def test_costs_fit_the_same_arms_and_fewer_whatever_the_seeds(costs, compared):
    assert costs.fit(compared.config, compared.outcomes)
    assert costs.fit(compared.config, [one for one in compared.outcomes if one.trial.seed == 1])
    assert costs.fit(compared.config, compared.outcomes[:1])


def test_costs_do_not_fit_other_options_images_devices_or_a_further_arm(costs, compared, tiny_data):
    config, outcomes = compared.config, compared.outcomes
    assert not replace(costs, device="a GPU").fit(config, outcomes)
    assert not costs.fit(replace(config, split="val"), outcomes)
    assert not replace(costs, rows=dict(list(costs.rows.items())[1:])).fit(config, outcomes)
    other = comparison_of(trial_of(tiny_data, "network.name=small:6"), {"uniform": (0.4, 0.3)})
    assert not costs.fit(other.config, other.outcomes)
    assert all(costs.of(one) is None for one in other.outcomes)


def test_a_run_whose_options_were_not_measured_shows_what_its_evaluation_found(costs, compared):
    one = compared.outcomes[0]
    told = replace(compared, costs=costs)
    assert told.cost(one, one.evaluation) == Cost(96, 0.1, 0.01, 0.02, None)
    other = replace(one, trial=compared.config.trial(one.trial.method, (4, 6), 0))
    assert told.cost(other, one.evaluation) == one.evaluation.cost
