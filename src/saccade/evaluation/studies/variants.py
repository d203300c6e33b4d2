"""Is the edge loss needed, and does it help to train in stages (ICLR 2022, A.4 and A.5)?"""

from __future__ import annotations

from collections.abc import Sequence

from saccade.evaluation.comparison.arms import Arm, Setting
from saccade.evaluation.studies.parts import DEFORMATION, UNIFORM
from saccade.evaluation.studies.study import Study


def arms(setting: Setting) -> Sequence[Arm]:
    """``deformation`` is the joint variant: the same runs as in a comparison."""
    others = [
        Arm(way.replace("_", "-"), ("sampler.name=deformation", f"training.variant={way}"))
        for way in ("single", "staged", "staged_joint")
    ]
    return [UNIFORM, DEFORMATION, *others]


VARIANTS = Study(
    name="variants",
    title="Single or joint loss, one stage or two",
    question="Does the density net need the edge loss, and does training it first help?",
    source="ICLR 2022, A.4 and A.5",
    arms=arms,
)
