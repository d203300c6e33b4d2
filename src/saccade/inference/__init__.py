"""From image files to label files."""

from saccade.inference.files import EXTRAS, Job, list_jobs, make_folder, parse_extras, still_to_do
from saccade.inference.predict import (
    Answer,
    answer,
    predict_all,
    require_predictor,
    save_labels,
    save_scores,
)

__all__ = [
    "EXTRAS",
    "Answer",
    "Job",
    "answer",
    "list_jobs",
    "make_folder",
    "parse_extras",
    "predict_all",
    "require_predictor",
    "save_labels",
    "save_scores",
    "still_to_do",
]
