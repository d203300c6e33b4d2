"""Writes the configurations of the papers' experiments, and the table of them in docs/experiments.md.

python configs/make.py            writes
python configs/make.py --check    says whether all is as it would be written
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

import foveation2020  # noqa: E402
import iccv2019  # noqa: E402
import iclr2022  # noqa: E402
from experiment import Experiment  # noqa: E402

FILES = ROOT.parent / "src" / "saccade" / "configs"
PAGE = ROOT.parent / "docs" / "experiments.md"
BEGIN, END = "<!-- table: configs/make.py -->\n", "<!-- end of table -->\n"
PAPERS = {
    "iclr2022": (iclr2022, "Learning to downsample (ICLR 2022)"),
    "iccv2019": (iccv2019, "Downsampling near semantic boundaries (ICCV 2019)"),
    "foveation2020": (foveation2020, "Foveation (arXiv 2020, MICCAI 2020)"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true")
    wanted = files()
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
    stale += [path for path in sorted(FILES.glob("*/*.yaml")) if path not in wanted]
    if parser.parse_args().check:
        print("\n".join(f"{path}: not as configs/make.py writes it" for path in stale))
        return 1 if stale else 0
    for path in stale:
        if path not in wanted:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path])
    print(f"{len(wanted) - 1} configurations, {len(stale)} files changed")
    return 0


def all_experiments() -> list[Experiment]:
    return [one for module, _ in PAPERS.values() for one in module.experiments()]


def files() -> dict[Path, str]:
    """Every file that is written, and what stands in it."""
    found = {FILES / one.file: text_of(one) for one in all_experiments()}
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return {**found, PAGE: before + BEGIN + table() + END + rest.partition(END)[2]}


def text_of(one: Experiment) -> str:
    """A configuration with its source above it."""
    lines = [
        f"{PAPERS[one.paper][1]}, {one.what}",
        f"published: {one.published or 'drawn, without a number'}",
    ]
    lines += [f"note: {one.note}"] if one.note else []
    head = "".join(f"# {line}\n" for line in [*lines, f"needs: {one.data}", command(one)])
    return head + yaml.safe_dump(one.options, sort_keys=False, default_flow_style=None, width=100)


def command(one: Experiment) -> str:
    return f"saccade train DATA runs/{one.name} --config {one.paper}/{one.name}"


def table() -> str:
    """One table a paper: experiment, command, published figure, ours."""
    parts = []
    for paper, (module, title) in PAPERS.items():
        parts.append(f"\n### {title}\n\n| experiment | command | published | ours |\n|---|---|---|---|\n")
        for one in module.experiments():
            published = one.published or "drawn, without a number"
            parts.append(f"| {one.what} | `{command(one)}` | {published} | not run: needs {one.data} |\n")
        assert all(one.paper == paper for one in module.experiments())
    return "".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
