"""Does learned sampling pay when an image is shrunk to 1/2500 of its pixels (ICLR 2022, 4.3, PCa-Histo)?"""

from __future__ import annotations

from collections.abc import Sequence

from saccade.evaluation.comparison.arms import Arm, Outcome, Setting, Size, named_size
from saccade.evaluation.studies.blocks import Block, Text
from saccade.evaluation.studies.parts import DOWNSAMPLERS
from saccade.evaluation.studies.study import Study

SIDES = (50.0, 35.36, 25.0)
"""Each side over the side of the view: 1/2500, 1/1250 and 1/625 of the pixels."""
LEAST = 8


def arms(setting: Setting) -> Sequence[Arm]:
    return [Arm(name, (f"sampler.name={name}",)) for name in DOWNSAMPLERS]


def sizes(setting: Setting) -> Sequence[Size]:
    """Of the most frequent image size; no side below eight samples."""
    (height, width), _ = setting.data.sizes().most_common(1)[0]
    found = {(max(LEAST, round(height / side)), max(LEAST, round(width / side))) for side in SIDES}
    return sorted(found, key=lambda size: size[0] * size[1])


def measure(setting: Setting, outcomes: Sequence[Outcome]) -> Sequence[Block]:
    """How extreme the sizes are, which differs from what was meant where images are small."""
    (height, width), _ = setting.data.sizes().most_common(1)[0]
    said = [
        f"{named_size(size)} one pixel in {height * width / (size[0] * size[1]):,.0f}"
        for size in setting.sizes
    ]
    return [
        Text(f"Of images of {named_size((height, width))} pixels the network sees at {', at '.join(said)}.")
    ]


EXTREME = Study(
    name="extreme",
    title="Extreme shrinking",
    question="What is left at 1/2500 of the pixels, and how many more does uniform sampling need?",
    source="ICLR 2022, 4.3",
    arms=arms,
    measure=measure,
    sizes=sizes,
)
