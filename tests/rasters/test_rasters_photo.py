"""Valid files at which one decoder stumbles, against the samples that went into them and another decoder."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from raster_files import scene

from saccade.errors import FileProblem
from saccade.rasters import as_rgb, open_raster

SIZE = (11, 13)
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(samples: np.ndarray, depth: int, colour: int, before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG of ``samples`` (h, w, C) by the specification, without any library."""
    rows = b""
    for row in samples.reshape(len(samples), -1):
        if depth >= 8:
            rows += b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes()
        else:
            bits = (row[:, None] >> np.arange(depth)[::-1] & 1).astype(np.uint8)
            rows += b"\0" + np.packbits(bits.ravel()).tobytes()
    head = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", head), before, chunk(b"IDAT", zlib.compress(rows)), after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def draw_samples(depth: int, colour: int) -> np.ndarray:
    return np.random.default_rng(depth).integers(0, 2**depth, (*SIZE, CHANNELS[colour]))


def read(path: Path) -> np.ndarray:
    with open_raster(path) as raster:
        return raster.read()


KINDS = [(d, 0) for d in (1, 2, 4, 8, 16)] + [(d, 3) for d in (1, 2, 4, 8)]
KINDS += [(d, c) for d in (8, 16) for c in (2, 4, 6)]


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize(("depth", "colour"), KINDS)
def test_every_png_of_the_specification_gives_its_samples(depth, colour, transparent, tmp_path):
    samples = draw_samples(depth, colour)
    before = chunk(b"PLTE", np.arange(3 * 2**depth, dtype=np.uint8).tobytes()) if colour == 3 else b""
    if transparent and colour in (0, 2, 3):
        key = struct.pack(">HHH", *samples[0, 0].tolist()) if colour == 2 else struct.pack(">H", 1)
        before += chunk(b"tRNS", key)
    path = tmp_path / "a.png"
    path.write_bytes(png(samples, depth, colour, before))
    np.testing.assert_array_equal(read(path), samples)
    with open_raster(path) as raster:
        assert raster.info.alpha == (colour in (4, 6))
        assert (raster.info.meaning == "palette") == (colour == 3)


LARGE = zlib.compress(bytes(3 << 20))
BESIDE = {
    "profile": chunk(b"iCCP", b"x\0\0" + LARGE),
    "packed text": chunk(b"zTXt", b"x\0\0" + LARGE),
    "international text": chunk(b"iTXt", b"x\0\1\0\0\0" + LARGE),
    "plain text": chunk(b"tEXt", b"x\0" + b"a" * (3 << 20)),
    "many texts": chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(1 << 20))) * 80,
    "a broken profile": chunk(b"iCCP", b"x\0\0broken"),
    "a checksum that is wrong": chunk(b"iCCP", b"x\0\0" + zlib.compress(b"a"))[:-1] + b"?",
    "an unknown chunk": chunk(b"prVt", b"private"),
}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("name", BESIDE)
def test_what_stands_beside_the_pixels_of_a_png_does_not_stop_them(name, behind, tmp_path):
    samples = draw_samples(8, 2)
    path = tmp_path / "a.png"
    path.write_bytes(png(samples, 8, 2, **{"after" if behind else "before": BESIDE[name]}))
    np.testing.assert_array_equal(read(path), samples)


