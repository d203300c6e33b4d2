"""From image files of any size to label files."""

from typing import TYPE_CHECKING

from saccade.runtime.lazy import lazy

if TYPE_CHECKING:
    from saccade.inference.files import EXTRAS as EXTRAS
    from saccade.inference.files import Job as Job
    from saccade.inference.files import ListedJob as ListedJob
    from saccade.inference.files import list_jobs as list_jobs
    from saccade.inference.files import make_folder as make_folder
    from saccade.inference.files import parse_extras as parse_extras
    from saccade.inference.files import still_to_do as still_to_do
    from saccade.inference.jobs import Outcome as Outcome
    from saccade.inference.jobs import predict_all as predict_all
    from saccade.inference.jobs import require_predictor as require_predictor
    from saccade.inference.objects import LeastArea as LeastArea
    from saccade.inference.objects import ObjectChoice as ObjectChoice
    from saccade.inference.options import SamplingOptions as SamplingOptions
    from saccade.inference.options import Spacing as Spacing
    from saccade.inference.predict import Done as Done
    from saccade.inference.predict import PredictionConfig as PredictionConfig
    from saccade.inference.predict import predict_image as predict_image
    from saccade.warp.stitch import Patch as Patch
    from saccade.warp.stitch import Patches as Patches
    from saccade.warp.stitch import Strip as Strip
    from saccade.warp.stitch import one_patch as one_patch
    from saccade.warp.stitch import strips as strips

_HOMES = {
    "EXTRAS": "inference.files",
    "Job": "inference.files",
    "ListedJob": "inference.files",
    "list_jobs": "inference.files",
    "make_folder": "inference.files",
    "parse_extras": "inference.files",
    "still_to_do": "inference.files",
    "Outcome": "inference.jobs",
    "predict_all": "inference.jobs",
    "require_predictor": "inference.jobs",
    "LeastArea": "inference.objects",
    "ObjectChoice": "inference.objects",
    "SamplingOptions": "inference.options",
    "Spacing": "inference.options",
    "Done": "inference.predict",
    "PredictionConfig": "inference.predict",
    "predict_image": "inference.predict",
    "Band": "warp.stitch",  # as 0.1 named strips
    "Strip": "warp.stitch",
    "bands": "warp.stitch",
    "Patch": "warp.stitch",
    "Patches": "warp.stitch",
    "strips": "warp.stitch",
    "one_patch": "warp.stitch",
}

__all__ = [
    "EXTRAS",
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
    "Strip",
    "list_jobs",
    "make_folder",
    "one_patch",
    "parse_extras",
    "predict_all",
    "predict_image",
    "require_predictor",
    "still_to_do",
    "strips",
]
__getattr__ = lazy(__name__, _HOMES)
