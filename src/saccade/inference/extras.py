"""What is written beside the labels: scores and density, pictures, polygons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saccade.data.classes import ClassTable
from saccade.errors import UsageError
from saccade.geometry import Window
from saccade.grids import uniform_grid
from saccade.inference.files import PICTURES, Job
from saccade.inference.regions import Looked, OwnPatches, TilePatches, propose, whole_image
from saccade.inference.writers import Values
from saccade.rasters import Output, Raster, RasterWriter, open_raster, thumbnail, write_polygons
from saccade.runtime.files import finished_file
from saccade.samplers import Glimpses
from saccade.segmenter import Prediction
from saccade.warp.stitch import Patch, RasterisedPatch, blend

PICTURE_SIDE = 2048
"""The longer side of pictures of images whose labels are not a PNG."""


@dataclass(frozen=True)
class Answer:
    """What a segmenter says of one image, for pictures.

    Attributes:
        image: (H, W, 3) uint8; smaller than the image where that is huge.
        labels: (H, W) uint8 class ids, of the same size; 255 where nobody looked.
        found: scores, and views with one grid of all samples, over the whole image.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    found: Prediction


Draw = Callable[[str, Answer, Job, ClassTable, bool], None]
"""Draws a picture of an answer: its name, the answer, the job, the classes, whether to overwrite."""


class Kept:
    """What was found in each region, as far as the extras need it."""

    def __init__(self, extras: Sequence[str], suffix: str) -> None:
        self._scores = "scores" in extras and suffix == ".png"
        self._grids = self._scores or "samples" in extras or "density" in extras
        self.found: dict[Window, Looked] = {}

    def keep(self, regions: Sequence[Window], found: Looked) -> None:
        if not self._grids:
            return
        for n, region in enumerate(regions):
            density = None if found.density is None else found.density[n : n + 1]
            scores = found.scores[n : n + 1] if self._scores else found.scores[:0]
            self.found[region] = Looked(scores, found.grids[n : n + 1], density)

    def all_of(self, patches: TilePatches) -> dict[Window, Looked]:
        """Every region; what an earlier run looked at is proposed again, without the network."""
        for region in patches.regions:
            if region not in self.found:
                grids, density = propose(patches.segmenter, patches.source, [region], patches.view)
                self.found[region] = Looked(grids.new_empty(0, 0, 0, 0), grids, density)
        return {region: self.found[region] for region in patches.regions}


