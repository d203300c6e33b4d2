"""Scattered reading: the same values as sampling the image in memory, from the fewest tiles."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
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


def test_beside_a_mask_each_sample_is_the_exact_mean_of_its_footprint(tmp_path):
    pixels = scene((90, 120), dtype="float32")
    nodata = [(42113, "s", 0, "-1", True)]  # of which no pixel is
    kinds = {"tile": (32, 32), "photometric": "rgb", "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", pixels, extratags=nodata, **kinds)
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


@st.composite
def files(draw) -> tuple[np.ndarray, dict]:
    """An image of any size and type, and how a TIFF without levels stores it."""
    height, width = draw(st.integers(1, 300)), draw(st.integers(1, 400))
    seed, dtype = draw(st.integers(0, 999)), draw(st.sampled_from(["u1", "f4", "f8", "u2"]))
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(dtype)
    if dtype != "u1":
        pixels = (pixels * 37.3).astype(dtype)
    sides = st.integers(1, 8).map(lambda n: 16 * n)
    rows = st.integers(1, height)
    compression = {"compression": draw(st.sampled_from([None, "deflate"]))}
    stored = draw(st.one_of(st.tuples(sides, sides), rows))
    return pixels, compression | ({"tile": stored} if isinstance(stored, tuple) else {"rowsperstrip": stored})


@st.composite
def any_grids(draw) -> torch.Tensor:
    """(B, h, w, 2) even, bent, folded or without any order."""
    size, batch = (draw(st.integers(1, 40)), draw(st.integers(1, 40))), draw(st.integers(1, 2))
    kind, generator = draw(st.integers(0, 3)), torch.Generator().manual_seed(draw(st.integers(0, 999)))
    grid = grid_at(size, [1.0, 1.8, 1.0, 1.0][kind], draw(st.sampled_from([1.0, 0.2])))
    noise = torch.randn(batch, *size, 2, generator=generator)
    return (grid + noise * [0, 0, 0.05, 2][kind]).clamp(-1, 1)


@given(files(), any_grids(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_file_without_levels_gives_the_bits_of_the_image_in_memory(
    tmp_path_factory, file, grids, antialias
):
    pixels, options = file
    path = tmp_path_factory.mktemp("any") / "a.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", metadata=None, **options)
    image = torch.from_numpy(pixels.astype("i4") if pixels.dtype == "u2" else pixels).permute(2, 0, 1)[None]
    with open_raster(path) as raster:
        read = sample_raster(raster, grids, antialias=antialias)
    expected = sample(Pyramid.of(image), grids, antialias=antialias)
    assert torch.equal(read, expected.float())


@pytest.mark.parametrize("tile", [(16, 16), (48, 80), (256, 256), (240, 112)])
def test_any_tiles_copies_in_parts_and_threads_give_the_same_bits(tile, tmp_path, monkeypatch):
    pixels = scene((700, 900))
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=tile, photometric="rgb", metadata=None)
    image = torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy())
    threads = torch.get_num_threads()
    for size, bend in (((90, 110), 1.7), ((5, 3), 1), ((1, 40), 1)):
        expected = sample(Pyramid.of(image), grid_at(size, bend), antialias=True)
        for count, held in ((1, 64 << 20), (2, 1 << 14)):
            monkeypatch.setattr("saccade.rasters.sample.PATCH_BYTES", held)
            torch.set_num_threads(count)
            try:
                with open_raster(tmp_path / "a.tif") as raster:
                    assert torch.equal(sample_raster(raster, grid_at(size, bend)), expected)
            finally:
                torch.set_num_threads(threads)


def test_a_file_without_levels_is_read_once_where_samples_lie(tmp_path):
    pixels = scene((512, 768))
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(64, 64), photometric="rgb", metadata=None)
    with Watched(open_raster(tmp_path / "a.tif")) as raster:
        sample_raster(raster, grid_at((80, 80), 1, 0.2))
    read = np.zeros((512, 768), int)
    for _, window in raster.reads:
        read[window.slices] += 1
    assert read.max() == 1 and not read[:192].any() and not read[:, :300].any()


def test_values_that_are_not_finite_count_nowhere(tmp_path):
    pixels = scene((120, 160), dtype="float32")
    holes = pixels.copy()
    holes[30:50, 40:90], holes[100, 100, 1] = np.nan, np.inf
    tifffile.imwrite(tmp_path / "a.tif", holes, tile=(32, 32), photometric="rgb", metadata=None)
    grid = grid_at((30, 40))
    with open_raster(tmp_path / "a.tif") as raster:
        read = sample_raster(raster, grid)
    inside = sample(Pyramid.of(torch.from_numpy(holes.transpose(2, 0, 1)[None])), grid, antialias=True)
    touched = ~inside.isfinite().all(1, keepdim=True).expand_as(inside)
    assert read.isfinite().all() and 100 < touched.sum() < read.numel()
    assert torch.equal(read[~touched], inside[~touched])
    assert (read[:, :, 8:12, 13:20] == 0).all()  # nothing but holes
    assert read.max() <= pixels.max()


def test_palette_indices_are_refused(tmp_path):
    Image.new("P", (9, 9)).save(tmp_path / "a.png")
    with open_raster(tmp_path / "a.png") as raster, pytest.raises(InvalidInput, match="as_rgb"):
        sample_raster(raster, grid_at((4, 4)))


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
