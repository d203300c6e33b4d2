"""Reading pixels at a grid, and putting answers back: fast kernels beside readable twins."""

from saccade.warp.pyramid import Pyramid
from saccade.warp.sample import sample
from saccade.warp.sample_reference import sample_reference
from saccade.warp.unwarp import unwarp, unwarp_labels
from saccade.warp.unwarp_reference import unwarp_labels_reference, unwarp_reference

__all__ = [
    "Pyramid",
    "sample",
    "sample_reference",
    "unwarp",
    "unwarp_labels",
    "unwarp_labels_reference",
    "unwarp_reference",
]
