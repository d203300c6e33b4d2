"""The page of a comparison or of a study: one file that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch

from saccade import figures
from saccade.data.cache import Sample
from saccade.figures import class_palette, hex_colour
from saccade.lab import tables
from saccade.lab import tables as words
from saccade.lab.methods import ComparisonConfig, named_size
from saccade.lab.results import Comparison, Point, equal_quality
from saccade.lab.studies.study import Block, Cell, Chart, Study, Table, Text
from saccade.lab.tables import (
    OTHER_BUDGET,
    aligned,
    charts,
    method_name,
    quality_charts,
    recall_charts,
    sized,
    trimap_charts,
)
from saccade.metrics import iou
from saccade.report.charts import Line, line_chart, round_range
from saccade.report.examples import WIDTH, SegmentedSample, fitted
from saccade.report.html import Figure, details, facts, figure, figure_html, number, page, table, text
from saccade.report.run import segment_sample
from saccade.runtime.devices import torch_device
from saccade.training.config import flat, to_dict


def blocks_html(blocks: Sequence[Block]) -> str:
    """Texts, tables and charts; charts that follow each other stand side by side."""
    parts = []
    for drawn, group in groupby(blocks, key=lambda block: isinstance(block, Chart)):
        if drawn:
            parts.append(charts({block.title: _chart(block) for block in group if isinstance(block, Chart)}))
        else:
            parts += [_words(block) for block in group]
    return "".join(parts)


def blocks_lines(blocks: Sequence[Block]) -> list[str]:
    """The tables for a terminal."""
    lines = []
    for block in blocks:
        if isinstance(block, Table):
            rows = [block.head, *([_plain(cell) for cell in row] for row in block.rows)]
            lines += [block.caption, *aligned(rows)]
    return lines


def _words(block: Block) -> str:
    if isinstance(block, Text):
        heading = f"<h2>{text(block.heading)}</h2>" if block.heading else ""
        return f"{heading}<p>{text(block.text)}</p>"
    assert isinstance(block, Table)
    rows = [[_cell(cell) for cell in row] for row in block.rows]
    note = f'<p class="soft">{text(block.note)}</p>' if block.note else ""
    return table(block.head, rows, caption=block.caption) + note


def over_value(compared: Comparison, study: Study) -> str:
    """mIoU and the rarest class over the number of which the methods are steps."""
    methods = [method for method in compared.methods if method.value is not None]
    if len(methods) < 2:
        return ""
    rare = compared.by_frequency[0]
    drawn = {}
    for which, name in ((-1, "mIoU"), (rare, f"IoU of {compared.classes[rare]}")):
        lines = []
        for size in compared.config.sizes:
            own = [
                (method.value, point)
                for method in methods
                if (point := compared.at(method, size)) is not None
            ]
            ranges = [point.iou.interval(which) for _, point in own]
            lines.append(Line(
                sized(size), [float(x or 0) for x, _ in own], [interval.value for interval in ranges],
                [interval.low for interval in ranges], [interval.high for interval in ranges],
            ))  # fmt: skip
        drawn[f"{name} over {study.value_name}"] = line_chart(
            lines, title=f"{name} over {study.value_name}", x_label=study.value_name, y_label=name,
            log_x=study.log_value, y_range=round_range(lines),
        )  # fmt: skip
    return charts(drawn)


def _chart(chart: Chart) -> str:
    lines = [Line(curve.name, curve.x, curve.y, curve.low, curve.high) for curve in chart.curves]
    return line_chart(
        lines, title=chart.title, x_label=chart.x_label, y_label=chart.y_label, log_x=chart.log_x,
        y_range=chart.y_range or round_range(lines),
    )  # fmt: skip


def _plain(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell
    if cell is None or not math.isfinite(cell):
        return "–"
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:.3f}"


def _cell(cell: Cell) -> str:
    return number(None) if cell is None else text(_plain(cell))


@dataclass(frozen=True)
class Difference:
    """Of one image between a method and the reference.

    Attributes:
        stem: of the image.
        gain: of its mean IoU over the classes that it truly has, mean over the seeds.
        rank: "gain" or "loss".
    """

    stem: str
    gain: float
    rank: str


def best_method(compared: Comparison) -> str | None:
    """The method that gains most over the reference, of those that see no more pixels where there are any.

    Methods that see the labels are left out.
    """
    gains: dict[str, float] = {}
    larger: set[str] = set()
    for point in compared.points.values():
        gain, other = compared.gain(point), compared.at(compared.reference, point.size)
        if gain is None or other is None or point.method.name in compared.sees_labels:
            continue
        gains[point.method.name] = gains.get(point.method.name, 0.0) + gain.value
        if point.pixels > OTHER_BUDGET * other.pixels:
            larger.add(point.method.name)
    return max(gains, key=lambda name: (name not in larger, gains[name]), default=None)


def differences(point: Point, other: Point, *, most: int = 2) -> list[Difference]:
    """The images with the largest gains, then those with the largest losses; an image stands once."""
    gains = np.nan_to_num(_by_image(point) - _by_image(other))
    order = np.argsort(-gains, kind="stable").tolist()
    stems = [record.stem for record in point.evaluations[0].records]
    up = [Difference(stems[i], float(gains[i]), "gain") for i in order[:most] if gains[i] > 0]
    down = [Difference(stems[i], float(gains[i]), "loss") for i in order[::-1][:most] if gains[i] < 0]
    return [*up, *down]


def examples(compared: Comparison) -> str:
    """For the best method, at its smallest and its largest size: pictures beside the reference's."""
    name = best_method(compared)
    if name is None:
        return ""
    own = [point for point in compared.points.values() if point.method.name == name]
    pairs = [(point, other) for point in own if (other := compared.at(compared.reference, point.size))]
    parts = [_at_size(compared, *pair) for pair in pairs[:: max(1, len(pairs) - 1)]]
    seeds = '<p class="soft">Gains are of the mean IoU, over all seeds; pictures are of the first.</p>'
    head = "<h2>Largest gains and largest losses of single images</h2>"
    return f"{head}{seeds}{_legend(compared)}{''.join(parts)}"


