"""Learning rates against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from saccade.training.config import OptimizerConfig
from saccade.training.trainer import build_optimizer, rate_factor

STEPS, AN_EPOCH = 200, 10


def factors(schedule: str, **options: float) -> list[float]:
    config = OptimizerConfig(schedule=schedule, **options)  # type: ignore[arg-type]
    return [rate_factor(step, STEPS, AN_EPOCH, config) for step in range(STEPS + 1)]


def test_cosine_falls_from_one_to_zero_through_a_half() -> None:
    found = factors("cosine", warmup=0)
    wanted = [0.5 * (1 + math.cos(math.pi * step / STEPS)) for step in range(STEPS + 1)]
    assert found == pytest.approx(wanted)
    assert (found[0], found[100], found[200]) == pytest.approx((1, 0.5, 0))


def test_poly_is_the_papers_power() -> None:
    assert factors("poly", warmup=0) == pytest.approx(
        [(1 - step / STEPS) ** 0.9 for step in range(STEPS + 1)]
    )


def test_steps_come_after_whole_epochs() -> None:
    found = factors("step", warmup=0, step_epochs=5, step_factor=0.1)
    assert found[:50] == [1.0] * 50
    assert found[50:100] == pytest.approx([0.1] * 50)
    assert found[100] == pytest.approx(0.01)


def test_constant_stays() -> None:
    assert factors("constant", warmup=0) == [1.0] * (STEPS + 1)


@pytest.mark.parametrize("schedule", ["cosine", "poly", "constant"])
def test_the_warm_up_rises_evenly_and_never_from_zero(schedule: str) -> None:
    found = factors(schedule, warmup=0.1)
    assert found[:20] == pytest.approx([(step + 1) / 21 for step in range(20)])
    assert found[20] == 1.0
    assert max(found) == 1.0


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_optimisers_come_with_their_options(name: str, kind: type) -> None:
    options = OptimizerConfig(name=name, learning_rate=0.3, weight_decay=0.2)
    optimizer = build_optimizer([torch.nn.Parameter(torch.zeros(1))], options)
    assert type(optimizer) is kind
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.3, 0.2)
