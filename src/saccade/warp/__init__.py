"""Reading pixels at a grid, and putting answers back: fast kernels beside readable twins."""

from typing import TYPE_CHECKING

from saccade.runtime.lazy import lazy

if TYPE_CHECKING:
    from saccade.warp.pyramid import Pyramid as Pyramid
    from saccade.warp.reference import sample_reference as sample_reference
    from saccade.warp.reference import unwarp_labels_reference as unwarp_labels_reference
    from saccade.warp.reference import unwarp_reference as unwarp_reference
    from saccade.warp.sampling import sample as sample
    from saccade.warp.unwarping import unwarp as unwarp
    from saccade.warp.unwarping import unwarp_labels as unwarp_labels

_HOMES = {
    "Pyramid": "warp.pyramid",
    "sample_reference": "warp.reference",
    "unwarp_labels_reference": "warp.reference",
    "unwarp_reference": "warp.reference",
    "sample": "warp.sampling",
    "unwarp": "warp.unwarping",
    "unwarp_labels": "warp.unwarping",
}

__all__ = [
    "Pyramid",
    "sample",
    "sample_reference",
    "unwarp",
    "unwarp_labels",
    "unwarp_labels_reference",
    "unwarp_reference",
]
__getattr__ = lazy(__name__, _HOMES)
