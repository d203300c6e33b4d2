"""Times every operator against a named peer: ``python benchmarks/operators.py [--only WORD] [--runs N]``."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

import operators_grids
import operators_warp
from harness import Outcome, current_commit, keep, machine_peaks, measure, show, surroundings

RESULTS = Path(__file__).parent / "results" / "operators.json"


def main() -> None:
    """Measures, shows and keeps what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--only", default="", metavar="WORD", help="only cases with WORD in their name")
    parser.add_argument("--runs", type=int, default=5, help="runs of each side, alternating (default 5)")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"JSON to write (default {RESULTS.name})")
    options = parser.parse_args()
    cases = [
        case for case in [*operators_grids.cases(), *operators_warp.cases()] if options.only in case.name
    ]
    if not cases:
        parser.error(f"no case has {options.only!r} in its name")
    console, peaks, commit = Console(), machine_peaks(), current_commit()
    outcomes: list[Outcome] = []
    for number, case in enumerate(cases, start=1):
        console.print(f"{number}/{len(cases)} {case.name}", style="dim")
        outcomes.append(measure(case, max(5, options.runs), peaks, commit))
    show(outcomes, console)
    keep(outcomes, options.out, surroundings(peaks))
    console.print(f"kept in {options.out}")


if __name__ == "__main__":
    main()
