"""What is written beside the labels: scores and density, pictures, polygons."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from saccade.errors import UsageError
from saccade.figures import Picture, density_picture, overlay, samples_on
from saccade.geometry import Window, fitted_size
from saccade.inference.files import Job
from saccade.inference.writers import Values
from saccade.rasters import Output, Raster, RasterWriter, open_raster, thumbnail, write_polygons
from saccade.rasters.raster import Level, RasterInfo
from saccade.runtime.files import finished_file
from saccade.samplers.base import ImageScores

PICTURE_SIDE = 2048
"""The longer side of pictures of images whose labels are not a PNG."""

NO_DENSITY = "this run's sampler predicts no density; leave density out of --save"


@dataclass
class Extras:
    """Writes the extras of one image once its labels are there; use it in a ``with`` statement.

    Labels that were streamed to a file are opened once for all extras.

    Attributes:
        raster: the image as 8-bit RGB.
        scores: of it.
        job: what is written where.
        values: what the pixels of the labels mean.
        overwrite: replace what is there.
        labels: (H, W) uint8 class ids, 255 unlabelled, where they are in memory.
    """

    raster: Raster
    scores: ImageScores
    job: Job
    values: Values
    overwrite: bool
    labels: NDArray[np.uint8] | None = None
    _written: Raster | None = field(default=None, init=False)

    def save(self, name: str) -> None:
        """Writes one of the extras."""
        png = self.job.suffix == ".png"
        if name == "polygons":
            self._polygons()
        elif name == "scores":
            if png:
                self._scores_npz()
        elif name == "density" and not png:
            self._density_raster()
        else:
            self._picture(name)

    def __enter__(self) -> Extras:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._written is not None:
            self._written.close()

    def _label_raster(self) -> Raster:
        """The labels as values: in memory, or the file that they were streamed to."""
        if self._written is None:
            if self.labels is None:
                self._written = open_raster(self.job.labels)
            else:
                self._written = LabelArray(self.job.labels, self.values.of(self.labels))
        return self._written

    def _polygons(self) -> None:
        write_polygons(
            self.job.extra("polygons"),
            self._label_raster(),
            names=self.values.names,
            palette=self.values.palette,
            skip={self.values.fill_value},
            origin=self.raster.info.origin,
            overwrite=self.overwrite,
        )

    def _scores_npz(self) -> None:
        """Scores (K, h, w) float16 and their grid (h, w, 2): with ``size`` all that :func:`saccade.unwarp`
        needs to give them at any resolution. Of tiles: (V, K, h, w), (V, h, w, 2), and regions (V, 4)."""
        nodes = self.scores.nodes()
        scores = torch.cat([found.scores for found in nodes.values()]).numpy().astype(np.float16)
        grids = torch.cat([found.grid for found in nodes.values()]).numpy()
        size = np.array(self.raster.size)
        arrays: dict[str, Any] = {"scores": scores, "grid": grids, "size": size}
        if [region.size for region in nodes] == [self.raster.size]:
            arrays = {"scores": scores[0], "grid": grids[0], "size": size}
        else:
            arrays["regions"] = np.array([(r.top, r.bottom, r.left, r.right) for r in nodes]).reshape(-1, 4)
        path = self.job.extra("scores")
        with finished_file(path, overwrite=self.overwrite) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)

    def _density_raster(self) -> None:
        views = self.scores.glimpses()
        if views.density is None:
            raise UsageError(NO_DENSITY)
        array = views.density[0, 0].numpy().astype(np.float32)
        scale = [full / small for full, small in zip(self.raster.size, array.shape, strict=True)]
        like = Output.like(self.raster, "density", dtype="float32")
        place: dict[str, Any] = {"size": array.shape}
        if like.pixel_size is not None:
            y, x = like.pixel_size.y * scale[0], like.pixel_size.x * scale[1]
            place["pixel_size"] = replace(like.pixel_size, y=y, x=x)
        if like.transform is not None:
            a, b, c, d, e, f = like.transform
            place["transform"] = (a * scale[1], b * scale[0], c, d * scale[1], e * scale[0], f)
        with RasterWriter(
            self.job.extra("density"), replace(like, **place), overwrite=self.overwrite
        ) as writer:
            writer.append(array)
            writer.finish()

    def _picture(self, name: str) -> None:
        """Writes STEM_NAME.png for one of "overlay", "samples", "density"."""
        picture = self._draw(name)
        with finished_file(self.job.extra(name), overwrite=self.overwrite) as temporary:
            Image.fromarray(picture).save(temporary, format="PNG")

    def _draw(self, name: str) -> Picture:
        size = self.raster.size if self.labels is not None else fitted_size(self.raster.size, PICTURE_SIDE)
        if name == "density":
            density = self.scores.glimpses().density
            if density is None:
                raise UsageError(NO_DENSITY)
            return density_picture(density[0, 0].numpy(), size)
        image = self.raster.read() if self.labels is not None else thumbnail(self.raster, size)
        if name == "samples":
            return samples_on(image, self.scores.glimpses().grids.flatten(0, 1).numpy())
        labels = self.labels if self.labels is not None else self._small_labels(size)
        return overlay(image, labels, np.asarray(self.values.classes.colours, np.uint8))

    def _small_labels(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """(h, w) class ids at the centres of the pixels of a picture, read a few rows at a time."""
        raster = self._label_raster()
        fine = [n for n, level in enumerate(raster.levels) if level.size >= size]
        level = fine[-1] if fine else 0
        full = raster.levels[level].size
        lines, columns = (
            ((np.arange(n) + 0.5) * whole / n).astype(int) for n, whole in zip(size, full, strict=True)
        )
        step = max(1, (1 << 24) // full[1])
        rows = [
            raster.read(Window(int(some[0]), int(some[-1]) + 1, 0, full[1]), level)[..., 0][
                np.ix_(some - some[0], columns)
            ]
            for some in np.array_split(lines, ceil(full[0] / step))
            if len(some)
        ]
        return self.values.ids(np.concatenate(rows))


class LabelArray(Raster):
    """Labels (H, W) in memory, as what was written of them at ``path`` would be read."""

    def __init__(self, path: Path, labels: NDArray[np.integer]) -> None:
        level = Level.of(labels.shape, labels.shape, (512, 512))
        super().__init__(RasterInfo(path, (level,), labels.dtype, 1, "grey"))
        self._labels = labels

    def _read(self, window: Window, level: int) -> NDArray[np.integer]:
        return self._labels[window.slices][..., None]

    def close(self) -> None:
        """Nothing is open."""
