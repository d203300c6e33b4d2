"""How good a segmenter is: evaluate one run; scores from counts pooled over the images."""

from saccade.evaluation.evaluate import LabelledImage, evaluate
from saccade.evaluation.results import Evaluation, ImageRecord, load_evaluation, save_evaluation

__all__ = [
    "Evaluation",
    "ImageRecord",
    "LabelledImage",
    "evaluate",
    "load_evaluation",
    "save_evaluation",
]
