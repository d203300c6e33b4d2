"""The time left of a comparison comes from what its runs took, not from what they look like."""

from __future__ import annotations

import pytest

from saccade.data import SampleCache, open_data
from saccade.lab.compare import Overall
from saccade.lab.methods import ComparisonConfig, Method
from saccade.training.config import read_config


class Shown:
    """What a progress was told last."""

    def update(self, done: float, note: str) -> None:
        self.done, self.note = done, note


@pytest.fixture
def cases(tiny_data):
    """Two samplers with two seeds each, of ten epochs."""
    base = read_config(overrides=["network.name=small:4", "training.epochs=10"])
    config = ComparisonConfig(open_data(tiny_data), SampleCache(), ((8, 12),), (0, 1), base, ())
    methods = [Method(name, (f"sampler.name={name}",)) for name in ("uniform", "foveation")]
    return [config.trial(method, (8, 12), seed) for method in methods for seed in (0, 1)]


def done_in_turn(cases, seconds: dict[str, float], tenths: int) -> Shown:
    """The progress after so many tenths of runs, one after the other, that take so long each."""
    now, shown = [0.0], Shown()
    overall = Overall(shown, cases, lambda: now[0])
    for step in range(tenths):
        case, part = cases[step // 10], step % 10 + 1
        if part == 1:
            overall.tell(case, 0.0, "started")
        now[0] += seconds[case.method.name] / 10
        overall.tell(case, part / 10, "epoch")
    return shown


def test_equal_shares_are_equal_time_once_every_kind_was_seen(cases):
    seconds = {"uniform": 100.0, "foveation": 900.0}
    for tenths, passed in ((30, 1100), (35, 1550), (40, 2000)):
        assert done_in_turn(cases, seconds, tenths).done == pytest.approx(100 * passed / 2000)


def test_a_sampler_that_looks_dear_and_is_cheap_is_weighed_anew(cases):
    seconds = {"uniform": 100.0, "foveation": 10.0}
    assert done_in_turn(cases, seconds, 20).done < 10
    assert done_in_turn(cases, seconds, 22).done > 90


def test_what_was_there_of_a_resumed_run_is_neither_speed_nor_progress(cases):
    now, shown = [0.0], Shown()
    overall = Overall(shown, cases[:1], lambda: now[0])
    for share, seconds in ((0.5, 1), (0.6, 12), (0.7, 10)):
        now[0] += seconds
        overall.tell(cases[0], share, "epoch")
    assert overall.runs[cases[0].name].seconds == pytest.approx(100)
    assert shown.done == pytest.approx(40)
    assert "0 of 1 runs" in shown.note
