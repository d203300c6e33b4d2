"""``saccade demo OUT``: the whole road on scenes that the program draws, by the commands a user types."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from saccade.cli import options
from saccade.cli.options import say
from saccade.errors import FileProblem, SaccadeError
from saccade.runtime.progress import Progress

SIZE = "32x64"
OPTIONS = ["--size", SIZE, "--network", "small", "--batch-size", "4"]
OPTIONS += ["training.validate_every=5", "loss.class_weights=rarity"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "demo",
        parents=[options.common()],
        help="draw scenes, train both ways, predict, report: about two minutes",
        description="Draws a small data set of islands and boats, trains uniform and learned sampling on it, "
        "labels the test images and writes a report of each, showing every command it runs.",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="a new folder")
    parser.add_argument(
        "--epochs", type=int, default=40, help="passes over the 40 training images (default 40)"
    )
    parser.add_argument("--overwrite", action="store_true", help="train again in a folder of an earlier demo")
    return parser


def run(args: argparse.Namespace) -> int:
    _require_own(args.out)
    data, runs = args.out / "data", {name: args.out / name for name in ("uniform", "deformation")}
    _draw(args, data)
    for sampler, folder in runs.items():
        extra = ["--sampler", sampler, "--epochs", str(args.epochs), *OPTIONS]
        _command(args, ["train", data, folder, *extra, *_overwrite(args)])
    test = [next((data / "images").glob(f"{stem}.*")) for stem in _test_stems(data)]
    save = ["--save", "labels,overlay,samples,density"]
    _command(args, ["predict", runs["deformation"], *test, args.out / "labels", *save, *_overwrite(args)])
    for folder in runs.values():
        _command(args, ["evaluate", folder, data])
        _command(args, ["report", folder])
    print("\n".join(_comparison(runs)))
    return 0


def _require_own(out: Path) -> None:
    """Refuses a folder with anything in it that no demo makes.

    Raises:
        FileProblem: with what is in it.
    """
    made = ("data", "uniform", "deformation", "labels")
    if not out.exists():
        return
    strange = [] if out.is_dir() else [out]
    strange = strange or sorted(path for path in out.iterdir() if path.name not in made)
    if not strange and (out / "data").exists():
        drawn = (out / "data" / "images" / "scene_000.jpg").is_file()
        strange = [] if drawn else [out / "data"]
    if strange:
        found = "a file" if not out.is_dir() else f"one with {strange[0].name} in it"
        raise FileProblem(out, "a new folder, or one of an earlier demo", found, "name a new folder")


def _draw(args: argparse.Namespace, data: Path) -> None:
    from saccade.data.scenes import make_scenes

    if data.is_dir() and args.overwrite:
        return
    say(f"drawing islands and boats in {data}", args)
    with Progress("drawing", None, "scenes", quiet=args.quiet) as progress:
        make_scenes(data, on_drawn=progress.advance)


def _overwrite(args: argparse.Namespace) -> list[str]:
    return ["--overwrite"] if args.overwrite else []


def _test_stems(data: Path) -> list[str]:
    stems: list[str] = json.loads((data / "splits.json").read_text(encoding="utf-8"))["test"]
    return stems


def _command(args: argparse.Namespace, words: list[Any]) -> None:
    """Runs one command of this program as a user would, showing it first."""
    from saccade.cli.main import parse

    words = [str(word) for word in words]
    say(f"\n$ saccade {shlex.join(words)}", args)
    inner = parse([*words, *(["-q"] if args.quiet else [])])
    if inner.run(inner) != 0:
        raise SaccadeError(f"saccade {words[0]} did not finish")


def _comparison(runs: dict[str, Path]) -> list[str]:
    """Both runs side by side: the same network and budget, only the places of the samples differ."""
    scores = {
        name: json.loads((folder / "evaluation_test.json").read_text(encoding="utf-8"))["scores"]
        for name, folder in runs.items()
    }
    uniform, learned = scores["uniform"], scores["deformation"]
    lines = ["", f"IoU on the test images at full resolution, {SIZE} samples an image:"]
    lines.append(f"{'':<16}{'uniform':>10}{'learned':>10}{'gain':>10}")
    pairs = {n: (uniform["iou"][n], learned["iou"][n]) for n in uniform["iou"]}
    for name, (before, after) in {**pairs, "mean": (uniform["miou"], learned["miou"])}.items():
        if before is not None and after is not None:
            lines.append(f"{name:<16}{before:>10.3f}{after:>10.3f}{after - before:>+10.3f}")
    return [*lines, f"reports: {', '.join(str(folder / 'report.html') for folder in runs.values())}"]
