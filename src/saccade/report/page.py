"""The page of a run: one file that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.evaluation import Evaluation
from saccade.figures import class_palette, hex_colour
from saccade.report.charts import COLOURS, Line, line_chart
from saccade.report.examples import Example
from saccade.report.html import details, facts, figure_html, number, page, table, text
from saccade.report.run import PAGE, RunReport, read_run
from saccade.runtime.files import write_file
from saccade.training.config import flat


def write_report(root: Path, evaluation: Evaluation | None = None) -> Path:
    """Write report.html of a run folder, from what the folder holds.

    Args:
        root: the run folder.
        evaluation: to be shown; default what the run keeps of its best weights on its own data.

    Raises:
        FileProblem: when it is no run folder, or a file of it is damaged.

    Examples:
        >>> from pathlib import Path
        >>> from saccade.data import open_data
        >>> from saccade.report import write_report
        >>> from saccade.testing import make_fake
        >>> from saccade.training import read_config, train
        >>> options = ["network.name=small:4", "sampler.size=8x12", "training.epochs=1"]
        >>> data = open_data(make_fake("folder", "leaves", size=(16, 24)))
        >>> _ = train(data, "run", read_config(overrides=options), device="cpu")
        >>> write_report(Path("run")).name
        'report.html'
    """
    path = root / PAGE
    write_file(path, run_page(read_run(root, evaluation)))
    return path


def run_page(run: RunReport) -> str:
    """HTML of a run: scores, training curves, classes, cost, examples, options.

    Examples:
        >>> from saccade.report import RunReport, run_page
        >>> html = run_page(RunReport("leaves", config={"sampler": {"name": "uniform", "size": [32, 64]}}))
        >>> "uniform" in html, "32 x 64 samples an image" in html
        (True, True)
    """
    parts = [_head(run)]
    if run.evaluation is not None:
        parts += [_tiles(run.evaluation), _where_lost(run.evaluation, run.split)]
    parts.append(_training(run))
    if run.evaluation is not None:
        parts += [
            _classes(run.evaluation, run.own_colours),
            _confusion(run.evaluation),
            _detail_charts(run.evaluation, run),
            _cost(run.evaluation),
        ]
    parts += [_maps(run), _examples(run)]
    if run.evaluation is not None:
        parts.append(_images(run.evaluation))
    parts.append(_setting(run))
    return page(f"Saccade: {run.name}", "".join(parts))


def _head(run: RunReport) -> str:
    sampler, network = run.config.get("sampler", {}), run.config.get("network", {})
    size = _sides(sampler.get("size")) if isinstance(sampler, Mapping) else ""
    what = [
        str(part.get("name")) for part in (sampler, network) if isinstance(part, Mapping) and part.get("name")
    ]
    ends = [sampler.get(name) for name in ("smallest", "largest")] if isinstance(sampler, Mapping) else []
    if ends and all(ends):
        size = " to ".join(map(_sides, ends))
    line = " · ".join([*what, *([f"{size} samples an image"] if size else [])])
    options = run.config.get("data")
    data = options.get("path") if isinstance(options, Mapping) else options
    if run.evaluation is not None and run.evaluation.subject is not None:
        data = run.evaluation.subject.path
    return f'<h1>{text(run.name)}</h1><p class="soft">{text(line)}{f"<br>{text(data)}" if data else ""}</p>'


def _sides(size: Any) -> str:
    """As it is shown; a file may hold anything in its place."""
    return " x ".join(map(str, size)) if isinstance(size, list | tuple) else str(size or "")


def _tiles(evaluation: Evaluation) -> str:
    scores = evaluation.to_json()
    tiles = {
        "mIoU at full resolution": number(scores["miou"]),
        "label recovery (mIoU)": number(scores["label_recovery"]["miou"]),
        "Boundary IoU": number(scores["boundary_iou"]),
        "pixels seen an image": f"{evaluation.cost.pixels:,}",
        "GFLOPs an image": number(evaluation.cost.gflops, 2),
        "seconds an image": number(evaluation.cost.seconds_per_image),
    }
    inner = "".join(
        f'<div class="tile"><b>{value}</b><span>{text(name)}</span></div>' for name, value in tiles.items()
    )
    return f'<div class="tiles">{inner}</div>'


def _where_lost(evaluation: Evaluation, split: str) -> str:
    """The score beside label recovery, which hard labels bound and soft scores can pass."""
    scores = evaluation.to_json()
    reached, possible = scores["miou"], scores["label_recovery"]["miou"]
    count = f"{len(evaluation.records)} image" + "s" * (len(evaluation.records) != 1)
    line = f"Scores are pooled over {count} of the {split} split at full resolution. "
    if reached is not None and possible is not None:
        line += f"The samples' true labels, put back onto all pixels, score {possible:.3f} (label recovery)"
        if f"{reached:.3f}" == f"{possible:.3f}":
            line += ": as much as the network."
        elif reached < possible:
            below = possible - reached
            line += f": the network is {below:.3f} below it, and what is missing to 1 is lost in sampling."
        else:
            line += (
                f": the network is {reached - possible:.3f} above it, since its scores, unlike labels, say "
                "where between two samples an edge lies."
            )
    return f"<p>{text(line)}</p>"


def _training(run: RunReport) -> str:
    if not run.history.epochs:
        return '<h2>Training</h2><p class="none">No epoch is finished yet.</p>'
    scores, best = _coloured(run.history.scores(), run), run.history.best()
    if len(scores) > COLOURS:
        scores = scores[:1]
    charts = [
        line_chart(run.history.losses(), title="Training loss", x_label="epoch", y_label="loss"),
        line_chart(scores, title="Validation IoU", x_label="epoch", y_label="IoU", y_range=(0, 1)),
    ]
    note = f"<p>Best validation mIoU {best[1]:.3f} after epoch {best[0]}.</p>" if best else ""
    return f"<h2>Training</h2>{note}{_charts({'Training loss': charts[0], 'Validation IoU': charts[1]})}"


def _coloured(lines: list[Line], run: RunReport) -> list[Line]:
    """The lines of classes in the classes' colours, which are those of the pictures."""
    if run.evaluation is None or run.own_colours is None:
        return lines
    colours = dict(zip(run.evaluation.classes, map(hex_colour, run.own_colours), strict=False))
    return [replace(line, colour=colours.get(line.name)) for line in lines]


