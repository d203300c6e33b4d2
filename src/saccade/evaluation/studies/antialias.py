"""What does it bring that a sample is the mean over its footprint and not a single pixel?"""

from __future__ import annotations

from collections.abc import Sequence

from saccade.evaluation.comparison.arms import Arm, Outcome, Setting, named_size
from saccade.evaluation.studies.blocks import Block, Cell, Table
from saccade.evaluation.studies.parts import DOWNSAMPLERS, compared, gain_text
from saccade.evaluation.studies.study import Study

ALIASED = "-aliased"


def arms(setting: Setting) -> Sequence[Arm]:
    """Every sampler of one view an image, with and without."""
    smooth = [Arm(name, (f"sampler.name={name}", "network.antialias=true")) for name in DOWNSAMPLERS]
    rough = [
        Arm(name + ALIASED, (f"sampler.name={name}", "network.antialias=false")) for name in DOWNSAMPLERS
    ]
    return [arm for pair in zip(smooth, rough, strict=True) for arm in pair]


def measure(setting: Setting, outcomes: Sequence[Outcome]) -> Sequence[Block]:
    found = compared(setting, outcomes)
    rare = found.by_frequency[0]
    rows: list[list[Cell]] = []
    for size in setting.sizes:
        for name in DOWNSAMPLERS:
            pair = [found.points.get((one, size)) for one in (name, name + ALIASED)]
            if pair[0] is None or pair[1] is None:
                continue
            smooth, rough = pair[0].iou, pair[1].iou
            gains = (gain_text(smooth.gain(rough)), gain_text(smooth.gain(rough, rare)))
            rows.append([f"{name}, {named_size(size)}", float(rough.values[-1]), *gains])
    head = ("sampler, size", "mIoU of single pixels", "gain of mIoU, points",
            f"gain of {found.classes[rare]}, points")  # fmt: skip
    return [Table("What averaging over footprints brings, all else alike", head, rows)]


ANTIALIAS = Study(
    name="antialias",
    title="Anti-aliasing on and off",
    question="What does it bring that each sample is the mean over its footprint?",
    source="ours; all published programs take single pixels",
    arms=arms,
    measure=measure,
)
