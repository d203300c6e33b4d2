"""Prediction from an exported model without torch: numpy, numba, pillow, tifffile and onnxruntime.

What ``saccade export RUN model.onnx`` wrote labels images of any size here, in whole views and in tiles, in
the format of each image, as ``saccade predict RUN --engine onnx`` labels them; rasters are read, and labels
written, strip by strip. Samplers are ``uniform`` and ``deformation`` with elastic grids.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data.classes import ClassTable, classes_from_dict
from saccade.errors import FileProblem, SaccadeError
from saccade.geometry import Fit, SizeRange, Window, nearest_size
from saccade.grids.relaxation import at_rest, elastic_nodes, even_grid, resized
from saccade.grids.relaxation_0_1 import at_rest_0_1
from saccade.inference.emptiness import Measured, empty_tiles, may_be_skipped, with_gaps
from saccade.inference.files import Job, ListedJob, list_jobs, make_folder
from saccade.inference.label_values import OUTPUT_TILE, Values
from saccade.inference.layout import Layout, lay_out
from saccade.inference.options import SamplingOptions, sampling_of
from saccade.rasters import Raster, RasterWriter, as_rgb, open_raster, write_label_png
from saccade.rasters.sample import samples_at
from saccade.runtime.onnx_session import onnx_session
from saccade.runtime.threads import threads
from saccade.warp.stitch import Patch, Strip, strips

Floats = NDArray[np.float32]
WHITE = 255.0
RELAXED = {"elastic": at_rest, "elastic_0_1": at_rest_0_1}
"""What brings the springs of a grid to rest."""


class Model:
    """An exported segmenter, ready to label images.

    Args:
        file: what ``saccade export`` wrote; the density net of a deformation sampler lies beside it.

    Attributes:
        classes: of the run.

    Raises:
        FileProblem: for a file that is not there or is no such export.
        SaccadeError: for a sampler that needs torch, or where onnxruntime is missing.
    """

    def __init__(self, file: Path | str) -> None:
        self.file = Path(file)
        self._scores = session_of(self.file)
        self._about = _metadata(self.file, self._scores)
        self.classes: ClassTable = classes_from_dict(self._about["classes"], self.file)
        self.sampler, self.options = self._about["sampler"], self._about["sampler_options"]
        self._density = None
        if self._about.get("bands") is not None:
            line = f"{self.file}: bands in their own values need torch"
            raise SaccadeError(f"{line}; use saccade predict RUN --engine onnx")
        if self.sampler == "deformation":
            if self.options["grid"] not in RELAXED:
                line = f"{self.file}: {self.options['grid']} grids need torch"
                raise SaccadeError(f"{line}; use saccade predict RUN --engine onnx")
            self._density = session_of(self.file.with_suffix(".density.onnx"))
        mean, std = (np.asarray(self._about[name], np.float32) for name in ("mean", "std"))
        self._mean, self._std = mean.reshape(1, -1, 1, 1), std.reshape(1, -1, 1, 1)

    def predict(self, image: Path | str, **options: Any) -> NDArray[np.integer]:
        """Labels of an image file at full resolution: (H, W), the indices of the data set.

        Args:
            image: a path.
            **options: ``mode``, ``size``, ``pixels``, ``mpp``, ``gsd``, ``tile``, ``overlap``, ``skip``, as
                for :func:`saccade.predict`.

        Raises:
            FileProblem, InvalidInput, UsageError: as :func:`saccade.predict`.
        """
        with self._opened(Path(image)) as raster:
            answer = _Answer(self, raster, sampling_of(options))
            labels = np.concatenate([strip.labels for strip in answer.strips()])
        return Values(self.classes).of(labels)

    def predict_files(
        self, images: Sequence[Path], out: Path, *, overwrite: bool = False, **options: Any
    ) -> Iterator[Path | SaccadeError]:
        """Labels images, folders and lists into a folder, each in the format of its image; a fault of one
        image is handed back and does not stop the others.

        Args:
            images: paths.
            out: the folder, made where it is not there.
            overwrite: replace what is there.
            **options: as for :meth:`predict`.

        Yields:
            The path of the labels, or the fault, of each image.
        """
        sampling = sampling_of(options)
        jobs = list_jobs(images, out, ())
        make_folder(out)
        for job in jobs:
            try:
                yield self._predict_file(job, sampling, overwrite)
            except SaccadeError as fault:
                yield fault

    def _predict_file(self, listed: ListedJob, sampling: SamplingOptions, overwrite: bool) -> Path:
        values = Values(self.classes)
        with self._opened(listed.image) as raster:
            job: Job = listed.for_raster(raster)
            answer = _Answer(self, raster, sampling)
            if job.suffix == ".png":
                labels = np.concatenate([values.of(strip.labels) for strip in answer.strips()])
                write_label_png(job.labels, labels, values.palette, overwrite=overwrite)
                return job.labels
            gaps = sampling.skip and may_be_skipped(raster)
            output = values.labels_like(raster, OUTPUT_TILE, gaps=gaps)
            with RasterWriter(job.labels, output, overwrite=overwrite) as writer:
                for strip in answer.strips():
                    writer.append(values.of(strip.labels))
                writer.finish()
        return job.labels

    def _opened(self, image: Path) -> Raster:
        limits = self._about.get("value_range")
        return as_rgb(open_raster(image), value_range=None if limits is None else tuple(limits))

    def sizes_for(self, image: tuple[int, int]) -> dict[str, tuple[int, int]]:
        """(h, w) of views, thumbnail and density for an image of (H, W)."""
        names = ("size", "thumbnail_size", "density_size")
        sizes = {name: tuple(self._about[name]) for name in names if self._about.get(name) is not None}
        if self.options.get("fit"):
            return {name: Fit(*size).of(image) for name, size in sizes.items()}
        return sizes

    @property
    def range(self) -> SizeRange | None:
        """The budgets that it was trained for; None where it is one."""
        ends = self.options.get("smallest"), self.options.get("largest")
        return None if None in ends else SizeRange(tuple(ends[0]), tuple(ends[1]))

    @property
    def downsampling(self) -> float | None:
        """Pixels that a sample stood for along an axis in training."""
        return self._about["shrink"]

    def read(self, raster: Raster, region: Window, grid: Floats, *, antialias: bool) -> Floats:
        """(1, 3, h, w) normalised pixels of a region at a grid (h, w, 2)."""
        pixels = samples_at(raster, over_image(grid, region, raster.size)[None], antialias)
        return (pixels * np.float32(1 / WHITE) - self._mean) / self._std

    def grid(self, raster: Raster, region: Window, view: tuple[int, int], sizes: Mapping[str, Any]) -> Floats:
        """(h, w, 2) where to look in a region."""
        if self._density is None:
            return even_grid(view)
        thumbnail = self.read(raster, region, even_grid(sizes["thumbnail_size"]), antialias=True)
        density = self._density.run(None, {"pixels": thumbnail})[0][0, 0]
        density_size = sizes.get("density_size", density.shape)
        if density.shape != density_size:
            density = resized(density, density_size)
            density = density / density.sum()
        shares = {tuple(size): share for size, share in self._about.get("shares", ())}
        if shares:  # as saccade.samplers.deformation.evened
            share = np.float32(shares[nearest_size(shares, view)])
            density = share * density + (1 - share) * density.max()
        return elastic_nodes(density, view, self.options["floor"], RELAXED[self.options["grid"]])

    def scores(self, pixels: Floats) -> Floats:
        """(1, K, h, w) of normalised pixels."""
        return self._scores.run(None, {"pixels": pixels})[0]

    @property
    def antialias(self) -> bool:
        """Whether a sample is the mean over its footprint."""
        return self._about.get("antialias", True)


def session_of(file: Path) -> Any:
    """An onnxruntime session of a file, on the CPU.

    Raises:
        FileProblem: where it is not there, or is no ONNX file.
        SaccadeError: where onnxruntime is missing.
    """
    if not file.is_file():
        raise FileProblem(file, "an exported model", "no such file", "saccade export RUN model.onnx makes it")
    try:
        return onnx_session(str(file), threads())
    except ImportError as error:
        raise SaccadeError("this needs onnxruntime; pip install onnxruntime") from error
    except Exception as error:
        raise FileProblem(file, "an exported model", "no sound ONNX file") from error


NEEDED = ("classes", "mean", "std", "sampler", "sampler_options", "size", "shrink")


def _metadata(file: Path, session: Any) -> dict[str, Any]:
    metadata = session.get_modelmeta().custom_metadata_map
    about = {
        key.removeprefix("saccade."): json.loads(text)
        for key, text in metadata.items()
        if key[:8] == "saccade."
    }
    if any(name not in about for name in NEEDED) or about.get("output") != "scores":
        fix = "give the file that saccade export RUN wrote under its own name"
        raise FileProblem(file, "a segmenter that saccade exported", "another network", fix)
    return about


def over_image(grid: Floats, region: Window, size: tuple[int, int]) -> Floats:
    """A grid over a region as one over the whole image."""
    if region == Window.full(size):
        return grid
    full = np.array([max(size[1] - 1, 1), max(size[0] - 1, 1)], np.float64)
    sides = np.array([region.width - 1, region.height - 1], np.float64)
    corner = np.array([region.left, region.top], np.float64)
    places = ((grid.astype(np.float64) + 1) / 2 * sides + corner) / full * 2 - 1
    return places.clip(-1, 1).astype(np.float32)


@dataclass
class _Answer:
    """The labels of one image: patches for :func:`saccade.warp.stitch.strips`."""

    model: Model
    raster: Raster
    sampling: SamplingOptions

    probabilities = False

    def __post_init__(self) -> None:
        model, raster = self.model, self.raster
        self.size, self.classes = raster.size, len(model.classes)
        self.sizes = model.sizes_for(raster.size)
        trained = self.sizes["size"]
        self.layout: Layout = lay_out(raster.info, self.sampling, trained, model.downsampling, model.range)
        tiles = self.layout.tiling.windows
        skips = self.sampling.skip and self.layout.mode == "tiles"
        empty = set(empty_tiles(raster, tiles) if skips else ())
        self.regions = [tile for tile in tiles if tile not in empty]

    def strips(self) -> Iterator[Strip]:
        masked = self.sampling.skip and self.raster.info.masked
        gaps = [Measured(self.raster)] if masked else []
        for strip in strips(self, OUTPUT_TILE):
            yield with_gaps(strip, gaps, self.raster)

    def patches(self, numbers: Sequence[int]) -> list[Patch]:
        weights = self.layout.tiling.weights
        made = []
        for region in (self.regions[number] for number in numbers):
            grid = self.model.grid(self.raster, region, self.layout.view, self.sizes)
            pixels = self.model.read(self.raster, region, grid, antialias=self.model.antialias)
            scores = self.model.scores(pixels)[0]
            made.append(Patch(region, scores, grid, weights(region.top, 0), weights(region.left, 1)))
        return made
