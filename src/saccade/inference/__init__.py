"""From image files to label files."""

from saccade.inference.files import EXTRAS, Job, list_jobs, parse_extras
from saccade.inference.predict import Answer, answer, predict_all, save_labels, save_scores

__all__ = [
    "EXTRAS",
    "Answer",
    "Job",
    "answer",
    "list_jobs",
    "parse_extras",
    "predict_all",
    "save_labels",
    "save_scores",
]
