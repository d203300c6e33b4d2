"""The gallery of a data set, and of an evaluated run: its images by score, what it predicts of each, and the
truth.

Nothing is decoded before it is looked at; a run predicts an image when it is opened, as its evaluation did.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from saccade.data import DataFolder, Item, Sample
from saccade.data.dataset import Decoded
from saccade.data.open import choose_format
from saccade.data.options import DataOptions
from saccade.errors import DataFaults, FileProblem, InvalidInput
from saccade.evaluation.results import Evaluation, Subject, load_evaluation, own_file
from saccade.geometry import Window
from saccade.inference.objects import uncertainty_of
from saccade.rasters import Raster, as_rgb, open_raster
from saccade.rasters.array import ArrayRaster
from saccade.runtime.devices import torch_device
from saccade.segmenter import Segmentation
from saccade.training.run_folder import load_run, require_classes
from saccade.viewer.gallery import (
    Entry,
    Files,
    Gallery,
    Layer,
    Legend,
    Opened,
    facts_of,
    map_unit,
    open_files,
    other_notices,
    positions,
    shown_range,
    system_of,
)
from saccade.viewer.planes import (
    Drawn,
    ErrorPlane,
    Plane,
    PointPlane,
    RasterPlane,
    scaled_degrees,
)
from saccade.viewer.tiles import Patch
from saccade.warp import unwarp


def data_gallery(
    path: Path, options: DataOptions, over: Callable[[Path], Files] = lambda image: Files()
) -> Gallery:
    """All images of a data set with their true labels, split by split; ``over``: the files over an image.

    Raises:
        FileProblem, InvalidInput, DataFaults: as for :func:`saccade.data.open_data`, but of files as a whole:
            what is wrong in one is told when it is looked at.
    """
    data = listed(path, options, None)
    entries = [
        Entry(f"{split}: {item.stem}", _opener(data, item, options.value_range, over))
        for split, items in data.splits.items()
        for item in items
    ]
    return Gallery(tuple(entries), path.resolve().name)


def run_gallery(
    root: Path, *, source: Path | None = None, split: str | None = None, device: str = "auto"
) -> Gallery:
    """The images that a run was evaluated on, the worst first, with what it predicts.

    Args:
        root: the run.
        source: its data folder, where that has moved.
        split: whose evaluation; default the first that there is of test, val and train.
        device: where the network runs.

    Raises:
        FileProblem: the run was not evaluated on that split, or its data are not there.
    """
    run = load_run(root)
    evaluation, split = _evaluation(root, split)
    path = source or Path(run.config.data.path or "")
    if not path.is_dir():
        raise FileProblem(path, "the data of the run", "no such folder", "name where they are with --data")
    data = listed(path, run.config.data.evaluated(), (split,))
    require_classes(run, data.classes, path)
    scores = {record.stem: record.miou for record in evaluation.records}
    segmenter = run.segmenter.to(torch_device(device))
    lock = threading.Lock()  # one image at a time has the memory that a network needs

    def predict(sample: Sample) -> Segmentation:
        with lock:
            image = sample.pyramid.to(torch_device(device))
            return segmenter.segment(image, sample.labels.to(torch_device(device)))

    entries = []
    for item in data.split(split):
        score = scores.get(item.stem)
        known = score if score is not None and np.isfinite(score) else None
        opener = _predicting(data, item, run.config.data.value_range, predict)
        entries.append(Entry(item.stem, opener, known))
    return Gallery.sorted(entries, f"{root.resolve().name}, {split}", "mIoU")


def _evaluation(root: Path, split: str | None) -> tuple[Evaluation, str]:
    """The evaluation of a split, and which split that is."""
    candidates = (split,) if split is not None else ("test", "val", "train")
    for name in candidates:
        if own_file(root, name).is_file():
            return load_evaluation(own_file(root, name)), name
    others = sorted(root.glob("evaluation_*.json"))
    for file in others if split is None else ():
        evaluation = load_evaluation(file)
        if isinstance(evaluation.subject, Subject):
            return evaluation, evaluation.subject.split
    what = "an evaluation" if split is None else f"an evaluation on {split}"
    raise FileProblem(root, what, "none", f"run `saccade evaluate {root} DATA` first")


def listed(path: Path, options: DataOptions, splits: Sequence[str] | None) -> DataFolder:
    """A data set whose files were found but not decoded; of ``splits``, or of all that there are."""
    options = replace(options, path=str(path))
    format = choose_format(path, options)
    listing = format.find(path, None if splits is None else tuple(splits))
    classes = listing.classes
    if classes is None:
        raise DataFaults(listing.faults)
    if options.target is not None:
        classes = classes.against_the_rest(options.target)
    items = {name: tuple(some) for name, some in listing.splits.items() if some}
    if not items and listing.faults:
        raise DataFaults(listing.faults)
    if not items:
        raise InvalidInput("splits", "of at least one image", f"none in {path}")
    return DataFolder(path, classes, items, {}, format=format)


Predict = Callable[[Sample], Segmentation]


def _opener(
    data: DataFolder, item: Item, value_range: tuple[float, float] | None, over: Callable[[Path], Files]
) -> Callable[[], Opened]:
    def open_() -> Opened:
        decoded = data.read(item)
        with open_raster(item.image) as raster:
            whole = raster.size == decoded.labels.shape
        if not whole:
            return open_item(data, item, decoded, value_range)
        values = ArrayRaster(item.mask, data.classes.decode(decoded.labels))
        return open_files(item.image, over(item.image), data.classes, value_range, truth=values)

    return open_


def _predicting(
    data: DataFolder, item: Item, value_range: tuple[float, float] | None, predict: Predict
) -> Callable[[], Opened]:
    return lambda: open_item(data, item, data.read(item), value_range, predict)


def open_item(
    data: DataFolder,
    item: Item,
    decoded: Decoded,
    value_range: tuple[float, float] | None,
    predict: Predict | None = None,
) -> Opened:
    """An image of a data set with its true labels, by ids, and with ``predict`` what that answers."""
    truth = decoded.labels
    size = (truth.shape[0], truth.shape[1])
    with ExitStack() as stack:
        raster, notices = _image(item, decoded, size, value_range, stack)
        held = raster.info.resident + truth.nbytes
        layers = [Layer("image", "image", RasterPlane(raster, size))]
        true = ArrayRaster(item.mask, truth)
        labels: Raster | None = None
        legend = Legend.of(data.classes, ids=True)
        if predict is not None:
            segmentation = predict(Sample.of(item, decoded))
            pixels = np.minimum(segmentation.labels.cpu().numpy(), 255).astype(np.uint8)
            labels = ArrayRaster(Path(f"the prediction of {item.stem}"), pixels)
            held += (
                2 * pixels.nbytes + segmentation.image.nbytes
            )  # the uncertainty is made of it when asked for
            layers += _predicted(segmentation, labels, true, legend, size)
        shown = Layer("truth", "classes", RasterPlane(true, size, values=True))
        layers.insert(2 if predict is not None else 1, shown)
        for layer in layers:
            if isinstance(layer.plane, RasterPlane):
                stack.callback(layer.plane.close)
        file = raster.info
        return Opened(
            size=size,
            layers=tuple(layers),
            legend=legend,
            facts={**facts_of(raster), "file": str(item.image)},
            notices=(*notices, *decoded.notices),
            crs=system_of(raster),
            transform=file.transform,
            pixel_metres=None if file.pixel_size is None else file.pixel_size.metres,
            unit=map_unit(raster),
            held=held,
            labels=labels,
            truth=true,
            close=stack.pop_all().close,
        )


def _image(
    item: Item,
    decoded: Decoded,
    size: tuple[int, int],
    value_range: tuple[float, float] | None,
    stack: ExitStack,
) -> tuple[Raster, tuple[str, ...]]:
    """The file itself where it is used whole, else the part that the data set hands out."""
    with ExitStack() as opening:
        raster = opening.enter_context(open_raster(item.image))
        if raster.size == size:
            stack.push(opening.pop_all())
            limits, about = shown_range(raster, value_range)
            colours = as_rgb(raster, value_range=limits)
            return colours, (*other_notices(colours, about), *about)
    part = ArrayRaster(item.image, np.ascontiguousarray(decoded.image[..., :3]))
    limits, about = shown_range(part, value_range)
    return as_rgb(part, value_range=limits), ("the part of the image that is used, not all of it", *about)


def _predicted(
    segmentation: Segmentation, labels: Raster, truth: Raster, legend: Legend, size: tuple[int, int]
) -> list[Layer]:
    """Layers of a prediction: labels, errors, uncertainty, density, samples."""
    ours, theirs = (RasterPlane(raster, size, values=True) for raster in (labels, truth))
    layers = [
        Layer("labels", "classes", ours),
        Layer("errors", "errors", ErrorPlane(theirs, ours, legend.unknown, legend.background)),
    ]
    if segmentation.scores is not None and len(segmentation.scores) == 1 and segmentation.classes > 1:
        layers.append(
            Layer(
                "uncertainty",
                "degrees",
                _Late(lambda: uncertainty(segmentation), size),
                "certain",
                "uncertain",
            )
        )
    if (density := segmentation.density) is not None:
        degrees = ArrayRaster(Path("density"), scaled_degrees(density.detach().cpu().numpy()))
        layers.append(Layer("density", "degrees", RasterPlane(degrees, size, values=True), "sparse", "dense"))
    grids = segmentation.glimpses.grids.detach().cpu().numpy()
    whole = np.array([[0, size[0], 0, size[1]]])
    points = positions(grids.reshape(1, -1, 2), whole)
    layers.append(Layer("samples", "points", PointPlane(points)))
    return layers


def uncertainty(segmentation: Segmentation, rows: int = 64) -> NDArray[np.uint8]:
    """(H, W) 0 to 254: one less the margin of the two best classes, as ``predict --save uncertainty``.

    Args:
        segmentation: with the scores of one glimpse.
        rows: at a time, for classes x height x width are never all in memory.
    """
    assert segmentation.scores is not None
    height, width = segmentation.size
    parts = []
    for top in range(0, height, rows):
        window = Window(top, min(top + rows, height), 0, width)
        place = window.top, window.bottom, 0, width
        scores = unwarp(segmentation.scores, segmentation.glimpses.grids, segmentation.size, window=place)
        shares = (scores.softmax(1)[0] * 255).round().to(torch.uint8).permute(1, 2, 0)
        labels = segmentation.labels[window.slices].cpu().numpy()
        parts.append(uncertainty_of(shares.cpu().numpy(), labels))
    return np.concatenate(parts)


class _Late(Plane):
    """Degrees that are computed when they are first looked at."""

    def __init__(self, compute: Callable[[], NDArray[np.uint8]], size: tuple[int, int]) -> None:
        self._compute, self._size = compute, size
        self._plane: RasterPlane | None = None
        self._lock = threading.Lock()

    def draw(self, patch: Patch) -> Drawn:
        with self._lock:
            if self._plane is None:
                degrees = ArrayRaster(Path("uncertainty"), self._compute())
                self._plane = RasterPlane(degrees, self._size, values=True)
        return self._plane.draw(patch)