def _at_size(compared: Comparison, point: Point, other: Point) -> str:
    config = compared.config
    items = {item.stem: item for item in config.data.split(config.split)}
    shown = differences(point, other)
    samples = {record.stem: config.cache.get(config.data, items[record.stem]) for record in shown}
    segmented = {p.method.name: _segmented(compared, p, samples) for p in (other, point)}
    parts = []
    for record in shown:
        head = f"{record.rank} of {100 * abs(record.gain):.1f} points: {record.stem}, {sized(point.size)}"
        pictures = _pictures(compared, [(name, sample[record.stem]) for name, sample in segmented.items()])
        inner = "".join(figure_html(picture) for picture in pictures)
        parts.append(
            f'<section class="example"><h3>{text(head)}</h3><div class="pictures">{inner}</div></section>'
        )
    return "".join(parts)


def _segmented(compared: Comparison, point: Point, samples: dict[str, Sample]) -> dict[str, SegmentedSample]:
    """Images as the first seed of a point segments them."""
    own = [o for o in compared.outcomes if (o.trial.method, o.trial.size) == (point.method, point.size)]
    folder = next(outcome.folder for outcome in own if outcome.evaluation is not None)
    device = torch_device(compared.config.device)
    segmenter = compared.config.runs.get(folder).segmenter.to(device)
    return {stem: segment_sample(segmenter, sample, device) for stem, sample in samples.items()}


