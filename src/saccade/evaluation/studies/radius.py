"""How far should attraction reach (ICLR 2022, 3.1: a quarter of the density's short axis or more)?"""

from __future__ import annotations

from collections.abc import Sequence

from saccade.evaluation.comparison.arms import Arm, Outcome, Setting
from saccade.evaluation.studies.blocks import Block, Text
from saccade.evaluation.studies.parts import DEFORMATION, UNIFORM
from saccade.evaluation.studies.study import Study

SHARES = (0.125, 0.25, 0.5, 1.0)
"""Radii as shares of the short axis of the smallest size."""


def arms(setting: Setting) -> Sequence[Arm]:
    """``deformation`` is the setting's own grid, by default the elastic one, which has no radius."""
    short = min(setting.base.sampler.density or setting.sizes[0])
    radii = sorted({max(1, round(share * short)) for share in SHARES})
    return [UNIFORM, DEFORMATION, *map(_arm, radii)]


def _arm(radius: int) -> Arm:
    options = (*DEFORMATION.options, "sampler.grid=attraction", f"sampler.radius={radius}")
    return Arm(f"radius-{radius}", options, float(radius))


def measure(setting: Setting, outcomes: Sequence[Outcome]) -> Sequence[Block]:
    grid = setting.base.sampler.grid
    reach = " of its own radius" if grid == "attraction" else ", which has no radius"
    return [Text(f"radius-N is attraction of that radius; deformation is the {grid} grid{reach}.")]


RADIUS = Study(
    name="radius",
    title="The radius of attraction",
    question="How far should a dense place pull samples from?",
    source="ICLR 2022, 3.1",
    arms=arms,
    measure=measure,
    value_name="radius, pixels of the density",
    log_value=True,
)
