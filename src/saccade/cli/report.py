"""``saccade report RUN``: one self-contained HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from saccade.cli import options
from saccade.cli.console import Progress, say


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "report",
        parents=[options.common(), options.device()],
        help="one HTML page of a run: scores, curves, examples",
        description="Writes RUN/report.html: training curves, scores by class, cost, and examples, the worst "
        "first. Evaluates the run on its own data where that has not been done.",
    )
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="a trained run")
    parser.add_argument("--data", metavar="DATA", type=Path, help="its data folder, where that has moved")
    parser.add_argument("--split", default="test", choices=("train", "val", "test"), help="default: test")
    return parser


def run(args: argparse.Namespace) -> int:
    from saccade.report import write_report
    from saccade.training.run_folder import load_run

    run = load_run(args.run_folder)
    source = args.data or Path(run.config.data.path or "")
    if source.is_dir():
        _fill(args, run, source)
    else:
        say(f"note: no data folder at {source}, so no new examples; give it with --data", args)
    print(write_report(run.path))
    return 0


def _fill(args: argparse.Namespace, run: Any, source: Path) -> None:
    """Evaluates where that is missing, and draws the examples."""
    import numpy as np

    from saccade.data import SampleCache, open_data
    from saccade.evaluation import evaluate, load_evaluation, save_evaluation
    from saccade.report import draw_examples, save_examples
    from saccade.report.run import FIGURES, evaluation_file
    from saccade.training.loop import torch_device
    from saccade.training.run_folder import require_classes

    cache, device = SampleCache(), torch_device(args.device)
    data = open_data(source, run.config.data.evaluated(), splits=(args.split,), on_decoded=cache.keep)
    require_classes(run, data.classes, source)
    items = {item.stem: item for item in data.split(args.split)}
    file = evaluation_file(run.path, args.split)
    if not file.is_file():
        with Progress("evaluating", len(items), "images", quiet=args.quiet) as progress:
            samples = cache.iterate(data, items.values())
            found = evaluate(run.segmenter, samples, data.classes, device=device, progress=progress.update)
        save_evaluation(found, file)
    with Progress("drawing", None, "examples", quiet=args.quiet):
        examples = draw_examples(
            run.segmenter, load_evaluation(file), lambda stem: cache.get(data, items[stem]),
            own_colours=np.asarray(data.classes.colours, np.uint8), device=device,
        )  # fmt: skip
    save_examples(examples, run.path / FIGURES)
