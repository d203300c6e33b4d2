"""The patches of an image: one view of the whole, or one of each tile."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import groupby
from typing import Any

from saccade.errors import UsageError
from saccade.inference.look import Looked, look
from saccade.inference.patches import Patch, one_patch
from saccade.inference.source import Source
from saccade.inference.tiling import Tiling
from saccade.rasters import Window
from saccade.samplers import Views
from saccade.segmenter import Segmenter

OnLook = Callable[[Sequence[Window], Looked], None]
"""Told of regions and what was found there."""


class TilePatches:
    """Tiles, each with a view of its own.

    Args:
        segmenter: in evaluation mode, with a sampler that proposes one view an image.
        source: the image.
        tiling: where the tiles are; a single one is the whole image.
        classes: K.
        view: (h, w) of each view.
        skip: tiles to leave out.
        batch: views that go through the networks together; never tiles of two rows, so that what goes
            together does not depend on where the work began.
        on_look: told of what was found.
    """

    shares = False

    def __init__(
        self,
        segmenter: Segmenter,
        source: Source,
        tiling: Tiling,
        classes: int,
        *,
        view: tuple[int, int],
        skip: Collection[Window] = (),
        batch: int = 1,
        on_look: OnLook | None = None,
    ) -> None:
        self.segmenter, self.source, self.tiling, self.classes = segmenter, source, tiling, classes
        self.view, self.batch, self.on_look = view, batch, on_look
        self.size = tiling.size
        self.regions = [region for region in tiling.windows if region not in set(skip)]

    def look(self, numbers: Sequence[int]) -> list[Patch]:
        regions = [self.regions[n] for n in numbers]
        rows = [list(row) for _, row in groupby(regions, key=lambda region: region.top)]
        return [patch for row in rows for patch in self._look_at_row(row)]

    def _look_at_row(self, regions: list[Window]) -> list[Patch]:
        found = look(self.segmenter, self.source, regions, view=self.view, batch=self.batch)
        if self.on_look is not None:
            self.on_look(regions, found)
        return [
            Patch(
                region,
                found.scores[n],
                found.grids[n],
                self.tiling.weights(region.top, 0),
                self.tiling.weights(region.left, 1),
            )
            for n, region in enumerate(regions)
        ]


class OwnPatches:
    """The patches of a sampler that chooses them itself, from the plain numbers that it gives.

    Args:
        chosen: what the sampler's ``patches(segmenter, source)`` returned: see docs/predict.md.
        size: (H, W) of the image.
        classes: K.
    """

    def __init__(self, chosen: Any, size: tuple[int, int], classes: int) -> None:
        self.chosen, self.size, self.classes = chosen, size, classes
        self.regions = [Window(*(int(side) for side in region)) for region in chosen.regions]
        self.shares = bool(getattr(chosen, "shares", False))

    def look(self, numbers: Sequence[int]) -> list[Patch]:
        scores, grids = self.chosen.look(list(numbers))
        triples = zip(scores.float().cpu(), grids.cpu(), numbers, strict=True)
        return [one_patch(score, grid, self.regions[n]) for score, grid, n in triples]

    def seen(self) -> Views:
        """Where it looked, over the whole image.

        Raises:
            UsageError: when the sampler does not tell.
        """
        if not hasattr(self.chosen, "seen"):
            raise UsageError("this run's sampler does not tell where it looks; leave samples and density out")
        views: Views = self.chosen.seen()
        return views


def own_patches(segmenter: Segmenter, source: Source, classes: int) -> OwnPatches | None:
    """The patches of a sampler that proposes many views an image and says so by a method
    ``patches(segmenter, source)``; None for one that proposes one view of whatever it is shown."""
    choose: Any = getattr(segmenter.sampler, "patches", None)
    return None if choose is None else OwnPatches(choose(segmenter, source), source.size, classes)


def chooses_patches(segmenter: Segmenter) -> bool:
    """Whether the sampler has a method ``patches``."""
    return hasattr(segmenter.sampler, "patches")