def _pictures(compared: Comparison, segmented: list[tuple[str, SegmentedSample]]) -> list[Figure]:
    first = segmented[0][1]
    image = figures.shrink(first.image, WIDTH)
    size, palette = (image.shape[0], image.shape[1]), _palette(compared)
    rarity = np.argsort(-compared.shares, kind="stable")
    truth = fitted(first.truth, rarity, size)
    shown = [
        figure("image", "image", f"{first.stem}: the photograph", image),
        figure("truth", "truth", f"{first.stem}: true classes", figures.overlay(image, truth, palette)),
    ]
    for name, sample in segmented:
        pred = fitted(sample.prediction, rarity, size)
        wrong = ((sample.truth != sample.prediction) & (sample.truth != 255)).mean()
        starred = method_name(compared, name)
        shown += [
            figure("prediction", f"{starred}: prediction ({wrong:.2%} of pixels wrong)",
                   f"{sample.stem}: classes that {name} predicts", figures.overlay(image, pred, palette)),
            figure("samples", f"{starred}: where its samples lie", f"{sample.stem}: samples of {name}",
                   figures.samples_on(image, sample.grids.reshape(-1, *sample.grids.shape[2:]))),
        ]  # fmt: skip
    return shown


def _by_image(point: Point) -> np.ndarray:
    """Mean IoU of each image over the classes that it truly has, mean over the seeds.

    A few wrong pixels of a class that is not there would else cost a whole class of the mean.
    """
    scores = [
        [_of_true_classes(record.confusion) for record in evaluation.records]
        for evaluation in point.evaluations
    ]
    return np.array(scores).mean(0)


def _of_true_classes(confusion: torch.Tensor) -> float:
    there = confusion.sum(1) > 0
    return float(iou(confusion)[there].mean()) if there.any() else math.nan


def _palette(compared: Comparison) -> np.ndarray:
    own = np.asarray(compared.config.data.classes.colours, np.uint8)
    return class_palette(compared.shares, own)


def _legend(compared: Comparison) -> str:
    colours = _palette(compared)
    items = " ".join(
        f'<span class="swatch" style="background:{hex_colour(colour)}"></span>{text(name)}'
        for name, colour in zip(compared.classes, colours, strict=True)
    )
    return f"<p>{items}</p>"


GRID_SECTIONS = ("sampler", "boundary", "data")
"""Sections of options that a study reads which trains nothing."""


def comparison_page(
    config: ComparisonConfig,
    compared: Comparison | None,
    study: Study | None = None,
    blocks: Sequence[Block] = (),
) -> str:
    """HTML of a comparison; of a study also what it measured besides.

    Args:
        config: of the comparison.
        compared: what came out; None for a study that trains nothing.
        study: whose page it is; None for a plain comparison.
        blocks: what the study measured besides.
    """
    parts = [_head(config, study), blocks_html(blocks)]
    if compared is not None:
        parts += _results(compared, study)
    parts.append(_config(config, compared))
    title = study.title if study is not None else f"{config.data.path.name}, cost against quality"
    return page(f"Saccade: {title}", "".join(parts))


def comparison_lines(compared: Comparison) -> list[str]:
    """The scores for a terminal."""
    reference = compared.of(compared.reference)
    rows = [("size", "sampler", "mIoU", "gain, points", "times the pixels")]
    for point in tables.by_size(compared):
        rows.append((
            named_size(point.size), words.method_name(compared, point.method.name),
            words.seeds_spread(point.scores()), words.in_points(compared.gain(point)),
            words.factor(equal_quality(compared, point), point, reference),
        ))  # fmt: skip
    lines = words.aligned(rows)
    return [*lines, *(f"failed: {outcome.trial.name}: {outcome.failure}" for outcome in compared.failures)]


def verdicts(compared: Comparison) -> list[str]:
    """One sentence a method: where it wins, where it loses, and what that is worth in pixels."""
    sentences = []
    for method in compared.methods:
        own = [point for point in compared.of(method) if compared.gain(point) is not None]
        if method == compared.reference or not own:
            continue
        gains = "; ".join(f"{words.sized(point.size)}: {_gain(compared, point)}" for point in own)
        sentences.append(
            f"{words.method_name(compared, method.name)} against {compared.reference.name}, mIoU: {gains}."
        )
    return sentences


def _gain(compared: Comparison, point: Point) -> str:
    gain, other = compared.gain(point), compared.at(compared.reference, point.size)
    assert gain is not None and other is not None  # only points with a reference come here
    kind = {"win": "wins", "loss": "loses", "unclear": "no difference that is sure"}[gain.verdict]
    return f"{kind} ({words.in_points(gain)[2:]} points{words.pixels_more(point, other)})"


