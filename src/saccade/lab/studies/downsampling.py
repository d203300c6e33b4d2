"""Studies of learned downsampling (ICLR 2022): blur, edge loss, stages, radius, anti-aliasing, sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.data.cache import Sample
from saccade.lab.methods import ComparisonConfig, Method, Outcome, Size, named_size
from saccade.lab.studies.study import (
    DEFORMATION,
    DOWNSAMPLERS,
    UNIFORM,
    Block,
    Cell,
    Chart,
    Counts,
    Curve,
    Study,
    Table,
    Text,
    compared,
    gain_text,
    scored,
)
from saccade.metrics import confusion_matrix, recovery_counts
from saccade.metrics.bootstrap import Resampled
from saccade.runtime.devices import torch_device
from saccade.samplers import Sampler
from saccade.segmenter import Segmenter
from saccade.training.config import read_config
from saccade.training.loop import resolve

BLURS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0)
"""Standard deviations, in pixels of the density; the paper's go from 1 to 21."""
ALL = "mean of all"
BLUR_NOTE = (
    "Label recovery: labels are sampled by the oracle's grid and put back, without any network; nothing is "
    "trained. As in the paper each class is a task of its own, told from the rest: its edges alone attract, "
    "and the score is its IoU. In the last row the edges of all classes attract, weighed by "
    "sampler.edge_weights, and the score is the mean over the classes. The blur is the standard deviation in "
    "pixels of the density. Gains are of the best blur over uniform; strokes and brackets are 95 % of "
    "bootstrap draws of the images. The best blur was chosen on the same images, which favours it a little."
)


def measure_of_oracle_blur(config: ComparisonConfig, outcomes: Sequence[Outcome]) -> Sequence[Block]:
    charts: list[Block] = []
    tables: list[Block] = []
    for size in config.sizes:
        tasks = {name: scored(config, counts) for name, counts in _tasks(config, size).items()}
        blurs = blurs_of(config, size)
        charts.append(_chart(size, blurs, tasks))
        tables.append(_table(size, blurs, tasks))
    return [*charts, *tables, Text(BLUR_NOTE)]


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
    samplers = []
    for options in (["sampler.name=uniform"], *blurs):
        overrides = [*options, f"sampler.size={named_size(size)}", *own]
        sampler = resolve(read_config(overrides=overrides, base=config.base), config.data).recipe.build()
        if config.base.sampler.fit:
            sampler.follow_images()
        samplers.append(sampler)
    return samplers


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


def _chart(size: Size, blurs: Sequence[float], tasks: dict[str, list[Resampled]]) -> Chart:
    curves = []
    for task, (_, *oracles) in tasks.items():
        ranges = [interval.interval(_score_of(task)) for interval in oracles]
        values, low, high = zip(
            *((interval.value, interval.low, interval.high) for interval in ranges), strict=True
        )
        curves.append(Curve(task, blurs, values, low, high))
    title = f"Label recovery over the blur, {named_size(size)}"
    return Chart(title, "blur, pixels of the density", "IoU of label recovery", curves[-8:])


def _table(size: Size, blurs: Sequence[float], tasks: dict[str, list[Resampled]]) -> Table:
    rows: list[list[Cell]] = []
    for task, (uniform, *oracles) in tasks.items():
        which = _score_of(task)
        values = [float(oracle.values[which]) for oracle in oracles]
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
    measure=measure_of_oracle_blur,
)


ALIASED = "-aliased"


def methods_of_antialias(config: ComparisonConfig) -> Sequence[Method]:
    """Every sampler of one view an image, with and without."""
    smooth = [Method(name, (f"sampler.name={name}", "network.antialias=true")) for name in DOWNSAMPLERS]
    rough = [
        Method(name + ALIASED, (f"sampler.name={name}", "network.antialias=false")) for name in DOWNSAMPLERS
    ]
    return [method for pair in zip(smooth, rough, strict=True) for method in pair]


