"""From image files of any size to label files."""

from saccade.inference.files import EXTRAS, Job, ListedJob, list_jobs, make_folder, parse_extras, still_to_do
from saccade.inference.jobs import Outcome, predict_all, require_predictor
from saccade.inference.objects import LeastArea, ObjectChoice
from saccade.inference.options import SamplingOptions, Spacing
from saccade.inference.predict import Done, PredictionConfig, predict_image
from saccade.warp.stitch import Band, Patch, Patches, bands, one_patch

__all__ = [
    "EXTRAS",
    "Band",
    "Done",
    "Job",
    "LeastArea",
    "ListedJob",
    "ObjectChoice",
    "Outcome",
    "Patch",
    "Patches",
    "PredictionConfig",
    "SamplingOptions",
    "Spacing",
    "bands",
    "list_jobs",
    "make_folder",
    "one_patch",
    "parse_extras",
    "predict_all",
    "predict_image",
    "require_predictor",
    "still_to_do",
]