@dataclass(frozen=True)
class Extras:
    """Writes the extras of one image once its labels are there."""

    raster: Raster
    patches: TilePatches | OwnPatches
    kept: Kept
    job: Job
    values: Values
    overwrite: bool
    draw: Draw | None

    def save(self, name: str, labels: NDArray[np.uint8] | None) -> None:
        """One of the extras; ``labels`` (H, W) where they are in memory."""
        png = self.job.suffix == ".png"
        if name == "polygons":
            self._polygons()
        elif name == "scores":
            if png:
                self._scores_npz()
        elif name == "density" and not png:
            self._density_raster()
        else:
            self._picture(name, labels)

    def _polygons(self) -> None:
        with open_raster(self.job.labels) as labels:
            write_polygons(
                self.job.extra("polygons"),
                labels,
                names=self.values.names,
                palette=self.values.palette,
                skip={self.values.nothing},
                origin=self.raster.info.origin,
                overwrite=self.overwrite,
            )

    def _scores_npz(self) -> None:
        """Scores (K, h, w) float16 and their grid (h, w, 2): with ``size`` all that :func:`saccade.unwarp`
        needs to give them at any resolution. Of tiles: (V, K, h, w), (V, h, w, 2), and regions (V, 4)."""
        found = self._looked()
        scores = torch.cat([one.scores for one in found.values()]).numpy().astype(np.float16)
        grids = torch.cat([one.grids for one in found.values()]).numpy()
        size = np.array(self.raster.size)
        arrays: dict[str, Any] = {"scores": scores, "grid": grids, "size": size}
        if [region.size for region in found] == [self.raster.size]:
            arrays = {"scores": scores[0], "grid": grids[0], "size": size}
        else:
            arrays["regions"] = np.array([(r.top, r.bottom, r.left, r.right) for r in found]).reshape(-1, 4)
        path = self.job.extra("scores")
        with finished_file(path, overwrite=self.overwrite) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)

    def _looked(self) -> dict[Window, Looked]:
        if not isinstance(self.patches, TilePatches):
            raise UsageError("scores of a sampler that chooses its own patches are kept by rasters alone")
        return self.kept.all_of(self.patches)

    def _views(self) -> Glimpses:
        """One grid of all samples over the whole image, and the density of all of it."""
        if not isinstance(self.patches, TilePatches):
            return self.patches.seen()
        found = self._looked()
        if not found:
            return Glimpses(torch.zeros(1, 1, 1, 2), torch.zeros(1, dtype=torch.int64))
        grids = torch.cat([one.grids for one in found.values()])
        full = whole_image(grids, list(found), self.raster.size)
        density = self._density(found)
        shown = None if density is None else density[None, None]
        return Glimpses(full.flatten(0, 1)[None], torch.zeros(1, dtype=torch.int64), shown)

    def _density(self, found: dict[Window, Looked]) -> Tensor | None:
        """(h, w) float32 density of the whole image on one raster: 1 on average over each region."""
        known = {region: one.density for region, one in found.items() if one.density is not None}
        if not known:
            return None
        region, one = next(iter(known.items()))
        if len(known) == 1 and region.size == self.raster.size:
            return one[0, 0]
        steps = region.height / one.shape[2], region.width / one.shape[3]
        size = [ceil(full / step) for full, step in zip(self.raster.size, steps, strict=True)]
        patches = [self._density_patch(region, one, steps) for region, one in known.items()]
        return _by_rows(patches, (size[0], size[1]))

    def _density_patch(self, region: Window, density: Tensor, steps: tuple[float, float]) -> Patch:
        rows, columns = density.shape[2:]
        top, left = int(region.top / steps[0]), int(region.left / steps[1])
        where = Window(top, top + rows, left, left + columns)
        assert isinstance(self.patches, TilePatches)
        weights = (
            self.patches.tiling.weights(start, axis)[((np.arange(count) + 0.5) * side / count).astype(int)]
            for start, axis, count, side in (
                (region.top, 0, rows, region.height),
                (region.left, 1, columns, region.width),
            )
        )
        grid = uniform_grid((rows, columns))[0]
        return Patch(where, density[0] * (rows * columns), grid, next(weights), next(weights))

    def _density_raster(self) -> None:
        views = self._views()
        if views.density is None:
            raise UsageError("this run's sampler predicts no density; leave density out of --save")
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

    def _picture(self, name: str, labels: NDArray[np.uint8] | None) -> None:
        assert self.draw is not None  # the caller gives one where pictures are wanted
        if labels is None:
            image, labels = self._small()
        else:
            image = self.raster.read()
        views = self._views() if name != "overlay" else _NO_VIEWS
        found = Prediction(torch.zeros(1, 1, 1, 1), views)
        self.draw(name, Answer(image, labels, found), self.job, self.values.classes, self.overwrite)

    def _small(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The image and its labels, at most ``PICTURE_SIDE`` pixels long."""
        scale = max(1.0, max(self.raster.size) / PICTURE_SIDE)
        size = (max(1, int(self.raster.size[0] / scale)), max(1, int(self.raster.size[1] / scale)))
        image = thumbnail(self.raster, size)
        with open_raster(self.job.labels) as raster:
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
        return image, self.values.ids(np.concatenate(rows))


_NO_VIEWS = Glimpses(torch.zeros(1, 1, 1, 2), torch.zeros(1, dtype=torch.int64))


def _by_rows(patches: list[Patch], size: tuple[int, int]) -> Tensor:
    """Blended values (h, w) of patches of one class each."""
    out, rasterised = torch.zeros(size), [RasterisedPatch(patch) for patch in patches]
    for top in range(0, size[0], 256):
        window = Window(top, min(top + 256, size[0]), 0, size[1])
        here = [patch for patch in rasterised if patch.region.intersection(window)]
        if here:
            total, weights = blend(here, window)
            out[window.slices] = torch.from_numpy(total[0] / np.maximum(weights, 1e-30))
    return out


def needs_drawing(job: Job) -> bool:
    """Whether some extra is a picture."""
    return any(name in PICTURES or (name == "density" and job.suffix == ".png") for name in job.extras)
