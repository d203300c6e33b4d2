"""``saccade report RUN``: one self-contained HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from saccade.cli import options
from saccade.cli.options import say
from saccade.runtime.progress import Progress


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "report",
        parents=[options.common(), options.trust(), options.device()],
        help="one HTML page of a run: scores, curves, examples",
        description="Writes RUN/report.html: training curves, scores by class, cost, and examples, the worst "
        "first. Evaluates the run on its own data where that has not been done.",
    )
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="a trained run")
    parser.add_argument("--data", metavar="DATA", type=Path, help="its data folder, where that has moved")
    parser.add_argument("--split", default="test", metavar="NAME", help=options.SPLIT)
    return parser


def run(args: argparse.Namespace) -> int:
    from saccade.report import write_report
    from saccade.training.run_folder import load_run

    run = load_run(args.run_folder)
    source = args.data or Path(run.config.data.path or "")
    evaluation = None
    if source.is_dir():
        evaluation = _fill(args, run, source)
    else:
        say(f"note: no data folder at {source}, so no new scores and examples; give it with --data", args)
    print(write_report(run.path, evaluation))
    return 0


def _fill(args: argparse.Namespace, run: Any, source: Path) -> Any:
    """Evaluates where there is nothing of these weights and these images, draws the examples, and returns the
    evaluation."""
    import numpy as np

    from saccade.data import SampleCache, open_data
    from saccade.evaluation import evaluate
    from saccade.evaluation.results import Subject, keep_evaluation, load_evaluation, stored_evaluation
    from saccade.report import draw_examples, save_examples
    from saccade.report.run import FIGURES
    from saccade.training.loop import torch_device
    from saccade.training.run_folder import require_classes

    cache, device = SampleCache(), torch_device(args.device)
    data = open_data(source, run.config.data.evaluated(), splits=(args.split,), on_decoded=cache.keep)
    require_classes(run, data.classes, source)
    items = {item.stem: item for item in data.split(args.split)}
    subject = Subject.of(run.path, data, args.split)
    evaluation = stored_evaluation(run.path, subject)
    if evaluation is None:
        with Progress("evaluating", len(items), "images", quiet=args.quiet) as progress:
            samples = cache.iterate(data, items.values())
            found = evaluate(run.segmenter, samples, data.classes, device=device, progress=progress.update)
        evaluation = load_evaluation(keep_evaluation(run.path, found, subject))
    with Progress("drawing", None, "examples", quiet=args.quiet):
        examples = draw_examples(
            run.segmenter, evaluation, lambda stem: cache.get(data, items[stem]),
            own_colours=np.asarray(data.classes.colours, np.uint8), device=device,
        )  # fmt: skip
    save_examples(examples, run.path / FIGURES)
    return evaluation
