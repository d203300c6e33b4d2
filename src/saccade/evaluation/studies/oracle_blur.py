"""How much should label edges be blurred, class by class, to lose fewest labels (ICLR 2022, A.6)?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.data.cache import Sample
from saccade.evaluation.comparison.arms import Outcome, Setting, Size, named_size
from saccade.evaluation.studies.blocks import Block, Cell, Chart, Curve, Table, Text
from saccade.evaluation.studies.parts import Counts, scored
from saccade.evaluation.studies.study import Study
from saccade.metrics import recovery_counts
from saccade.metrics.bootstrap import Resampled
from saccade.samplers import OracleSampler, Sampler, UniformSampler
from saccade.training.build import build_sampler
from saccade.training.configfile import read_config
from saccade.training.loop import resolve

BLURS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Standard deviations, in pixels of the density."""


def measure(setting: Setting, outcomes: Sequence[Outcome]) -> Sequence[Block]:
    blocks: list[Block] = []
    for size in setting.sizes:
        found = scored(setting, _counts(setting, _samplers(setting, size)))
        blocks += _blocks(setting, size, found)
    return [*blocks, Text(NOTE)]


NOTE = (
    "Label recovery: the labels are sampled by the oracle's grid and put back, without any network. "
    "Nothing is trained. The blur is the standard deviation in pixels of the density, which has the size of "
    "the view; strokes and brackets are 95 % of bootstrap draws of the images."
)


def _samplers(setting: Setting, size: Size) -> list[Sampler]:
    """Uniform, then an oracle for each blur, with the other options of the setting."""
    found: list[Sampler] = [UniformSampler(size)]
    for blur in BLURS:
        own = ["sampler.name=oracle", f"sampler.size={named_size(size)}", f"sampler.blur={blur}"]
        sampler = build_sampler(resolve(read_config(overrides=own, base=setting.base), setting.data))
        assert isinstance(sampler, OracleSampler)
        found.append(sampler)
    return found


def _counts(setting: Setting, samplers: Sequence[Sampler]) -> Counts:
    classes = len(setting.data.classes)

    @torch.no_grad()
    def counts(sample: Sample) -> list[Tensor]:
        grids = [sampler(labels=[sample.labels]).grids for sampler in samplers]
        return [recovery_counts(sample.labels, grid, classes) for grid in grids]

    return counts


def _blocks(setting: Setting, size: Size, found: Sequence[Resampled]) -> list[Block]:
    uniform, oracles = found[0], found[1:]
    names = [*setting.data.classes.names, "mean"]
    present = [k for k in range(len(names)) if uniform.values[k] == uniform.values[k]]
    rows: list[list[Cell]] = []
    curves = []
    for k in present:
        values = [one.values[k] for one in oracles]
        best = max(range(len(BLURS)), key=lambda i: values[i])
        rows.append([names[k], float(uniform.values[k]), *map(float, values), f"{BLURS[best]:g}"])
        ranges = [one.interval(k) for one in oracles]
        curves.append(
            Curve(names[k], BLURS, values, [one.low for one in ranges], [one.high for one in ranges])
        )
    head = ("class", "uniform", *(f"{blur:g}" for blur in BLURS), "best blur")
    title = f"Label recovery over the blur, {named_size(size)}"
    return [
        Chart(title, "blur, pixels of the density", "IoU of label recovery", curves[:8]),
        Table(f"IoU of label recovery by blur, {named_size(size)}", head, rows),
    ]


ORACLE_BLUR = Study(
    name="oracle-blur",
    title="The oracle's blur",
    question="How much should label edges be blurred, class by class, so that fewest labels are lost?",
    source="ICLR 2022, A.6",
    measure=measure,
)
