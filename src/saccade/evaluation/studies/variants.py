"""Is the edge loss needed, and does it help to train in stages (ICLR 2022, A.4 and A.5)?"""

from __future__ import annotations

from collections.abc import Sequence

from saccade.evaluation.comparison.arms import Arm, Setting
from saccade.evaluation.studies.study import Study


def arms(setting: Setting) -> Sequence[Arm]:
    ways = ("joint", "single", "staged", "staged_joint")
    learned = [
        Arm(way.replace("_", "-"), ("sampler.name=deformation", f"training.variant={way}")) for way in ways
    ]
    return [Arm("uniform", ("sampler.name=uniform",)), *learned]


VARIANTS = Study(
    name="variants",
    title="Single or joint loss, one stage or two",
    question="Does the density net need the edge loss, and does training it first help?",
    source="ICLR 2022, A.4 and A.5",
    arms=arms,
)
