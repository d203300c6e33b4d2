"""Figures and the HTML page of a run: one file that needs nothing else."""

from saccade.report.examples import Example, SegmentedSample, choose, draw, load_examples, save_examples
from saccade.report.page import run_page, write_report
from saccade.report.run import RunReport, draw_examples, read_run, segment_sample

__all__ = [
    "Example",
    "RunReport",
    "SegmentedSample",
    "choose",
    "draw",
    "draw_examples",
    "load_examples",
    "read_run",
    "run_page",
    "save_examples",
    "segment_sample",
    "write_report",
]
