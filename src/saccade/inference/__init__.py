"""From image files of any size to label files."""

from saccade.inference.extras import Answer
from saccade.inference.files import EXTRAS, Job, list_jobs, make_folder, parse_extras, still_to_do
from saccade.inference.image import Done, Settings, predict_image
from saccade.inference.many import Outcome, predict_all, require_predictor
from saccade.inference.mosaic import Band, bands
from saccade.inference.options import Look, Spacing
from saccade.inference.patches import Patch, Patches, one_patch

__all__ = [
    "EXTRAS",
    "Answer",
    "Band",
    "Done",
    "Job",
    "Look",
    "Outcome",
    "Patch",
    "Patches",
    "Settings",
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