def test_a_truncated_png_with_a_large_profile_is_damaged(tmp_path):
    whole = png(np.random.default_rng(0).integers(0, 256, (90, 90, 3)), 8, 2, BESIDE["profile"])
    (tmp_path / "a.png").write_bytes(whole[:-9000])
    with pytest.raises(FileProblem, match="damaged"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("bits", [12, 16])
def test_a_jpeg_of_more_than_eight_bits_is_scaled_by_its_bits(bits, tmp_path):
    samples = (scene((40, 60), 3).astype(np.uint16)) << (bits - 8)
    options = {"level": 98} if bits == 12 else {"lossless": True}
    path = tmp_path / "a.jpg"
    path.write_bytes(imagecodecs.jpeg8_encode(samples, bitspersample=bits, **options))
    np.testing.assert_array_equal(read(path), imagecodecs.jpeg8_decode(path.read_bytes()))
    with open_raster(path) as raster:
        assert raster.info.white == 2**bits - 1 and raster.dtype == np.uint16


@pytest.mark.parametrize(
    "make", ["progressive", "cmyk", "grey", "trailing", "other suffix", "extra bytes", "4:2:0", "4:2:2"]
)
def test_jpegs_read_as_pillow_reads_them(make, tmp_path):
    image = Image.fromarray(scene((41, 63)))
    image = {"cmyk": image.convert("CMYK"), "grey": image.convert("L")}.get(make, image)
    options = {"progressive": {"progressive": True}, "4:2:0": {"subsampling": 2}, "4:2:2": {"subsampling": 1}}
    path = tmp_path / ("a.jfif" if make == "other suffix" else "a.jpg")
    image.save(path, format="JPEG", **options.get(make, {}))
    if make == "trailing":
        path.write_bytes(path.read_bytes() + b"junk" * 999)
    if make == "extra bytes":
        path.write_bytes(path.read_bytes().replace(b"\xff\xdb", b"\0\0\xff\xdb", 1))
    expected = np.asarray(Image.open(path))
    np.testing.assert_array_equal(read(path), expected.reshape(41, 63, -1))


@pytest.mark.parametrize("kind", ["gif", "bmp", "palette bmp", "black and white bmp", "animated gif", "apng"])
def test_other_photographs_read_as_pillow_reads_them(kind, tmp_path):
    image, more = Image.fromarray(scene((30, 40))), [Image.fromarray(scene((30, 40), seed=1))]
    image = {"palette bmp": image.quantize(20), "black and white bmp": image.convert("1")}.get(kind, image)
    path = tmp_path / f"a.{'png' if kind == 'apng' else kind.split()[-1]}"
    image.save(
        path, **({"save_all": True, "append_images": more} if kind in ("animated gif", "apng") else {})
    )
    from saccade.rasters import read_rgb

    found = read_rgb(path)
    with Image.open(path) as again:
        np.testing.assert_array_equal(found.array, np.asarray(again.convert("RGB")))
    animated = kind in ("animated gif", "apng")
    assert ("an animation: its first frame is taken" in found.notices) == animated


def test_a_bmp_needs_no_gdal(tmp_path, monkeypatch):
    import sys

    Image.fromarray(scene((30, 40))).save(tmp_path / "a.bmp")
    monkeypatch.setitem(sys.modules, "rasterio", None)
    np.testing.assert_array_equal(read(tmp_path / "a.bmp"), scene((30, 40)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_jpeg_xl_gives_its_samples(channels, dtype, tmp_path):
    pixels = scene((30, 40), channels, dtype)
    path = tmp_path / "a.jxl"
    path.write_bytes(imagecodecs.jpegxl_encode(pixels if channels > 1 else pixels[..., 0], lossless=True))
    np.testing.assert_array_equal(read(path), pixels)
    with open_raster(path) as raster:
        assert raster.info.alpha == (channels == 4)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"\0\0\0\x18ftypheic", "HEIC or HEIF image; convert it to PNG"),
        (b"%PDF-1.7", "PDF document"),
        (b"PK\3\4", "ZIP archive; unpack it"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"8BPS\0\1", "Photoshop"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (bytes(128) + b"DICM", "DICOM"),
    ],
)
def test_a_format_that_is_not_read_is_named(start, words, tmp_path):
    (tmp_path / "a.png").write_bytes(start + bytes(100))
    with pytest.raises(FileProblem, match=words) as caught:
        read(tmp_path / "a.png")
    assert "damaged" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_png_of_an_iphone_is_named(tmp_path):
    plain = png(draw_samples(8, 2), 8, 2)
    (tmp_path / "a.png").write_bytes(plain[:8] + chunk(b"CgBI", bytes(4)) + plain[8:])
    with pytest.raises(FileProblem, match=r"CgBI.*pngcrush"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_orientation_is_applied_in_every_format(form, tag, tmp_path):
    from PIL import ImageOps, features

    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    exif = Image.Exif()
    exif[0x0112] = tag
    path = tmp_path / "a.image"
    lossless = {"lossless": True} if form == "WEBP" else {}
    Image.fromarray(scene((24, 40))).save(path, format=form, exif=exif, **lossless)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read(path), expected)


@pytest.mark.parametrize("form", ["png", "webp", "jxl"])
def test_what_is_transparent_was_not_measured(form, tmp_path):
    opacity = np.full((40, 50), 255, np.uint8)
    opacity[10:20, 5:30] = 0
    opacity[20:25, 5:30] = 1
    pixels, path = np.dstack([scene((40, 50)), opacity]), tmp_path / f"a.{form}"
    if form == "jxl":
        path.write_bytes(imagecodecs.jpegxl_encode(pixels, lossless=True))
    else:
        Image.fromarray(pixels).save(path, lossless=True)
    with as_rgb(open_raster(path)) as raster:
        np.testing.assert_array_equal(raster.valid(), opacity > 0)
        assert raster.info.masked


def test_a_photograph_that_is_opaque_throughout_is_read_as_one_without_opacity(tmp_path):
    pixels = scene((40, 50))
    Image.fromarray(np.dstack([pixels, np.full((40, 50), 255, np.uint8)])).save(tmp_path / "a.png")
    with as_rgb(open_raster(tmp_path / "a.png")) as raster:
        np.testing.assert_array_equal(raster.read(), pixels)
        assert not raster.info.masked and raster.valid().all()


@pytest.mark.parametrize("beside", ["mask", "nodata", "nodata of bands"])
@pytest.mark.parametrize("form", ["png", "webp"])
def test_what_lies_beside_a_photograph_says_what_was_measured(form, beside, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    pixels, path = scene((40, 50)), tmp_path / f"a.{form}"
    pixels[10:20, 5:30] = (7, 7, 7) if beside == "nodata" else (7, 8, 9)
    Image.fromarray(pixels).save(path, lossless=True)
    if beside == "mask":
        with (
            rasterio.open(path) as file,
            rasterio.open(
                f"{path}.msk", "w", driver="GTiff", height=40, width=50, count=1, dtype="uint8"
            ) as mask,
        ):
            mask.write(np.where((pixels == (7, 8, 9)).all(axis=2), 0, 255).astype("u1"), 1)
            mask.update_tags(INTERNAL_MASK_FLAGS_1="2")
            assert file.count == 3
    else:
        values = pixels[10, 5]
        bands = "".join(
            f'<PAMRasterBand band="{n + 1}"><NoDataValue>{value}</NoDataValue></PAMRasterBand>'
            for n, value in enumerate(values)
        )
        Path(f"{path}.aux.xml").write_text(f"<PAMDataset>{bands}</PAMDataset>")
    with rasterio.open(path) as file, as_rgb(open_raster(path)) as raster:
        assert 0.5 < (file.dataset_mask() > 0).mean() < 1
        np.testing.assert_array_equal(raster.valid(), file.dataset_mask() > 0)
        np.testing.assert_array_equal(raster.read(), pixels)
