"""How many pixels a sample stood for in training, by which the size of views of other images is chosen."""

from __future__ import annotations

from math import prod, sqrt
from pathlib import Path
from statistics import median

from saccade.errors import SaccadeError
from saccade.rasters import image_size
from saccade.rasters.suffixes import IMAGE_SUFFIXES, has_suffix
from saccade.training.run_folder import Run

LOOKED_AT = 15
"""Images whose sizes are taken for those of all."""


def training_downsampling(run: Run) -> float | None:
    """Pixels of an image that a sample stood for along an axis in training; None where nothing tells.

    As the run itself says; of runs that did not keep it the median over some of the images in the data folder
    that they name, by their headers.
    """
    if run.shrink is not None:
        return run.shrink
    if run.config.data.path is None:
        return None
    try:
        images = sorted(p for p in (Path(run.config.data.path) / "images").iterdir())
    except OSError:
        return None
    images = [path for path in images if has_suffix(path, IMAGE_SUFFIXES)]
    step = max(1, len(images) // LOOKED_AT)
    sizes = [size for path in images[::step] if (size := _size(path))]
    views = [run.segmenter.sampler.for_image(size).size for size in sizes]
    ratios = [prod(size) / prod(view) for size, view in zip(sizes, views, strict=True)]
    return sqrt(median(ratios)) if ratios else None


def _size(path: Path) -> tuple[int, int] | None:
    try:
        return image_size(path)
    except SaccadeError:
        return None