def measure_of_antialias(config: ComparisonConfig, outcomes: Sequence[Outcome]) -> Sequence[Block]:
    comparison = compared(config, outcomes)
    rare = comparison.by_frequency[0]
    rows: list[list[Cell]] = []
    for size in config.sizes:
        for name in DOWNSAMPLERS:
            pair = [comparison.points.get((method, size)) for method in (name, name + ALIASED)]
            if pair[0] is None or pair[1] is None:
                continue
            smooth, rough = pair[0].iou, pair[1].iou
            gains = (gain_text(smooth.gain(rough)), gain_text(smooth.gain(rough, rare)))
            rows.append([f"{name}, {named_size(size)}", float(rough.values[-1]), *gains])
    head = ("sampler, size", "mIoU of single pixels", "gain of mIoU, points",
            f"gain of {comparison.classes[rare]}, points")  # fmt: skip
    return [Table("What averaging over footprints brings, all else alike", head, rows)]


ANTIALIAS = Study(
    name="antialias",
    title="Anti-aliasing on and off",
    question="What does it bring that each sample is the mean over its footprint?",
    source="ours; all published programs take single pixels",
    methods=methods_of_antialias,
    measure=measure_of_antialias,
)


FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Times the weight of the comparison."""


def methods_of_edge_weight(config: ComparisonConfig) -> Sequence[Method]:
    usual = config.base.loss.edge_weight
    return [UNIFORM, *(_method_of_edge_weight(factor, usual) for factor in FACTORS)]


def _method_of_edge_weight(factor: float, usual: float) -> Method:
    weight = round(factor * usual, 6)
    if factor == 1:
        return Method(DEFORMATION.name, DEFORMATION.options, weight)
    return Method(f"edge-{weight:g}", (*DEFORMATION.options, f"loss.edge_weight={weight}"), weight)


EDGE_WEIGHT = Study(
    name="edge-weight",
    title="The weight of the edge loss",
    question="How much should the edge loss weigh, in which the density net is taught where labels change?",
    source="ICLR 2022, 3.2 and A.4",
    methods=methods_of_edge_weight,
    value_name="weight of the edge loss",
    log_value=True,
)


SIDES = (50.0, 35.36, 25.0)
"""Each side over the side of the view: 1/2500, 1/1250 and 1/625 of the pixels."""
LEAST = 8


def methods_of_extreme(config: ComparisonConfig) -> Sequence[Method]:
    return [Method(name, (f"sampler.name={name}",)) for name in DOWNSAMPLERS]


def sizes(config: ComparisonConfig) -> Sequence[Size]:
    """Of the most frequent image size; no side below eight samples."""
    (height, width), _ = config.data.sizes().most_common(1)[0]
    sizes = {(max(LEAST, round(height / side)), max(LEAST, round(width / side))) for side in SIDES}
    return sorted(sizes, key=lambda size: size[0] * size[1])


def measure_of_extreme(config: ComparisonConfig, outcomes: Sequence[Outcome]) -> Sequence[Block]:
    """How extreme the sizes are, which differs from what was meant where images are small."""
    (height, width), _ = config.data.sizes().most_common(1)[0]
    preds = [
        f"{named_size(size)} one pixel in {height * width / (size[0] * size[1]):,.0f}"
        for size in config.sizes
    ]
    return [
        Text(f"Of images of {named_size((height, width))} pixels the network sees at {', at '.join(preds)}.")
    ]


EXTREME = Study(
    name="extreme",
    title="Extreme shrinking",
    question="What is left at 1/2500 of the pixels, and how many more does uniform sampling need?",
    source="ICLR 2022, 4.3",
    methods=methods_of_extreme,
    measure=measure_of_extreme,
    sizes=sizes,
)


SHARES = (0.125, 0.25, 0.5, 1.0)
"""Radii as shares of the short axis of the smallest size."""


def methods_of_radius(config: ComparisonConfig) -> Sequence[Method]:
    """``deformation`` is the comparison's own grid, by default the elastic one, which has no radius."""
    short = min(config.base.sampler.density or config.sizes[0])
    radii = sorted({max(1, round(share * short)) for share in SHARES})
    return [UNIFORM, DEFORMATION, *map(_method_of_radius, radii)]


