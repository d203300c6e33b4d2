"""Reading pixels at a grid, and putting answers back: fast kernels beside readable twins."""

from saccade.warp.pyramid import Pyramid
from saccade.warp.reference import sample_reference, unwarp_labels_reference, unwarp_reference
from saccade.warp.sample import sample
from saccade.warp.unwarp import unwarp, unwarp_labels

__all__ = [
    "Pyramid",
    "sample",
    "sample_reference",
    "unwarp",
    "unwarp_labels",
    "unwarp_labels_reference",
    "unwarp_reference",
]
