"""How much should the edge loss weigh beside the segmentation loss (ICLR 2022, 3.2 and A.4)?"""

from __future__ import annotations

from collections.abc import Sequence

from saccade.evaluation.comparison.arms import Arm, Setting
from saccade.evaluation.studies.parts import DEFORMATION, UNIFORM
from saccade.evaluation.studies.study import Study

FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Times the weight of the setting."""


def arms(setting: Setting) -> Sequence[Arm]:
    given = setting.base.loss.edge_weight
    return [UNIFORM, *(_arm(factor, given) for factor in FACTORS)]


def _arm(factor: float, given: float) -> Arm:
    weight = round(factor * given, 6)
    if factor == 1:
        return Arm(DEFORMATION.name, DEFORMATION.options, weight)
    return Arm(f"edge-{weight:g}", (*DEFORMATION.options, f"loss.edge_weight={weight}"), weight)


EDGE_WEIGHT = Study(
    name="edge-weight",
    title="The weight of the edge loss",
    question="How much should the edge loss weigh, in which the density net is taught where labels change?",
    source="ICLR 2022, 3.2 and A.4",
    arms=arms,
    value_name="weight of the edge loss",
    log_value=True,
)
