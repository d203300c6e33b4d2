"""What comes out of patches: the same however it is cut, and what a full-size array of scores would give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from inference_files import bent, picture, segmenter

from saccade.geometry import Tiling, Window
from saccade.samplers.image_scores import TiledScores, TileRequest
from saccade.segmenter import Segmenter
from saccade.sources import MemorySource
from saccade.warp import Pyramid
from saccade.warp.stitch import strips
from saccade.warp.unwarping import unwarp

SIZE = (150, 190)


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The images are tiny."""


def source(size: tuple[int, int] = SIZE, sigma: float = 6) -> MemorySource:
    return MemorySource(Pyramid.of(torch.from_numpy(picture(size, sigma=sigma)).permute(2, 0, 1)[None]))


def scored(
    model: Segmenter,
    image: MemorySource,
    tiling: Tiling,
    view=(24, 32),
    kind: type[TiledScores] = TiledScores,
    **options,
) -> TiledScores:
    return kind(model.sampler, model.view(image), TileRequest(tiling, 3, view, **options))


def tiled(overlap: float = 0.25, tile: tuple[int, int] = (70, 80), **options) -> TiledScores:
    return scored(bent(), source(), Tiling(SIZE, tile, overlap), **options)


def joined(patches, rows: int, start: int = 0) -> np.ndarray:
    return np.concatenate([strip.labels for strip in strips(patches, rows, start=start)])


def test_one_patch_of_the_whole_is_what_the_segmenter_predicts() -> None:
    whole = scored(bent(), source(), Tiling(SIZE, SIZE))
    image = torch.from_numpy(picture(SIZE)).permute(2, 0, 1)
    np.testing.assert_array_equal(joined(whole, 40), bent().predict(image).numpy())


def test_overlapping_tiles_are_the_highest_weighted_sum_of_their_scores() -> None:
    patches = tiled()
    total = torch.zeros(3, *SIZE, dtype=torch.float64)
    for patch in patches.patches(range(len(patches.regions))):
        full = unwarp(patch.scores[None], patch.grid[None], patch.region.size)[0].double()
        total[:, patch.region.slices[0], patch.region.slices[1]] += full * torch.from_numpy(
            np.outer(patch.rows, patch.columns)
        )
    best = total.topk(2, 0).values
    sure = ((best[0] - best[1]) > 1e-4).numpy()
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(joined(tiled(), 64)[sure], total.argmax(0).numpy()[sure])


@pytest.mark.parametrize("rows", [1, 13, 64, 150])
def test_labels_do_not_depend_on_the_bands(rows: int) -> None:
    np.testing.assert_array_equal(joined(tiled(), rows), joined(tiled(), 512))


def test_labels_do_not_depend_on_the_order_of_the_tiles() -> None:
    class Backwards(TiledScores):
        def patches(self, numbers):
            return [super(Backwards, self).patches([n])[0] for n in reversed(numbers)][::-1]

    other = scored(bent(), source(), Tiling(SIZE, (70, 80), 0.25), kind=Backwards)
    np.testing.assert_array_equal(joined(other, 20), joined(tiled(), 150))


@pytest.mark.parametrize("start", [1, 64, 128])
def test_going_on_from_a_row_gives_the_rest(start: int) -> None:
    np.testing.assert_array_equal(joined(tiled(), 32, start), joined(tiled(), 512)[start:])


def test_a_tile_is_scored_once_and_only_when_its_rows_come() -> None:
    seen: list[Window] = []

    class Watched(TiledScores):
        def _score(self, regions):
            seen.extend(regions)
            return super()._score(regions)

    patches = scored(bent(), source(), Tiling(SIZE, (70, 80), 0.25), kind=Watched)
    made = strips(patches, 10)
    next(made)
    assert {region.top for region in seen} == {0}
    list(made)
    assert seen == patches.regions


def test_tiles_that_are_skipped_leave_what_no_other_tile_holds() -> None:
    everything = tiled()
    patches = tiled(skip=tuple(everything.regions[:2]))
    labels = joined(patches, 50)
    held = np.zeros(SIZE, bool)
    for region in patches.regions:
        held[region.slices] = True
    assert ((labels == 255) == ~held).all() and (~held).any()


def test_scores_are_shares_whose_highest_is_the_label() -> None:
    for strip in strips(tiled(), 64, scores=True):
        assert strip.scores.dtype == np.uint8 and strip.scores.shape == (*strip.labels.shape, 3)
        assert abs(strip.scores.sum(2, dtype=int) - 255).max() <= 2
        chosen = np.take_along_axis(strip.scores, strip.labels[..., None].astype(int), 2)[..., 0]
        assert (chosen >= strip.scores.max(2) - 1).all()


def test_blending_lowers_the_error_along_seams() -> None:
    """Against one uniform view of the same spacing: only context at the tiles' borders differs."""
    size = (256, 256)
    uniform = segmenter()
    image = source(size, sigma=16)
    whole = scored(uniform, image, Tiling(size, size), (64, 64))
    untiled = joined(whole, 256)
    wrong = {}
    for overlap in (0.0, 0.25):
        patches = scored(uniform, image, Tiling(size, (128, 128), overlap), (32, 32))
        wrong[overlap] = (joined(patches, 256) != untiled).mean()
    assert wrong[0.25] < 0.6 * wrong[0.0]
    assert wrong[0.25] < 0.05


def test_kept_places_of_samples_do_not_keep_their_scores() -> None:
    patches = tiled(keep_grids=True)
    joined(patches, 64)
    nodes = patches.nodes().values()
    assert len(nodes) == 9
    assert all(node.scores.untyped_storage().nbytes() == 0 for node in nodes)