def _charts(charts: Mapping[str, str]) -> str:
    inner = "".join(f"<div><h3>{text(title)}</h3>{svg}</div>" for title, svg in charts.items())
    return f'<div class="charts">{inner}</div>'


def palette_of(evaluation: Evaluation, own: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """(K, 3) colours of these classes: the data's own, else, or where it has another number of classes, the
    rarer, the lighter."""
    fitting = own if own is not None and len(own) == len(evaluation.classes) else None
    return class_palette(evaluation.confusion.sum(1).numpy(), fitting)


def _classes(evaluation: Evaluation, own: NDArray[np.uint8] | None) -> str:
    scores, palette = evaluation.to_json(), palette_of(evaluation, own)
    pixels = evaluation.confusion.sum(1)
    boundary = evaluation.boundary_iou.tolist()
    rows = []
    for k, name in enumerate(evaluation.classes):
        sizes = evaluation.recall_by_size(k)
        swatch = f'<span class="swatch" style="background:{hex_colour(palette[k])}"></span>'
        rows.append([
            swatch + text(name), _percent(int(pixels[k]), int(pixels.sum())), number(scores["iou"][name]),
            number(scores["pixel_accuracy"][name]), number(scores["label_recovery"]["iou"][name]),
            number(boundary[k]), number(scores["sampling_ratio"][name], 2),
            f"{sum(size.objects for size in sizes):,}", number(sizes[0].recall), number(sizes[-1].recall),
        ])  # fmt: skip
    head = ["class", "share of pixels", "IoU", "pixel accuracy", "label recovery", "Boundary IoU",
            "sampling ratio", "objects", "recall, smallest quarter", "recall, largest quarter"]  # fmt: skip
    note = (
        "Label recovery: the IoU of the true labels of the samples, put back onto all pixels. "
        "Sampling ratio: share of the samples over share of the pixels. "
        "Objects: connected regions of the truth."
    )
    return f'<h2>Classes</h2><p class="soft">{note}</p>{table(head, rows, caption="Scores by class")}'


def _percent(part: int, whole: int) -> str:
    return number(None) if not whole else f"{100 * part / whole:.2f} %"


MOST_CONFUSED = 30
"""Classes whose confusion is a table that can still be read."""


def _confusion(evaluation: Evaluation) -> str:
    """Where the pixels of each class went, in hundredths of the class."""
    counts, names = evaluation.confusion.numpy(), evaluation.classes
    if not 2 <= len(names) <= MOST_CONFUSED:
        return ""
    rows = []
    for k, name in enumerate(names):
        whole = int(counts[k].sum())
        rows.append(
            [text(name), *(_share_cell(int(count), whole, k == to) for to, count in enumerate(counts[k]))]
        )
    note = (
        "Of the pixels that truly are of a class (a row), how many hundredths were given each class "
        "(a column). "
        "The diagonal is the pixel accuracy."
    )
    drawn = table(["true class", *names], rows, caption="Confusion in % of the true class")
    return f'<h2>Confusion</h2><p class="soft">{note}</p><div class="confusion">{drawn}</div>'


def _share_cell(count: int, whole: int, is_right: bool) -> str:
    if not whole:
        return number(None)
    share = count / whole
    kind = "right" if is_right else "wrong"
    return f'<span class="share {kind}" style="--share:{100 * share:.0f}%">{100 * share:.1f}</span>'


def _images(evaluation: Evaluation) -> str:
    """All images, the worst first; those without a score last."""
    by_score = sorted(evaluation.records, key=lambda one: (math.isnan(one.miou), one.miou, one.stem))
    rows = []
    for record in by_score:
        pixels = int(record.confusion.sum())
        rows.append([text(record.stem), number(record.miou), _percent(int(record.confusion.trace()), pixels)])
    inner = table(["image", "mIoU", "pixels that are right"], rows, caption="Worst first")
    return f"<h2>Images</h2>{details(f'All {len(rows)} images by score', inner)}"


def _detail_charts(evaluation: Evaluation, run: RunReport) -> str:
    trimap = Line("accuracy", evaluation.widths, [_value(x) for x in evaluation.trimap_accuracy.tolist()])
    quarters = [
        Line(name, range(1, 5), [_value(size.recall) for size in evaluation.recall_by_size(k)])
        for k, name in enumerate(evaluation.classes[:COLOURS])
    ]
    return _charts({
        "Accuracy near true boundaries": line_chart(
            [trimap], title="Accuracy in bands around true boundaries", x_label="width of the band, pixels",
            y_label="accuracy", log_x=True, y_range=(0, 1)),
        "Recall of objects by size": line_chart(
            _coloured(quarters, run), title="Recall of objects by size",
            x_label="quarter of the objects, small to large",
            y_label="mean recall", y_range=(0, 1), log_x=False),
    })  # fmt: skip


def _value(x: float) -> float | None:
    return None if math.isnan(x) else x


def _cost(evaluation: Evaluation) -> str:
    cost = evaluation.cost
    share = cost.sampler_gflops / cost.gflops if cost.gflops else math.nan
    memory = (
        "not told by this system"
        if cost.peak_memory_bytes is None
        else f"{cost.peak_memory_bytes / 2**20:.0f} MiB"
    )
    return "<h2>Cost of an image</h2>" + facts({
        "pixels that the network sees": f"{cost.pixels:,}",
        "operations": f"{cost.gflops:.3f} GFLOP, {share:.1%} ({cost.sampler_gflops:.3f}) in the sampler",
        "time": f"{cost.seconds_per_image:.3f} s (median, from decoded pixels to full-resolution labels)",
        "memory at its peak": f"{memory} (weights, and what a prediction adds)",
    })  # fmt: skip


def _maps(run: RunReport) -> str:
    """What the sampler did over the training."""
    if run.maps is None:
        return ""
    pictures = "".join(map(figure_html, run.maps.figures))
    return (
        f'<h2>{text(run.maps.title)}</h2><p>{text(run.maps.note)}</p><div class="pictures">{pictures}</div>'
    )


def _examples(run: RunReport) -> str:
    if not run.examples:
        return ""
    legend = ""
    if run.evaluation is not None:
        colours = run.examples[0].colours or _colours_before(run.evaluation, run.own_colours)
        legend = " ".join(
            f'<span class="swatch" style="background:{text(colour)}"></span>{text(name)}'
            for name, colour in zip(run.evaluation.classes, colours, strict=False)
        )
    note = "The worst first. Pictures are shrunk so that a block of pixels shows its rarest class."
    return f"<h2>Examples</h2><p>{note}</p><p>{legend}</p>{''.join(map(_example, run.examples))}"


def _colours_before(evaluation: Evaluation, own: NDArray[np.uint8] | None) -> tuple[str, ...]:
    """Of pictures that do not say it: before 0.2 up to eight classes had colours by rarity."""
    few = len(evaluation.classes) <= 8
    return tuple(map(hex_colour, palette_of(evaluation, None if few else own)))


def _example(example: Example) -> str:
    score = "no score" if example.score is None else f"mIoU {example.score:.3f}"
    head = f"<h3>{text(example.rank)}: {text(example.stem)} · {score}</h3>"
    shown = "".join(figure_html(figure) for figure in example.figures)
    return f'<section class="example">{head}<div class="pictures">{shown}</div></section>'


def _setting(run: RunReport) -> str:
    parts = []
    for name, values in (("Options", run.config), ("Environment", run.environment)):
        if values:
            parts.append(details(name, facts(flat(values))))
    return f"<h2>Set-up</h2>{''.join(parts)}" if parts else ""
