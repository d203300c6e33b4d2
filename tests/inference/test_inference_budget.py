"""A budget in the user's words: spent within 5 %, never passed, refused with the nearest that is possible."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_files import CLASSES, picture, segmenter

from saccade.errors import InvalidInput, UsageError
from saccade.geometry import SizeRange
from saccade.inference import Job, Outcome, PredictionConfig, SamplingOptions, budget, jobs
from saccade.inference.budget import BeyondBudget, Pace, Timing, layout_within
from saccade.inference.layout import Layout
from saccade.inference.options import sampling_of
from saccade.inference.plan import layout_for, make_plan
from saccade.inference.predict import Done, predict_array
from saccade.samplers import UniformSampler
from saccade.segmenter import Segmenter
from saccade.sources import opened_raster

SIZE, RANGE = (300, 400), SizeRange((12, 16), (96, 128))
PICTURE = picture(SIZE)


def run_for(sizes: SizeRange | None) -> Segmenter:
    made = segmenter(UniformSampler((36, 48)))
    made.sampler.sizes = sizes
    return made


RUN, ONE = run_for(RANGE), run_for(None)


def gflops(samples: int) -> float:
    """Written out: two convolutions and a footprint of 32 operations a value of a sample; six operations for
    each score of each pixel of the image."""
    a_sample = 2 * (3 * 8 * 5 * 5 + 8 * 3 * 3 * 3) + 3 * 32
    return (samples * a_sample + 6 * 3 * SIZE[0] * SIZE[1]) / 1e9


def laid(run: Segmenter = RUN, **sampling: Any) -> Layout:
    with opened_raster(PICTURE) as raster:
        return layout_within(raster, run, SamplingOptions(**sampling), 8.0, 3)


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 1))
def test_operations_are_spent_within_5_percent_and_never_passed(share: float) -> None:
    least, most = gflops(12 * 16), gflops(96 * 128)
    limit = least * (most / least) ** share
    layout = laid(gflops=limit)
    assert 0.95 * limit <= gflops(layout.samples) <= limit * (1 + 1e-9)
    assert layout.mode == "whole" and layout.view in RANGE and not layout.notices
    assert layout.foreseen == pytest.approx(gflops(layout.samples))


@settings(max_examples=15, deadline=None)
@given(samples=st.integers(20_000, 110_000))
def test_tiles_spend_it_too(samples: int) -> None:
    layout = laid(gflops=gflops(samples))
    assert layout.mode == "tiles" and layout.views > 1
    assert 0.95 * gflops(samples) <= gflops(layout.samples) <= gflops(samples) * (1 + 1e-9)
    fixed = laid(gflops=gflops(samples), mode="tiles", tile=(100, 100))
    assert 0.95 * gflops(samples) <= gflops(fixed.samples) <= gflops(samples) * (1 + 1e-9)


def test_what_predicts_and_what_is_planned_is_what_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, score = [], Segmenter.score

    def watched(self: Segmenter, pixels: Any) -> Any:
        seen.append(pixels[0, 0].numel())
        return score(self, pixels)

    limit, sampling = gflops(3000), SamplingOptions(gflops=gflops(3000))
    with opened_raster(PICTURE) as raster:
        plan = make_plan(raster, RUN, sampling, 3, training_downsampling=8.0)
    assert plan.gflops <= limit and plan.gflops >= 0.95 * limit and "--gflops" in plan.reasons[0]
    monkeypatch.setattr(Segmenter, "score", watched)
    predict_array(RUN, PICTURE, PredictionConfig(CLASSES, sampling, 8.0))
    assert seen[-1] == plan.pixels


@pytest.mark.parametrize("run", [RUN, ONE])
def test_too_little_is_refused_with_the_nearest_that_suffices(run: Segmenter) -> None:
    with pytest.raises(BeyondBudget) as refused:
        laid(run, gflops=1e-6)
    named = re.search(r"at least ([0-9.e-]+)", str(refused.value))
    assert named is not None and "\n" not in str(refused.value)
    layout = laid(run, gflops=float(named[1]))
    assert layout.samples == pytest.approx(12 * 16 if run is RUN else 18 * 24, rel=0.1)
    with pytest.raises(BeyondBudget):
        laid(run, gflops=float(named[1]) * 0.97)


def test_more_than_every_pixel_takes_is_said() -> None:
    layout = laid(gflops=1e3)
    assert layout.samples >= 0.5 * SIZE[0] * SIZE[1] and "no layout spends all of --gflops" in layout.notices


@pytest.mark.parametrize(("run", "most"), [(RUN, 96 * 128), (ONE, 4 * 36 * 48)])
def test_time_alone_takes_no_view_finer_than_the_run_is_good_for(
    run: Segmenter, most: int, clock: Clock
) -> None:
    layout = laid(run, seconds=100)
    assert layout.mode == "whole" and 0.9 * most <= layout.samples <= most
    assert layout.notices[-1].startswith("time is left")
    assert laid(run, seconds=100, mode="tiles").samples > 2 * most


class Clock:
    """Time that passes as images are labelled: 20 ms each, and so many for each sample."""

    def __init__(self, a_sample: float = 2e-5, fixed: float = 0.02) -> None:
        self.now, self.a_sample, self.fixed, self.runs = 0.0, a_sample, fixed, 0

    def __call__(self) -> float:
        return self.now

    def cost(self, layout: Layout) -> float:
        return self.fixed + self.a_sample * layout.samples

    def run(self, _raster: object, _segmenter: object, layout: Layout, _classes: int) -> None:
        self.now += self.cost(layout)
        self.runs += 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(budget, "_run", made.run)
    monkeypatch.setattr(budget, "_TIMINGS", {RUN.network: Timing(clock=made)})
    return made


@pytest.mark.parametrize("seconds", [0.025, 0.05, 0.11, 0.2])
def test_seconds_are_measured_and_kept_within_5_percent(clock: Clock, seconds: float) -> None:
    layout = laid(seconds=seconds)
    assert 0.95 * seconds <= clock.cost(layout) <= 1.0001 * seconds
    assert layout.foreseen == pytest.approx(clock.cost(layout), rel=0.01)
    runs = clock.runs
    assert 2 <= runs <= 8
    laid(seconds=seconds * 1.02)
    assert clock.runs <= runs + 1, "what lies between is not measured again"


def test_seconds_below_the_least_name_it(clock: Clock) -> None:
    with pytest.raises(BeyondBudget, match="--seconds") as refused:
        laid(seconds=0.01)
    assert refused.value.least == pytest.approx(0.02 + 192 * 2e-5, rel=0.01)


def simulated(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, slower: Callable[[int], float], count: int, **wishes: Any
) -> list[float]:
    """Seconds of each image of a job in which images take other than was foreseen."""
    total, taken = wishes.pop("total", None), []

    def predict(run: Segmenter, job: Job, how: PredictionConfig, *_: object) -> Outcome:
        try:
            with opened_raster(PICTURE) as raster:
                layout = layout_for(raster, run, how.sampling, 8.0, 3)
        except BeyondBudget as fault:
            return Outcome(job, fault=fault)
        taken.append(clock.cost(layout) * slower(len(taken)))
        clock.now += taken[-1]
        return Outcome(job, Done((), layout, Path("labels.png")))

    monkeypatch.setattr(jobs, "predict_one", predict)
    monkeypatch.setattr(jobs, "Pace", lambda *told: Pace(*told, clock=clock))
    todo = [Job(Path(f"{number}.png"), Path("labels.png")) for number in range(count)]
    config = PredictionConfig(CLASSES, SamplingOptions(**wishes), 8.0)
    outcomes = list(jobs.predict_all(RUN, todo, config, total_seconds=total))
    assert len(outcomes) == count and all(outcome.fault is None for outcome in outcomes)
    return taken


def test_each_image_takes_its_seconds_though_all_take_longer_than_foreseen(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    taken = simulated(monkeypatch, clock, lambda _: 1.4, 30, seconds=0.1)
    assert np.mean(taken) == pytest.approx(0.1, rel=0.05)
    assert taken[0] == pytest.approx(0.14, rel=0.05), "the first one tells"


def test_a_slow_moment_fails_no_image_that_its_seconds_suffice_for(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    taken = simulated(monkeypatch, clock, lambda _: 3.0, 5, seconds=0.03)
    assert len(taken) == 5


@pytest.mark.parametrize("slower", [lambda _: 1.0, lambda n: 1.5 + 0.3 * (n % 3), lambda n: 1 + n / 60])
def test_a_total_is_kept_within_5_percent(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, slower: Callable[[int], float]
) -> None:
    simulated(monkeypatch, clock, slower, 60, total=6.0)
    assert clock.now == pytest.approx(6.0, rel=0.05), "what the measuring took is of it"


def test_a_total_below_the_least_of_all_is_refused_before_any(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    with pytest.raises(InvalidInput, match="--total-seconds to be at least") as refused:
        simulated(monkeypatch, clock, lambda _: 1.0, 50, total=0.5)
    named = re.search(r"at least ([0-9.]+)", str(refused.value))
    assert named is not None and float(named[1]) == pytest.approx(50 * (0.02 + 192 * 2e-5), rel=0.02)


def test_real_seconds_are_those_of_the_clock_on_the_wall() -> None:
    fresh = run_for(RANGE)
    with opened_raster(PICTURE) as raster:
        least = replace(laid(gflops=gflops(192)), foreseen=None)
        timing = Timing.of(fresh)
        taken = timing.seconds(raster, fresh, least, 3)
    assert 0 < taken <= timing.spent and timing.seconds(raster, fresh, least, 3) == taken


@pytest.mark.parametrize(
    "wishes", [{"gflops": 0}, {"seconds": -1}, {"gflops": 1, "pixels": 100}, {"seconds": float("nan")},
               {"gflops": 1, "seconds": 1}],
)  # fmt: skip
def test_budgets_that_are_none_or_two_are_refused(wishes: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="--"):
        SamplingOptions(**wishes)


def test_budgets_may_be_told_as_text() -> None:
    assert sampling_of({"gflops": "0.5"}).gflops == 0.5
    with pytest.raises(
        InvalidInput, match="--seconds to be a time above 0, such as 60, 60s or 2min, but got 'soon'"
    ):
        sampling_of({"seconds": "soon"})


def test_a_sampler_that_chooses_its_own_patches_takes_no_budget() -> None:
    own = run_for(None)
    own.sampler.chooses_patches = True
    with opened_raster(PICTURE) as raster, pytest.raises(UsageError, match="chooses its own"):
        layout_for(raster, own, SamplingOptions(gflops=1), 8.0, 3)
