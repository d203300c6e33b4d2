"""Figures and the HTML page of a run: one file that needs nothing else."""

from saccade.report.examples import Example, Looked, choose, draw, load_examples, save_examples
from saccade.report.page import run_page, write_report
from saccade.report.run import RunReport, draw_examples, look_at, read_run

__all__ = [
    "Example",
    "Looked",
    "RunReport",
    "choose",
    "draw",
    "draw_examples",
    "load_examples",
    "look_at",
    "read_run",
    "run_page",
    "save_examples",
    "write_report",
]
