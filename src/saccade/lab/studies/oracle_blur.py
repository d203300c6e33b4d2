"""How much should label edges be blurred, class by class, to lose fewest labels (ICLR 2022, A.6)?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.data.cache import Sample
from saccade.lab.methods import ComparisonConfig, Outcome, Size, named_size
from saccade.lab.studies.study import Block, Cell, Chart, Counts, Curve, Study, Table, Text, gain_text, scored
from saccade.metrics import recovery_counts
from saccade.metrics.bootstrap import Resampled
from saccade.samplers import Sampler
from saccade.training.config import read_config
from saccade.training.loop import resolve

BLURS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0)
"""Standard deviations, in pixels of the density; the paper's go from 1 to 21."""
ALL = "mean of all"
NOTE = (
    "Label recovery: labels are sampled by the oracle's grid and put back, without any network; nothing is "
    "trained. As in the paper each class is a task of its own, told from the rest: its edges alone attract, "
    "and the score is its IoU. In the last row the edges of all classes attract, weighed by "
    "sampler.edge_weights, and the score is the mean over the classes. The blur is the standard deviation in "
    "pixels of the density. Gains are of the best blur over uniform; strokes and brackets are 95 % of "
    "bootstrap draws of the images. The best blur was chosen on the same images, which favours it a little."
)


def measure(config: ComparisonConfig, outcomes: Sequence[Outcome]) -> Sequence[Block]:
    charts: list[Block] = []
    tables: list[Block] = []
    for size in config.sizes:
        found = {name: scored(config, counts) for name, counts in _tasks(config, size).items()}
        blurs = blurs_of(config, size)
        charts.append(_chart(size, blurs, found))
        tables.append(_table(size, blurs, found))
    return [*charts, *tables, Text(NOTE)]


def blurs_of(config: ComparisonConfig, size: Size) -> list[float]:
    """Those of :data:`BLURS` that are no wider than the density."""
    widest = max(config.base.sampler.density or size)
    return [blur for blur in BLURS if blur <= widest]


def _tasks(config: ComparisonConfig, size: Size) -> dict[str, Counts]:
    """Each class that occurs against the rest, the rarest first; then all classes."""
    pixels = config.data.class_counts(config.split)
    names = config.data.classes.names
    present = [k for k in pixels.argsort(kind="stable").tolist() if pixels[k] > 0]
    alike = _samplers(config, size, "sampler.edge_weights=equal")
    return {
        **{names[k]: _one_class(k, alike) for k in present},
        ALL: _all_classes(len(names), _samplers(config, size)),
    }


def _samplers(config: ComparisonConfig, size: Size, *own: str) -> list[Sampler]:
    """Uniform, then an oracle for each blur, with the other options of the comparison."""
    blurs = [["sampler.name=oracle", f"sampler.blur={blur}"] for blur in blurs_of(config, size)]
    found = []
    for options in (["sampler.name=uniform"], *blurs):
        given = [*options, f"sampler.size={named_size(size)}", *own]
        sampler = resolve(read_config(overrides=given, base=config.base), config.data).recipe.build()
        if config.base.sampler.fit:
            sampler.follow_images()
        found.append(sampler)
    return found


def _one_class(class_id: int, samplers: Sequence[Sampler]) -> Counts:
    def counts(sample: Sample) -> list[Tensor]:
        labels = (sample.labels == class_id).to(torch.uint8)
        return _recovered(labels.masked_fill(sample.labels == 255, 255), samplers, 2)

    return counts


def _all_classes(classes: int, samplers: Sequence[Sampler]) -> Counts:
    return lambda sample: _recovered(sample.labels, samplers, classes)


@torch.no_grad()
def _recovered(labels: Tensor, samplers: Sequence[Sampler], classes: int) -> list[Tensor]:
    size = labels.shape[-2], labels.shape[-1]
    grids = [sampler.for_image(size)(labels=[labels]).grids for sampler in samplers]
    return [recovery_counts(labels, grid, classes) for grid in grids]


def _score_of(task: str) -> int:
    """Where a task's score stands: the IoU of the class, which is 1 beside the rest; the mean of all."""
    return -1 if task == ALL else 1


def _chart(size: Size, blurs: Sequence[float], found: dict[str, list[Resampled]]) -> Chart:
    curves = []
    for task, (_, *oracles) in found.items():
        ranges = [one.interval(_score_of(task)) for one in oracles]
        values, low, high = zip(*((one.value, one.low, one.high) for one in ranges), strict=True)
        curves.append(Curve(task, blurs, values, low, high))
    title = f"Label recovery over the blur, {named_size(size)}"
    return Chart(title, "blur, pixels of the density", "IoU of label recovery", curves[-8:])


def _table(size: Size, blurs: Sequence[float], found: dict[str, list[Resampled]]) -> Table:
    rows: list[list[Cell]] = []
    for task, (uniform, *oracles) in found.items():
        which = _score_of(task)
        values = [float(one.values[which]) for one in oracles]
        best = values.index(max(values))
        gain = gain_text(oracles[best].gain(uniform, which))
        rows.append([task, float(uniform.values[which]), *values, f"{blurs[best]:g}", gain])
    head = ("class", "uniform", *(f"{blur:g}" for blur in blurs), "best blur", "gain, points")
    return Table(f"IoU of label recovery by blur, {named_size(size)}", head, rows)


ORACLE_BLUR = Study(
    name="oracle-blur",
    title="The oracle's blur",
    question="How much should label edges be blurred, class by class, so that fewest labels are lost?",
    source="ICLR 2022, A.6",
    measure=measure,
)
