"""Tiles: their geometry, what they show, and the cache."""

from __future__ import annotations

import io
import threading
import time

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from saccade.geometry import Window
from saccade.rasters import as_rgb, open_raster
from saccade.rasters.raster import Level
from saccade.viewer.planes import PointPlane, RasterPlane
from saccade.viewer.reduced import ReducedCopy
from saccade.viewer.tiles import TILE, Tile, TileCache, depth, encoded, patch_of


@given(st.integers(1, 70_000), st.integers(1, 70_000), st.integers(0, 9))
def test_tiles_of_every_z_cover_the_image_once(rows, columns, z):
    size = rows, columns
    if z > depth(size):
        assert patch_of(size, z, 0, 0) is None
        return
    across, down = -(-columns // (TILE << z)), -(-rows // (TILE << z))
    edge = [patch_of(size, z, x, 0) for x in range(across)]
    assert [p.window.left for p in edge[1:]] == [p.window.right for p in edge[:-1]]
    assert edge[0].window.left == 0 and edge[-1].window.right == columns
    assert patch_of(size, z, across, 0) is None and patch_of(size, z, 0, down) is None
    assert patch_of(size, z, across - 1, down - 1).window.bottom == rows
    assert all(max(p.size) <= TILE for p in edge)
    assert patch_of(size, depth(size), 1, 0) is None and patch_of(size, depth(size), 0, 1) is None


@pytest.fixture
def picture() -> np.ndarray:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (45, 70, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((1400, 900), Image.Resampling.BICUBIC))


def shown(plane: RasterPlane, size: tuple[int, int], z: int, x: int, y: int) -> np.ndarray:
    return plane.draw(patch_of(size, z, x, y)).pixels


def test_a_tile_of_the_full_resolution_is_the_pixels_themselves(picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "a.png")
    with open_raster(tmp_path / "a.png") as raster:
        plane = RasterPlane(as_rgb(raster), raster.size)
        assert np.array_equal(shown(plane, raster.size, 0, 1, 1), picture[512:900, 512:1024])


@pytest.mark.parametrize("levels", [0, 2])
def test_a_coarser_tile_is_the_mean_of_its_pixels(picture, tmp_path, levels):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(picture, tile=(128, 128), photometric="rgb", subifds=levels)
        for level in range(levels):
            step = 2 ** (level + 1)
            reduced = np.asarray(
                Image.fromarray(picture).resize((1400 // step, 900 // step), Image.Resampling.BOX)
            )
            writer.write(reduced, tile=(128, 128), photometric="rgb", subfiletype=1)
    with open_raster(path) as raster:
        plane = RasterPlane(as_rgb(raster), raster.size)
        found = shown(plane, raster.size, 2, 0, 0)
    assert found.shape == (225, 350, 3)
    means = picture.reshape(225, 4, 350, 4, 3).mean((1, 3))
    assert np.abs(found.astype(float) - means).max() <= 2


def test_labels_are_taken_never_mixed(tmp_path):
    labels = np.zeros((1000, 1500), np.uint8)
    labels[:, ::2], labels[500:, :] = 7, 200
    tifffile.imwrite(tmp_path / "l.tif", labels, tile=(256, 256))
    with open_raster(tmp_path / "l.tif") as raster:
        plane = RasterPlane(raster, raster.size, values=True)
        for z in range(3):
            found = shown(plane, raster.size, z, 0, 0)
            assert set(np.unique(found)) <= {0, 7, 200}
            step = 2**z
            centres = np.arange(found.shape[0]) * step + step // 2
            columns = np.arange(found.shape[1]) * step + step // 2
            assert np.array_equal(found, labels[np.ix_(centres, columns)])


def test_a_plane_of_fewer_pixels_is_stretched_over_the_image(tmp_path):
    Image.fromarray(np.array([[10, 20], [30, 40]], np.uint8)).save(tmp_path / "d.png")
    with open_raster(tmp_path / "d.png") as raster:
        plane = RasterPlane(raster, (200, 300), values=True)
        found = shown(plane, (200, 300), 0, 0, 0)
    assert plane.step == 100
    assert (found[:100, :150] == 10).all() and (found[100:, 150:] == 40).all()


@pytest.mark.parametrize("strips", [False, True])
def test_an_image_without_overviews_is_reduced_once_and_shown_in_part_before(tmp_path, strips):
    rows, columns = 5000, 4200
    values = (np.add.outer(np.arange(rows) // 40, np.arange(columns) // 40) % 251).astype(np.uint8)
    how = {"rowsperstrip": 64} if strips else {"tile": (512, 512)}
    tifffile.imwrite(tmp_path / "big.tif", values, compression="zlib", **how)
    with open_raster(tmp_path / "big.tif") as raster:
        colours, labels = (
            RasterPlane(as_rgb(raster), raster.size),
            RasterPlane(raster, raster.size, values=True),
        )
        top = depth(raster.size)
        patch = patch_of(raster.size, top, 0, 0)
        for plane in (colours, labels):
            for _ in range(200):
                drawn = plane.draw(patch)
                if drawn.complete:
                    break
            assert drawn.complete
            if plane is labels:
                assert set(np.unique(drawn.pixels)) <= set(range(251))
            else:
                step = 1 << top
                means = values[: rows // step * step, : columns // step * step]
                means = means.reshape(rows // step, step, columns // step, step).mean((1, 3))
                found = drawn.pixels[: means.shape[0], : means.shape[1], 0]
                assert np.abs(found.astype(float) - means).mean() < 2
            plane.close()


def test_a_glance_stands_for_what_was_not_read_yet():
    go = threading.Event()

    def read(window: Window) -> np.ndarray:
        if window.height > 64:
            go.wait(20)
        return np.full((*window.size, 3), 90 + window.top // 2048, np.uint8)

    copy = ReducedCopy(Level.of((5000, 4100), (5000, 4100), (256, 256)), read, 3, "x.tif")
    whole = Window.full(copy.levels[-1].size)
    assert not copy.ready(whole, len(copy.levels) - 1, 0.0)
    for _ in range(1000):  # but for the two that the threads have begun to read, at most
        found = copy.read(whole, len(copy.levels) - 1)
        there = found[..., 3] if found.shape[2] == 4 else np.full(found.shape[:2], 255)
        if (there > 0).mean() > 0.5:
            break
        time.sleep(0.01)
    assert (there > 0).mean() > 0.5
    assert set(np.unique(found[there > 0][:, :3])) <= {90, 91, 92}
    go.set()
    assert copy.ready(whole, len(copy.levels) - 1, 20.0)
    copy.close()


def test_what_is_wrong_in_the_file_is_told_and_nothing_waits_for_ever(tmp_path):
    def broken(window):
        raise OSError("a hole in the file")

    copy = ReducedCopy(Level.of((9000, 9000), (9000, 9000), (512, 512)), broken, 4, "x.tif")
    with pytest.raises(OSError, match="a hole"):
        copy.ready(Window.full(copy.levels[0].size), 0, 5.0)
    copy.close()


def test_nodata_is_transparent(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    values = np.full((3, 64, 64), 90, np.uint8)
    values[:, :32] = 0
    profile = {"driver": "GTiff", "height": 64, "width": 64, "count": 3, "dtype": "uint8", "nodata": 0}
    with rasterio.open(tmp_path / "n.tif", "w", **profile) as file:
        file.write(values)
    with open_raster(tmp_path / "n.tif") as raster:
        found = shown(RasterPlane(as_rgb(raster), raster.size), raster.size, 0, 0, 0)
    assert (found[:32, :, 3] == 0).all() and (found[32:] == (90, 90, 90, 255)).all()


def test_samples_are_dots_where_they_lie():
    plane = PointPlane(np.array([[100.5, 40.5], [699.5, 599.5]]))
    found = plane.draw(patch_of((600, 700), 0, 0, 0)).pixels
    assert found[40, 100] == 254 and found[40, 102] == 0 and found[40, 104] == 255
    assert plane.draw(patch_of((600, 700), 0, 1, 1)).pixels[599 - 512, 699 - 512] == 254


def test_the_cache_holds_no_more_bytes_than_its_limit_and_forgets_the_oldest():
    cache = TileCache(limit=100)
    for key in range(7):
        cache.get(key, lambda: Tile("image/png", b"x" * 30))
        cache.get(0, lambda: Tile("image/png", b"x" * 30))
        assert cache.held <= 100
    assert cache.made == 7  # the first was used again and again
    cache.get(1, lambda: Tile("image/png", b"x" * 30))
    assert cache.made == 8
    cache.get("huge", lambda: Tile("image/png", b"x" * 300))
    assert cache.held == 0


def test_one_tile_is_made_once_for_many_and_incomplete_ones_are_not_kept():
    cache, made, begin = TileCache(limit=1000), [], threading.Event()

    def make() -> Tile:
        begin.wait(5)
        made.append(1)
        return Tile("image/png", b"x")

    threads = [threading.Thread(target=cache.get, args=("key", make)) for _ in range(20)]
    for thread in threads:
        thread.start()
    begin.set()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    cache.get("part", lambda: Tile("image/png", b"a", complete=False))
    assert cache.get("part", lambda: Tile("image/png", b"b")).data == b"b"


def test_a_maker_that_fails_stands_in_nobodys_way():
    cache = TileCache(limit=1000)
    with pytest.raises(OSError):
        cache.get("key", lambda: (_ for _ in ()).throw(OSError("x")))
    assert cache.get("key", lambda: Tile("image/png", b"b")).data == b"b"


def test_values_survive_their_file():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    tile = encoded(values)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(tile.data))), values)
