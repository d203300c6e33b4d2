"""The page of a comparison, or of a study: one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from saccade.evaluation.comparison.arms import Setting, named_size
from saccade.evaluation.comparison.equal_quality import equal_quality
from saccade.evaluation.comparison.results import Comparison, Point
from saccade.evaluation.studies.blocks import Block
from saccade.evaluation.studies.study import Study
from saccade.report.comparison_charts import charts, quality_charts, recall_charts, trimap_charts
from saccade.report import comparison_tables as tables
from saccade.report import comparison_words as words
from saccade.report.comparison_examples import examples
from saccade.report.comparison_study import blocks_html, over_value
from saccade.report.markup import details, facts, page, text
from saccade.training.configfile import flat, to_dict

GRID_SECTIONS = ("sampler", "boundary", "data")
"""Sections of options that a study reads which trains nothing."""


def comparison_page(
    setting: Setting, compared: Comparison | None, study: Study | None = None, blocks: Sequence[Block] = ()
) -> str:
    """HTML of a comparison; of a study also what it measured besides.

    Args:
        setting: of the comparison.
        compared: what came out; None for a study that trains nothing.
        study: whose page it is; None for a plain comparison.
        blocks: what the study measured besides.
    """
    parts = [_head(setting, study), blocks_html(blocks)]
    if compared is not None:
        parts += _results(compared, study)
    parts.append(_setting(setting, compared))
    title = study.title if study is not None else f"{setting.data.path.name}, cost against quality"
    return page(f"Saccade: {title}", "".join(parts))


def comparison_lines(compared: Comparison) -> list[str]:
    """The scores for a terminal."""
    reference = compared.of(compared.reference)
    rows = [("size", "sampler", "mIoU", "gain, points", "times the pixels")]
    for point in tables.by_size(compared):
        rows.append((
            named_size(point.size), words.arm_name(compared, point.arm.name),
            words.seeds_spread(point.scores()), words.in_points(compared.gain(point)),
            words.factor(equal_quality(compared, point), point, reference),
        ))  # fmt: skip
    lines = words.aligned(rows)
    return [*lines, *(f"failed: {one.case.name}: {one.failure}" for one in compared.failures)]


def verdicts(compared: Comparison) -> list[str]:
    """One sentence an arm: where it wins, where it loses, and what that is worth in pixels."""
    said = []
    for arm in compared.arms:
        own = [point for point in compared.of(arm) if compared.gain(point) is not None]
        if arm == compared.reference or not own:
            continue
        gains = "; ".join(f"{words.sized(point.size)}: {_gain(compared, point)}" for point in own)
        said.append(f"{words.arm_name(compared, arm.name)} against {compared.reference.name}, mIoU: {gains}.")
    return said


def _gain(compared: Comparison, point: Point) -> str:
    found, other = compared.gain(point), compared.at(compared.reference, point.size)
    assert found is not None and other is not None  # only points with a reference come here
    kind = {"win": "wins", "loss": "loses", "unclear": "no difference that is sure"}[found.verdict]
    return f"{kind} ({words.in_points(found)[2:]} points{words.pixels_more(point, other)})"


def _head(setting: Setting, study: Study | None) -> str:
    line = " · ".join(_facts(setting, study))
    if study is None:
        return f'<h1>Cost against quality</h1><p class="soft">{text(line)}</p>'
    asked = f"<p>{text(study.question)} <span class='soft'>({text(study.source)})</span></p>"
    return f'<h1>{text(study.title)}</h1><p class="soft">{text(line)}</p>{asked}'


def _facts(setting: Setting, study: Study | None) -> list[str]:
    number = len(setting.data.split(setting.split))
    images = f"{number} images of the split {setting.split}, scored at full resolution"
    if study is not None and not study.trains:
        return [setting.data.path.name, images, "no network, nothing trained"]
    seeds = f"{len(setting.seeds)} seed{'s' * (len(setting.seeds) > 1)}"
    return [setting.data.path.name, setting.base.network.name, images, seeds]


def _results(compared: Comparison, study: Study | None) -> list[str]:
    rare = compared.by_frequency[0]
    said = "".join(f"<p>{text(line)}</p>" for line in verdicts(compared))
    parts = [said, _failures(compared), "<h2>Scores</h2>", tables.scores_table(compared)]
    if study is not None:
        parts.append(over_value(compared, study))
    if study is None or len(compared.setting.sizes) > 1:
        parts += [
            "<h2>What a pixel, an operation, a millisecond and a megabyte buy</h2>",
            '<p class="soft">Upright strokes span the seeds. In the chart of operations the level stroke is '
            "the sampler's share. The axes do not start at zero.</p>",
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
        '<p class="soft">Label recovery is what a network without error would reach from the same samples: '
        "what is missing to 1 is lost in sampling, what the score lacks of it in the network.</p>"
    )


def _failures(compared: Comparison) -> str:
    if not compared.failures:
        return ""
    names = "; ".join(f"{one.case.name}: {one.failure}" for one in compared.failures)
    return f"<p><strong>{_counted(len(compared.failures))} failed.</strong> {text(names)}</p>"


def _counted(runs: int) -> str:
    return f"{runs} run{'s' * (runs > 1)}"


def _setting(setting: Setting, compared: Comparison | None) -> str:
    options = {key: value for key, value in flat(to_dict(setting.base)).items() if key != "classes"}
    if compared is None:
        read = {key: value for key, value in options.items() if key.partition(".")[0] in GRID_SECTIONS}
        return f"<h2>Setting</h2>{details('Options of the grids', facts(read))}"
    own = {arm.name: " ".join(arm.options) for arm in compared.arms}
    parts = [details("Options of each sampler", facts(own)), details("Options of all runs", facts(options))]
    where = f"device {setting.device}, {torch.get_num_threads()} threads; PyTorch {torch.__version__}"
    return f'<h2>Setting</h2>{"".join(parts)}<p class="soft">Costs: {text(where)}.</p>'
