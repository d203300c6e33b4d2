"""``saccade init FOLDER``: classes.json and splits.json for images and masks or polygons."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from saccade.cli import options
from saccade.errors import UsageError
from saccade.runtime.progress import Progress


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "init",
        parents=[options.common(), options.as_json()],
        help="classes.json and splits.json for a folder of images and masks or polygons",
        description="Looks at every mask of a folder with images/ and masks/ (or labels/), shows what it "
        "found, and writes classes.json and splits.json beside them. Masks hold class indices, 0 and 255, or "
        "a colour a class. In place of masks labels/ may hold polygons (GeoJSON of QuPath or others, "
        "GeoPackage, Shapefile, COCO JSON), slides/ lie beside annotations/, or a table of outlines "
        "(annotations.csv; VIA, LabelMe) beside images/, of which labels/*.geojson are made. "
        "Whichever of the two files is there already is kept.",
    )
    parser.add_argument(
        "folder", metavar="FOLDER", type=Path, help="with images/ (or slides/) and masks/, labels/, "
        "annotations/ or annotations.csv",
    )  # fmt: skip
    parser.add_argument(
        "--names", metavar="FILE", type=Path, help="names of classes: a line 'name', 'index name' or "
        "'red green blue name' each, or a CSV table; default classes.txt or the like in FOLDER",
    )  # fmt: skip
    parser.add_argument(
        "--field", metavar="NAME", help="of vector files: the attribute that names classes (default: class, "
        "label, name or the like, else the only one of texts)",
    )  # fmt: skip
    parser.add_argument(
        "--group", metavar="RULE", default="auto", help="images that stay in one split: auto, folder, prefix "
        "(of the name), none, or a regular expression that names the group (default: auto)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the splits (default: 0)")
    parser.add_argument("--overwrite", action="store_true", help="write anew what is there already")
    parser.add_argument("--dry-run", action="store_true", help="show what would be written, write nothing")
    return parser


def run(args: argparse.Namespace) -> int:
    from saccade.data.draft import draft_folder
    from saccade.data.draft_polygons import draft_polygons, holds_polygons

    in_polygons = holds_polygons(args.folder)
    if args.field is not None and not in_polygons:
        raise UsageError(f"--field is for polygons, and {args.folder} has masks")
    with Progress("looking", None, "files" if in_polygons else "masks", quiet=args.quiet) as progress:
        how: dict[str, Any] = {
            "names": args.names, "group": args.group, "seed": args.seed, "overwrite": args.overwrite,
            "on_progress": progress.update,
        }  # fmt: skip
        draft = (
            draft_polygons(args.folder, label_field=args.field, **how)
            if in_polygons
            else draft_folder(args.folder, **how)
        )
    written = [] if args.dry_run else draft.write(overwrite=args.overwrite)
    # After the files: a reader such as head may leave early.
    print(json.dumps(draft.to_json(), indent=1) if args.json else "\n".join(draft.lines()), flush=True)
    if args.dry_run:
        options.say("nothing is written (--dry-run)", args)
        return 0
    shown = [str(path) for path in written if path not in draft.labels]
    if draft.labels:
        shown.insert(0, f"{args.folder / 'labels'} ({len(draft.labels)} files)")
    options.say(f"written: {', '.join(shown)}", args)
    folder = shlex.quote(str(args.folder))
    options.say(f"next: saccade info {folder}, then saccade train {folder} RUN", args)
    return 0
