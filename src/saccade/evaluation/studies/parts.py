"""Arms that several studies share, under the names they have in every comparison, so that runs are shared."""

from __future__ import annotations

from saccade.evaluation.comparison.arms import Arm

UNIFORM = Arm("uniform", ("sampler.name=uniform",))
DEFORMATION = Arm("deformation", ("sampler.name=deformation",))
ORACLE = Arm("oracle", ("sampler.name=oracle",))
