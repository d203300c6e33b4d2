"""``saccade compare DATA OUT``: methods beside each other, cost against quality, with the time left."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from saccade.cli import options
from saccade.errors import UsageError

DESCRIPTION = """Trains every sampler at every size with every seed, all else alike, evaluates them at full
resolution, and writes OUT/comparison.html, .csv and .json. Runs that are there already, in
OUT/runs/SAMPLER_SIZE_sSEED, are used."""


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "compare",
        parents=[options.common(), options.trust(), options.as_json(), options.device(), options.output()],
        help="samplers beside each other: what does a pixel buy?",
        description=DESCRIPTION,
    )
    add = parser.add_argument
    add("data", metavar="DATA", type=Path, help="the folder of a data set")
    add("out", metavar="OUT", type=Path, nargs="?", help="the folder of the comparison")
    add("overrides", metavar="KEY=VALUE", nargs="*", help="options of all runs, as section.key=value")
    add("--samplers", metavar="LIST", help="SAMPLER or NAME=SAMPLER, by commas (default uniform,deformation)")
    add("--sizes", metavar="LIST", help="ROWSxCOLUMNS, by commas (default 32x64,64x128)")
    add("--seeds", metavar="N", default="3", help="how many, or a list such as 0,4,7 (default 3)")
    add("--set", metavar="NAME:KEY=VALUE", action="append", default=[], help="an option of one sampler only")
    add("--study", metavar="NAME", help="a study of the papers instead; 'list' names them")
    add("--config", metavar="FILE", type=Path, help="a YAML file of options of all runs")
    add("--network", metavar="NAME", help="small, or ARCHITECTURE:ENCODER")
    add("--epochs", help="passes over the training images")
    add("--batch-size", dest="batch_size", help="images a step")
    add("--split", choices=("test", "val"), help="what is evaluated on (default as saccade evaluate)")
    add("--jobs", metavar="N", type=int, default=1, help="runs side by side, each in a process (default 1)")
    add(
        "--cluster",
        metavar="WHERE",
        help="runs on a Dask cluster: local:N, N processes here, or a scheduler, tcp://HOST:PORT",
    )
    options.data_short(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    if args.study == "list":
        return _list_studies()
    if args.out is None:
        raise UsageError("expected DATA and OUT, but got one folder (see 'saccade compare --help')")
    from saccade.api.scoring import compare, describe_comparison, study
    from saccade.data.open import recognised
    from saccade.lab.page import comparison_lines

    if recognised(args.out) and not recognised(args.data):
        right = "saccade compare DATA OUT"
        raise UsageError(f"{args.out} is a data set, and {args.data} is none: swap them ({right})")
    how = _options(args)
    if args.dry_run:
        print("\n".join(describe_comparison(args.data, args.out, args.study, **how)))
        return 0
    args.hint = "what is finished is kept: repeat the command with --resume"
    if args.study:
        results = study(args.data, args.out, args.study, **how)
        compared, lines, name = results.comparison, results.lines(), f"study_{args.study}"
    else:
        compared = compare(args.data, args.out, **how)
        lines, name = comparison_lines(compared), "comparison"
    print((args.out / f"{name}.json").read_text(encoding="utf-8") if args.json else "\n".join(lines))
    options.say(str(args.out / f"{name}.html"), args)
    return 1 if compared is not None and compared.failures else 0


def _list_studies() -> int:
    from saccade.lab.studies import STUDIES, load_study

    for name in STUDIES:
        study = load_study(name)
        print(f"{name:<18}{study.title} ({study.source})")
    return 0


def _options(args: argparse.Namespace) -> dict[str, Any]:
    return {
        **options.training_options(args),
        "samplers": _words(args.samplers, "--samplers"),
        "sizes": _words(args.sizes, "--sizes"),
        "seeds": _seeds(args.seeds),
        "own_options": args.set,
        "split": args.split,
        "jobs": args.jobs,
        "cluster": args.cluster,
        "resume": args.resume,
        "overwrite": args.overwrite,
        "device": args.device,
        "progress": not args.quiet,
    }


def _words(text: str | None, option: str) -> list[str]:
    """Names by commas; none where the option was not given."""
    words = [word.strip() for word in (text or "").split(",") if word.strip()]
    if text and not words:
        raise UsageError(f"expected {option} to be names by commas, but got {text!r}")
    return words


def _seeds(text: str) -> int | list[int]:
    """How many, or a list."""
    words = _words(text, "--seeds")
    listed = "," in text
    if not words or not all(word.isdecimal() for word in words) or (not listed and int(text) < 1):
        raise UsageError(f"expected --seeds to be how many (3), or a list (0,4,7), but got {text!r}")
    return [int(word) for word in words] if listed else int(text)
