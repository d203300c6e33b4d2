"""Headers that claim what no file holds are refused at once, before anything is listed or allocated."""

from __future__ import annotations

import resource
import struct
import subprocess
import sys
import time
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile

from saccade.errors import FileProblem
from saccade.rasters import open_raster, read_rgb, thumbnail
from saccade.rasters.claims import jpeg2000_size, jpeg_size, jpegxl_size, require_sound_chain

HUGE = 2**31 - 1
AT_ONCE = 5.0
MOST_MEMORY = 1 << 30


@pytest.fixture(autouse=True)
def at_once_and_small():
    """Each of these files is of a few bytes: nothing about it may take long, or a gigabyte."""
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    yield
    assert time.process_time() - started < AT_ONCE
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MOST_MEMORY


def use(path) -> None:
    with open_raster(path) as raster:
        thumbnail(raster, (16, 16))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("side", [HUGE, 100_000, 40_000])
@pytest.mark.parametrize("colour", [0, 2, 3, 6])
def test_a_png_that_claims_what_it_cannot_hold(side, colour, tmp_path):
    head = struct.pack(">IIBBBBB", side, side, 8, colour, 0, 0, 0)
    body = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"PLTE", b"\0" * 3)
    (tmp_path / "a.png").write_bytes(body + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b""))
    with pytest.raises(FileProblem, match="claims"):
        use(tmp_path / "a.png")
    with pytest.raises(FileProblem, match="claims"):
        read_rgb(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.gif", "a.bmp", "a.jxl", "a.jp2"])
def test_another_photograph_that_claims_what_it_cannot_hold(name, tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (64, 48, 3), np.uint8)
    encode = {
        "a.jpg": imagecodecs.jpeg_encode, "a.webp": imagecodecs.webp_encode,
        "a.jxl": imagecodecs.jpegxl_encode,
        "a.jp2": imagecodecs.jpeg2k_encode,
    }  # fmt: skip
    if name in encode:
        data = bytearray(encode[name](picture))
    else:
        from PIL import Image

        Image.fromarray(picture).save(tmp_path / name)
        data = bytearray((tmp_path / name).read_bytes())
    if name == "a.jpg":
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    elif name == "a.webp":
        pytest.skip("its sides end at 16383, which is a gigabyte at most")
    elif name == "a.gif":
        data[6:10] = b"\xff\xff\xff\xff"
        at = data.index(b"\x2c\0\0\0\0")
        data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    elif name == "a.bmp":
        data[18:26] = struct.pack("<ii", 1 << 30, 1 << 30)
    elif name == "a.jxl":
        data[:] = b"\xff\x0a" + (0 | 3 << 1 | (2**30 - 1) << 3 | 1 << 33).to_bytes(14, "little")
    else:
        at = data.index(b"\xff\x4f\xff\x51")
        data[at + 8 : at + 16] = struct.pack(">II", HUGE, HUGE)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FileProblem):
        use(tmp_path / name)


@pytest.mark.parametrize("size", [(64, 48), (1, 1), (300, 7), (256, 256), (40, 30), (270, 480), (33, 1000)])
def test_sizes_are_read_as_decoders_read_them(size):
    picture = np.random.default_rng(1).integers(0, 255, (*size, 3), np.uint8)
    assert jpeg_size(imagecodecs.jpeg_encode(picture)) == size
    assert jpegxl_size(imagecodecs.jpegxl_encode(picture)) == size
    assert jpegxl_size(imagecodecs.jpegxl_encode(picture, usecontainer=True)) == size
    if min(size) > 32:
        assert jpeg2000_size(imagecodecs.jpeg2k_encode(picture)) == size


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("compression", [1, 8])
def test_a_tiff_that_claims_what_it_cannot_hold(tiled, compression, tmp_path):
    tile = {"tile": (16, 16)} if tiled else {}
    code = {1: None, 8: "zlib"}[compression]
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((32, 32), np.uint8), compression=code, **tile)
    for side in (HUGE, 2**20):
        with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
            tags = file.pages.first.tags
            for name in ("ImageWidth", "ImageLength", *(("TileWidth", "TileLength") if tiled else ())):
                tags[name].overwrite(side, dtype=4)
            if not tiled:
                tags["RowsPerStrip"].overwrite(2**32 - 1, dtype=4)
        with pytest.raises(FileProblem):
            use(tmp_path / "a.tif")


def test_a_tiff_of_pieces_that_are_not_there(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((32, 32), np.uint8))
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        tags = file.pages.first.tags
        for name, value in (("ImageWidth", 16), ("ImageLength", 2**29), ("RowsPerStrip", 2**29)):
            tags[name].overwrite(value, dtype=4)
        tags["StripOffsets"].overwrite(0, dtype=4)
        tags["StripByteCounts"].overwrite(0, dtype=4)
    with pytest.raises(FileProblem):
        use(tmp_path / "a.tif")


@pytest.mark.parametrize("side", [HUGE, 2**22])
def test_a_vrt_or_a_zarr_that_claims_what_it_cannot_hold(side, tmp_path):
    pytest.importorskip("rasterio")
    zarr = pytest.importorskip("zarr")
    (tmp_path / "a.vrt").write_text(
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><VRTRasterBand dataType="Byte" band="1"/>'
        "</VRTDataset>"
    )
    zarr.create_array(str(tmp_path / "a.zarr"), shape=(side, side), chunks=(64, 64), dtype="u1")
    zarr.create_array(str(tmp_path / "b.zarr"), shape=(side, side), chunks=(2**20, 2**20), dtype="u1")
    for name in ("a.vrt", "a.zarr", "b.zarr"):
        with pytest.raises(FileProblem):
            use(tmp_path / name)


@pytest.mark.parametrize("pages", [1, 3, 150])
def test_a_chain_of_pages_that_leads_back_is_refused(pages, tmp_path):
    """tifffile looks for a circle once, at its hundredth page."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for number in range(pages):
            file.write(np.full((8, 8), number % 255, np.uint8), metadata=None)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    offsets, at = [], int.from_bytes(data[4:8], "little")
    while at:
        offsets.append(at)
        link = at + 2 + 12 * int.from_bytes(data[at : at + 2], "little")
        at = int.from_bytes(data[link : link + 4], "little")
    assert len(offsets) == pages
    for back in {offsets[0], offsets[pages // 2], offsets[-1]}:
        data[link : link + 4] = back.to_bytes(4, "little")
        (tmp_path / "b.tif").write_bytes(data)
        with pytest.raises(FileProblem, match="leads back"):
            open_raster(tmp_path / "b.tif")
    with (tmp_path / "a.tif").open("rb") as file:
        require_sound_chain(tmp_path / "a.tif", file)


def test_a_jpeg_in_a_tile_that_claims_more_than_the_tile(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", picture, compression="jpeg", photometric="rgb")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(FileProblem):
        open_raster(tmp_path / "a.tif").read()


def test_the_command_refuses_such_a_file_at_once(tmp_path):
    head = struct.pack(">IIBBBBB", HUGE, HUGE, 8, 2, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IEND", b""))
    done = subprocess.run(
        [sys.executable, "-m", "saccade", "info", str(tmp_path / "a.png")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "2,147,483,647" in done.stderr


def test_an_honest_blank_is_read(tmp_path):
    """Deflate packs a blank a thousand times; a large label map of one class is such a file."""
    from PIL import Image

    Image.new("1", (20_000, 16_000)).save(tmp_path / "a.png")
    with open_raster(tmp_path / "a.png") as raster:
        assert raster.size == (16_000, 20_000)
