"""The folder of a comparison: ``runs/``, comparison.csv, comparison.json and comparison.html."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from saccade.errors import FileProblem
from saccade.evaluation.comparison.arms import Case
from saccade.evaluation.comparison.state import RUNS
from saccade.rasters.outputs import finished_file, writing

NAME = "comparison"


def run_root(out: Path, case: Case) -> Path:
    """Where the run of a case lies, or should be put to be used."""
    return out / RUNS / case.name


def require_place(out: Path) -> None:
    """Refuses a folder that is neither new nor a comparison.

    Raises:
        FileProblem: with what is there.
    """
    if out.is_file():
        raise FileProblem(out, "a new or empty folder, or a comparison", "a file")
    if out.is_dir() and any(out.iterdir()) and not _is_comparison(out):
        expected = f"a new or empty folder, or a comparison (with a folder {RUNS}/)"
        raise FileProblem(out, expected, "something else", "choose another folder")


def _is_comparison(out: Path) -> bool:
    """A study that trains nothing leaves its page alone, without runs."""
    return (out / RUNS).is_dir() or any(out.glob("study_*.html"))


def write_table(content: dict[str, Any], out: Path, name: str = NAME, csv: str | None = None) -> str:
    """Writes NAME.json, and NAME.csv where there is one; returns the text of the first."""
    text = json.dumps(content, indent=1, allow_nan=False)
    write_text(out / f"{name}.json", text)
    if csv is not None:
        write_text(out / f"{name}.csv", csv)
    return text


def write_text(path: Path, text: str) -> Path:
    """A file of the comparison, complete or not at all."""
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with finished_file(path, overwrite=True) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def read_costs(out: Path, name: str = NAME) -> Any:
    """The costs that were measured for an earlier table; None where there are none."""
    try:
        return json.loads((out / f"{name}.json").read_text(encoding="utf-8")).get("costs")
    except (OSError, ValueError, AttributeError):
        return None