def _method_of_radius(radius: int) -> Method:
    options = (*DEFORMATION.options, "sampler.grid=attraction", f"sampler.radius={radius}")
    return Method(f"radius-{radius}", options, float(radius))


def measure_of_radius(config: ComparisonConfig, outcomes: Sequence[Outcome]) -> Sequence[Block]:
    grid = config.base.sampler.grid
    reach = " of its own radius" if grid == "attraction" else ", which has no radius"
    return [Text(f"radius-N is attraction of that radius; deformation is the {grid} grid{reach}.")]


RADIUS = Study(
    name="radius",
    title="The radius of attraction",
    question="How far should a dense place pull samples from?",
    source="ICLR 2022, 3.1",
    methods=methods_of_radius,
    measure=measure_of_radius,
    value_name="radius, pixels of the density",
    log_value=True,
)


def methods_of_variants(config: ComparisonConfig) -> Sequence[Method]:
    """``deformation`` is the joint variant: the same runs as in a comparison."""
    others = [
        Method(way.replace("_", "-"), ("sampler.name=deformation", f"training.variant={way}"))
        for way in ("single", "staged", "staged_joint")
    ]
    return [UNIFORM, DEFORMATION, *others]


VARIANTS = Study(
    name="variants",
    title="Single or joint loss, one stage or two",
    question="Does the density net need the edge loss, and does training it first help?",
    source="ICLR 2022, A.4 and A.5",
    methods=methods_of_variants,
)


def methods_of_other_sizes(config: ComparisonConfig) -> Sequence[Method]:
    return [UNIFORM, DEFORMATION]


def measure_of_other_sizes(config: ComparisonConfig, outcomes: Sequence[Outcome]) -> Sequence[Block]:
    """Of the first seed of every method and size."""
    shown = wanted_sizes(config)
    first: dict[tuple[str, Size], Outcome] = {}
    for outcome in outcomes:
        if outcome.evaluation is not None:
            first.setdefault((outcome.trial.method.name, outcome.trial.size), outcome)
    rows: list[list[Cell]] = []
    for (method, size), outcome in first.items():
        segmenter = config.runs.get(outcome.folder).segmenter.to(torch_device(config.device)).eval()
        scores = scored(config, _counts(config, segmenter, shown))
        rows.append(
            [f"{method}, trained at {named_size(size)}", *(float(each.values[-1]) for each in scores)]
        )
    head = ("model", *(f"at {named_size(size)}" for size in shown))
    return [Table("mIoU of a model at sizes that it was not trained at", head, rows), Text(NOTE)]


NOTE = (
    "A row is one trained model (the first seed); where the size is its own, the score is that of the tables "
    "below. The density net sees its own thumbnail whatever the size of the view."
)


def wanted_sizes(config: ComparisonConfig) -> list[Size]:
    """The sizes of training, and half and twice of each side."""
    sizes = set(config.sizes)
    for rows, columns in config.sizes:
        sizes |= {(max(1, rows // 2), max(1, columns // 2)), (2 * rows, 2 * columns)}
    return sorted(sizes, key=lambda size: (size[0] * size[1], size))


def _counts(config: ComparisonConfig, segmenter: Segmenter, sizes: Sequence[Size]) -> Counts:
    classes, device = len(config.data.classes), torch_device(config.device)

    @torch.no_grad()
    def counts(sample: Sample) -> list[Tensor]:
        labels = [sample.labels.to(device)] if segmenter.sampler.sees_labels else None
        pyramid = sample.pyramid.to(device)
        preds = [segmenter.predict(pyramid, labels, size=size).cpu() for size in sizes]
        return [confusion_matrix(pred, sample.labels, classes) for pred in preds]

    return counts


OTHER_SIZES = Study(
    name="other-sizes",
    title="Other sizes than trained",
    question="How well does a model do at another size of the view than the one it was trained at?",
    source="ICCV 2019 and ICLR 2022 train a model a size",
    methods=methods_of_other_sizes,
    measure=measure_of_other_sizes,
)
