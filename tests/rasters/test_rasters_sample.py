"""Scattered reading: the same values as sampling the image in memory, from the fewest tiles."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch
from raster_files import halved, scene

from saccade.errors import InvalidInput
from saccade.grids.diagnostics import footprints
from saccade.rasters import Raster, open_raster, sample_raster
from saccade.warp import Pyramid, sample


class Watched(Raster):
    """A raster that notes what is read of it."""

    def __init__(self, raster: Raster) -> None:
        super().__init__(raster.info)
        self.raster, self.reads = raster, []

    def _read(self, window, level):
        self.reads.append((level, window))
        return self.raster.read(window, level)

    def close(self):
        self.raster.close()


def grid_at(size: tuple[int, int], bend: float = 1.0, span: float = 1.0) -> torch.Tensor:
    """(1, h, w, 2), denser towards the middle for ``bend`` > 1, over the middle ``span`` of the image."""
    ys, xs = (torch.linspace(-1, 1, side) for side in size)
    grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1)[None]
    return grid.sign() * grid.abs() ** bend * span


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory):
    """(path, the image in memory): a file whose levels are those of saccade.warp.Pyramid."""
    path, levels = tmp_path_factory.mktemp("s") / "p.tif", [scene((512, 768))]
    while len(levels) < 8:
        levels.append(halved(levels[-1]))
    with tifffile.TiffWriter(path) as file:
        for number, level in enumerate(levels):
            first = {"subifds": 7} if number == 0 else {"subfiletype": 1}
            file.write(level, tile=(64, 64), photometric="rgb", **first)
    return path, torch.from_numpy(levels[0].transpose(2, 0, 1)[None].copy())


@pytest.mark.parametrize(
    ("size", "bend", "span"),
    [
        ((16, 24), 1, 1),
        ((64, 64), 1.8, 1),
        ((300, 200), 1, 1),
        ((40, 40), 1, 0.1),
        ((7, 90), 2.5, 1),
        ((1, 5), 1, 1),
    ],
)
def test_it_equals_sampling_in_memory(pyramid, size, bend, span):
    path, image = pyramid
    grid = grid_at(size, bend, span)
    with open_raster(path) as raster:
        found = sample_raster(raster, grid)
    expected = sample(Pyramid.of(image), grid, antialias=True)
    assert found.shape == expected.shape and found.dtype == torch.float32
    assert (found - expected).abs().max() <= 1.0  # levels hold 8-bit values: each rounding costs up to a half
    assert (found - expected).abs().mean() < 0.2


def test_without_levels_each_sample_is_the_exact_mean_of_its_footprint(tmp_path):
    pixels = scene((90, 120), dtype="float32")
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(32, 32), photometric="rgb", metadata=None)
    grid = grid_at((9, 11), 1.5)
    with open_raster(tmp_path / "a.tif") as raster:
        found = sample_raster(raster, grid)[0].permute(1, 2, 0).numpy()
    centres = ((grid.double() + 1) / 2 * torch.tensor([119, 89]) + 0.5)[0].numpy()
    lengths = footprints(grid.double(), (90, 120)).clamp(min=1)[0].numpy()
    level = np.maximum(np.floor(np.log2(lengths.min(-1))) - 1, np.ceil(np.log2(lengths.max(-1) / 32))).clip(0)
    half = np.maximum(lengths, 2.0 ** level[..., None]) / 2
    for row in range(9):
        for column in range(11):
            weights = []
            for axis, side in ((1, 90), (0, 120)):
                centre, reach = centres[row, column, axis], half[row, column, axis]
                low, high, pixel = max(centre - reach, 0), min(centre + reach, side), np.arange(side)
                weights.append((np.minimum(high, pixel + 1) - np.maximum(low, pixel)).clip(0))
            weight = weights[0][:, None] * weights[1]
            mean = (pixels * weight[..., None]).sum((0, 1)) / weight.sum()
            np.testing.assert_allclose(found[row, column], mean, atol=1e-6)


def test_no_tile_is_read_twice_and_none_without_a_sample(pyramid):
    path, _ = pyramid
    with Watched(open_raster(path)) as raster:
        sample_raster(raster, grid_at((80, 80), 1, 0.2))
    assert len(raster.reads) == len(set(raster.reads))
    assert all(level == 0 for level, _ in raster.reads)
    read = np.zeros((512, 768), int)
    for _, window in raster.reads:
        read[window.slices] += 1
    assert read.max() == 1
    assert not read[:128].any() and not read[:, :256].any() and not read[384:].any()


def test_a_wide_view_reads_only_a_coarse_level(pyramid):
    path, _ = pyramid
    with Watched(open_raster(path)) as raster:
        sample_raster(raster, grid_at((16, 16)))
    assert {level for level, _ in raster.reads} == {4}


def test_several_grids_read_one_raster(pyramid):
    path, _ = pyramid
    grids = torch.cat([grid_at((20, 30)), grid_at((20, 30), 2.0)])
    with open_raster(path) as raster:
        both = sample_raster(raster, grids)
        for number in range(2):
            torch.testing.assert_close(both[number], sample_raster(raster, grids[number : number + 1])[0])


def test_the_number_of_threads_does_not_change_a_bit(pyramid):
    path, _ = pyramid
    threads = torch.get_num_threads()
    results = []
    for count in (1, 2):
        torch.set_num_threads(count)
        try:
            with open_raster(path) as raster:
                results.append(sample_raster(raster, grid_at((70, 50), 1.7)))
        finally:
            torch.set_num_threads(threads)
    assert torch.equal(*results)


@pytest.mark.parametrize(
    "name", ["slide", "geotiff with thumbnails", "ome-zarr", "png rgb", "tiff one strip lzw"]
)
def test_every_format_can_be_sampled(made, name):
    sample_file = made(name)
    image = torch.from_numpy(sample_file.levels[0].transpose(2, 0, 1)[None].copy())
    grid = grid_at((50, 60), 1, 0.3)
    with open_raster(sample_file.path) as raster:
        found = sample_raster(raster, grid)
    if name != "geotiff with thumbnails":  # whose nodata counts nowhere
        torch.testing.assert_close(found, sample(image, grid, antialias=True), atol=0.02, rtol=0)
    assert found.shape == (1, 3, 50, 60)


@pytest.mark.parametrize(
    "grid", [torch.zeros(1, 4, 4, 3), torch.full((1, 4, 4, 2), 2.0), torch.full((1, 2, 2, 2), torch.nan)]
)
def test_a_wrong_grid_is_refused(grid, made):
    with open_raster(made("tiff tiles").path) as raster, pytest.raises(InvalidInput, match="grid"):
        sample_raster(raster, grid)