def _head(config: ComparisonConfig, study: Study | None) -> str:
    line = " · ".join(_facts(config, study))
    if study is None:
        return f'<h1>Cost against quality</h1><p class="soft">{text(line)}</p>'
    question = f"<p>{text(study.question)} <span class='soft'>({text(study.source)})</span></p>"
    return f'<h1>{text(study.title)}</h1><p class="soft">{text(line)}</p>{question}'


def _facts(config: ComparisonConfig, study: Study | None) -> list[str]:
    number = len(config.data.split(config.split))
    images = f"{number} images of the split {config.split}, scored at full resolution"
    if study is not None and not study.trains:
        return [config.data.path.name, images, "no network, nothing trained"]
    seeds = f"{len(config.seeds)} seed{'s' * (len(config.seeds) > 1)}"
    return [config.data.path.name, config.base.network.name, images, seeds]


def _results(compared: Comparison, study: Study | None) -> list[str]:
    rare = compared.by_frequency[0]
    paragraphs = "".join(f"<p>{text(line)}</p>" for line in verdicts(compared))
    parts = [paragraphs, _failures(compared), "<h2>Scores</h2>", tables.scores_table(compared)]
    if study is not None:
        parts.append(over_value(compared, study))
    if study is None or len(compared.config.sizes) > 1:
        parts += [
            "<h2>What a pixel, an operation, a millisecond and a megabyte buy</h2>",
            '<p class="soft">Upright strokes span the seeds. In the chart of operations the level stroke is '
            "the sampler's share. The axes need not start at zero.</p>",
            quality_charts(compared, -1, "mIoU"),
            quality_charts(compared, rare, f"IoU of {compared.classes[rare]}"),
        ]
    parts += [tables.cost_table(compared), "<h2>Gain by class</h2>", tables.class_tables(compared)]
    if any(tables.recovery(point) is not None for point in compared.points.values()):
        parts += ["<h2>Where quality is lost</h2>", _recovery_note(), tables.loss_table(compared)]
    parts += ["<h2>Where the samples lie</h2>", tables.sampling_table(compared)]
    parts += ["<h2>Boundaries and small objects</h2>", tables.boundary_table(compared)]
    parts.append(trimap_charts(compared))
    parts += [recall_charts(compared, rare), examples(compared)]
    return [*parts, "<h2>Runs</h2>", tables.runs_table(compared)]


def _recovery_note() -> str:
    return (
        '<p class="soft">Label recovery is the score of the true labels of the same samples, put back onto '
        "all pixels: what is missing to 1 is lost in sampling, what the score lacks of it in the network. A "
        "score can be above it, since soft scores say where between two samples an edge lies.</p>"
    )


def _failures(compared: Comparison) -> str:
    if not compared.failures:
        return ""
    names = "; ".join(f"{outcome.trial.name}: {outcome.failure}" for outcome in compared.failures)
    return f"<p><strong>{_counted(len(compared.failures))} failed.</strong> {text(names)}</p>"


def _counted(runs: int) -> str:
    return f"{runs} run{'s' * (runs > 1)}"


def _config(config: ComparisonConfig, compared: Comparison | None) -> str:
    options = {key: value for key, value in flat(to_dict(config.base)).items() if key != "classes"}
    if compared is None:
        read = {key: value for key, value in options.items() if key.partition(".")[0] in GRID_SECTIONS}
        return f"<h2>Set-up</h2>{details('Options of the grids', facts(read))}"
    for key in ("sampler.name", "sampler.size", "training.seed"):  # by which the runs differ
        options.pop(key, None)
    own = {method.name: " ".join(method.options) for method in compared.methods}
    parts = [details("Options of each sampler", facts(own)), details("Options of all runs", facts(options))]
    where = f"device {config.device}, {torch.get_num_threads()} threads; PyTorch {torch.__version__}"
    return f'<h2>Set-up</h2>{"".join(parts)}<p class="soft">Costs: {text(where)}.</p>'
