"""One TIFF, one set of pixels and one ``valid``: whatever its layout, with and without a place on a map."""

from __future__ import annotations

import itertools
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from saccade.errors import FileProblem
from saccade.rasters import as_rgb, open_raster, read_rgb
from saccade.rasters.tiff_description import number

rasterio = pytest.importorskip("rasterio")
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
H, W = 48, 64
PLACE = rasterio.Affine(1, 0, 500000, 0, -1, 9)
KEYS = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632)
GEO = [
    (33550, "d", 3, (1.0, 1.0, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 100.0, 200.0, 0.0), True),
    (34735, "H", 16, KEYS, True),
]
CHANNELS = {"minisblack": 1, "miniswhite": 1, "rgb": 3, "separated": 4}


def samples(dtype: str, channels: int, shape: tuple[int, int] = (H, W)) -> np.ndarray:
    rng, kind = np.random.default_rng(7), np.dtype(dtype)
    if kind.kind == "f":
        return rng.random((*shape, channels)).astype(kind)
    return rng.integers(0, np.iinfo(kind).max, (*shape, channels), endpoint=True).astype(kind)


def picture(channels: int = 3) -> np.ndarray:
    """Smooth and of little saturation, so that every colour space holds it."""
    y, x = np.mgrid[:H, :W]
    return np.stack([100 + x, 120 + y, 90 + (x + y) // 2, 60 + 3 * x], -1)[..., :channels].astype(np.uint8)


def by_gdal(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with warnings.catch_warnings(), rasterio.open(path) as file:
        return file.read().transpose(1, 2, 0), file.dataset_mask() > 0


def geotiff(
    path: Path, bands: np.ndarray, *, mask=None, roles=None, place=True, internal=True, **profile
) -> Path:
    """``bands`` (C, h, w) by GDAL."""
    where = {"crs": "EPSG:32632", "transform": PLACE} if place else {}
    count, height, width = bands.shape
    shape = {"count": count, "height": height, "width": width, "dtype": bands.dtype.name}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal),
        rasterio.open(path, "w", driver="GTiff", **shape, **where, **profile) as file,
    ):
        file.write(bands)
        if roles:
            file.colorinterp = roles
        if mask is not None:
            file.write_mask(mask)
    return path


MATRIX = [
    (photometric, dtype, planar, compression, order, tile)
    for photometric, dtype, planar, compression, order, tile in itertools.product(
        CHANNELS,
        ("u1", "u2", "i2", "u4", "f4"),
        ("contig", "separate"),
        (None, "lzw", "deflate", "zstd", "lerc"),
        "<>",
        (None, (16, 16)),
    )
    if (planar == "contig" or CHANNELS[photometric] > 1)
    and (dtype != "f4" or photometric in ("minisblack", "rgb"))
    and (compression != "lerc" or (dtype in ("u1", "f4") and order == "<"))
]


@pytest.mark.parametrize("photometric", CHANNELS)
def test_every_layout_gives_the_same_pixels_with_and_without_a_map(photometric, tmp_path):
    path = tmp_path / "a.tif"
    for _, dtype, planar, compression, order, tile in (row for row in MATRIX if row[0] == photometric):
        expected = samples(dtype, CHANNELS[photometric])
        stored = expected[..., 0] if expected.shape[2] == 1 else expected
        stored = np.moveaxis(stored, -1, 0) if planar == "separate" else stored
        for place in (False, True):
            tifffile.imwrite(
                path,
                stored.astype(stored.dtype.newbyteorder(order)),
                byteorder=order,
                bigtiff=order == ">" and tile is not None,
                photometric=photometric,
                planarconfig=planar if expected.shape[2] > 1 else None,
                compression=compression,
                tile=tile,
                rowsperstrip=None if tile else 16,
                metadata=None,
                extratags=GEO if place else [],
            )
            case = (photometric, dtype, planar, compression, order, tile, place)
            with open_raster(path) as raster:
                assert (raster.crs is not None) == place, case
                np.testing.assert_array_equal(raster.read(), expected, err_msg=str(case))
                assert raster.valid().all(), case
                assert (
                    raster.info.meaning
                    == {
                        "minisblack": "grey",
                        "miniswhite": "white_is_zero",
                        "rgb": "rgb",
                        "separated": "cmyk",
                    }[photometric]
                )


@pytest.mark.parametrize("compression", ["jpegxl", "jpeg2000"])
def test_what_gdal_cannot_open_keeps_its_place(compression, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", picture(), photometric="rgb", compression=compression, extratags=GEO)
    with open_raster(tmp_path / "a.tif") as raster:
        np.testing.assert_array_equal(raster.read(), tifffile.imread(tmp_path / "a.tif"))
        assert raster.crs == "EPSG:32632" and raster.transform == (1, 0, 100, 0, -1, 200)


@pytest.mark.parametrize("place", [False, True])
def test_white_is_zero_with_a_mask_is_turned_round(place, tmp_path):
    pixels, mask = samples("u1", 1).transpose(2, 0, 1), np.ones((H, W), bool)
    mask[:10] = False
    path = geotiff(tmp_path / "a.tif", pixels, mask=mask, place=place, photometric="miniswhite")
    with as_rgb(open_raster(path)) as raster:
        np.testing.assert_array_equal(raster.read()[..., 0], 255 - pixels[0])
        np.testing.assert_array_equal(raster.valid(), mask)
    np.testing.assert_array_equal(read_rgb(path).array[..., 0], 255 - pixels[0])


@pytest.mark.parametrize("place", [False, True])
def test_colours_are_taken_by_the_roles_that_the_bands_name(place, tmp_path):
    from rasterio.enums import ColorInterp

    names = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    bands = samples("u1", 4).transpose(2, 0, 1)
    for number_, roles in enumerate(itertools.permutations(names)):
        path = geotiff(tmp_path / f"{number_}.tif", bands, roles=roles, place=place, photometric="minisblack")
        expected = np.stack([bands[roles.index(name)] for name in names[:3]], -1)
        with as_rgb(open_raster(path)) as raster:
            np.testing.assert_array_equal(raster.read(), expected)
            np.testing.assert_array_equal(raster.valid(), bands[roles.index(ColorInterp.alpha)] > 0)
        np.testing.assert_array_equal(read_rgb(path).array, expected)


def test_roles_hold_beside_other_bands_and_in_a_vrt(tmp_path):
    from rasterio.enums import ColorInterp as Role
    from rasterio.shutil import copy

    for number_, roles in enumerate(
        [
            (Role.blue, Role.green, Role.red, Role.undefined),
            (Role.undefined, Role.green, Role.undefined, Role.blue, Role.red),
            (Role.gray, Role.blue, Role.red, Role.green),
        ]
    ):
        bands = samples("u2", len(roles)).transpose(2, 0, 1)
        path = geotiff(tmp_path / f"{number_}.tif", bands, roles=roles)
        copy(path, tmp_path / f"{number_}.vrt", driver="VRT")
        expected = bands[[roles.index(role) for role in (Role.red, Role.green, Role.blue)]].transpose(1, 2, 0)
        for file in (path, tmp_path / f"{number_}.vrt"):
            with as_rgb(open_raster(file), value_range=(0, 65535)) as raster:
                np.testing.assert_array_equal(raster.read(), np.rint(expected / 257).astype(np.uint8))


def test_roles_that_lie_beside_the_file_count(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", picture(), photometric="rgb")
    bands = "".join(
        f'<PAMRasterBand band="{n}"><ColorInterp>{role}</ColorInterp>'
        f"<NoDataValue>{n}</NoDataValue></PAMRasterBand>"
        for n, role in enumerate(("Blue", "Green", "Red"), 1)
    )
    (tmp_path / "a.tif.aux.xml").write_text(f"<PAMDataset>{bands}</PAMDataset>")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.tif").array, picture()[..., ::-1])
    with open_raster(tmp_path / "a.tif") as raster:
        assert raster.info.nodata_of_bands == (1, 2, 3)


@pytest.mark.parametrize("place", [False, True])
@pytest.mark.parametrize("internal", [False, True])
@pytest.mark.parametrize("nodata", [None, 0, 77])
def test_a_mask_counts_beside_nodata_on_every_level(nodata, internal, place, tmp_path):
    bands, mask = samples("u1", 3).transpose(2, 0, 1), np.ones((H, W), bool)
    bands[:, :5], mask[10:30, 20:50] = 77, False
    path = geotiff(tmp_path / "a.tif", bands, mask=mask, place=place, internal=internal, nodata=nodata)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], rasterio.enums.Resampling.nearest)
    with open_raster(path) as raster:
        np.testing.assert_array_equal(raster.valid(), by_gdal(path)[1])
        assert len(raster.levels) == 3
        for level in (1, 2):
            with rasterio.open(path, overview_level=level - 1) as file:
                np.testing.assert_array_equal(raster.valid(level=level), file.dataset_mask() > 0)


@pytest.mark.parametrize("place", [False, True])
def test_a_value_that_is_no_colour_counts_beside_a_mask(place, tmp_path):
    bands, mask = samples("f4", 3).transpose(2, 0, 1), np.ones((H, W), bool)
    bands[:, :5], bands[:, 5:9], mask[10:30] = -9999, np.nan, False
    path = geotiff(tmp_path / "a.tif", bands, mask=mask, place=place, nodata=-9999)
    expected = mask.copy()
    expected[:9] = False
    with open_raster(path) as raster:
        np.testing.assert_array_equal(raster.valid(), expected)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
@pytest.mark.parametrize(
    "text", ["nan", "-1.#IND", "-9999 ", "77", "77.0", " 77", "1e2", "", "-9999,0", "3e38", "1e400"]
)
def test_nodata_is_what_gdal_makes_of_the_text(text, dtype, tmp_path):
    pixels = np.full((20, 30), 5, dtype)
    pixels[5:7], pixels[7:9] = 77, 100
    if dtype == "int16":
        pixels[3:5] = -9999
    for extra in ([], GEO[:2]):
        tifffile.imwrite(
            tmp_path / "a.tif", pixels, metadata=None, extratags=[(42113, "s", 0, text, True), *extra]
        )
        with open_raster(tmp_path / "a.tif") as raster:
            np.testing.assert_array_equal(raster.valid(), by_gdal(tmp_path / "a.tif")[1])


def test_a_nodata_text_without_a_number_is_none():
    assert number("none") is None and number("") is None


def test_nodata_of_each_band_counts(tmp_path):
    from rasterio.shutil import copy

    bands = samples("u1", 2).transpose(2, 0, 1)
    bands[0, :9], bands[1, 4:20] = 3, 200
    geotiff(tmp_path / "a.tif", bands)
    copy(tmp_path / "a.tif", tmp_path / "a.vrt", driver="VRT")
    text = (tmp_path / "a.vrt").read_text()
    for band, value in ((1, 3), (2, 200)):
        start = f'<VRTRasterBand dataType="Byte" band="{band}"'
        at = text.index(">", text.index(start)) + 1
        text = f"{text[:at]}<NoDataValue>{value}</NoDataValue>{text[at:]}"
    (tmp_path / "a.vrt").write_text(text)
    with open_raster(tmp_path / "a.vrt") as raster:
        expected = by_gdal(tmp_path / "a.vrt")[1]
        assert not expected.all()
        np.testing.assert_array_equal(raster.valid(), expected)


@pytest.mark.parametrize("compression", ["LERC", "LERC_DEFLATE", "LERC_ZSTD"])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_lerc_keeps_what_is_not_a_number(compression, interleave, tmp_path):
    bands = samples("f4", 3).transpose(2, 0, 1)
    bands[:, :10], bands[0, 30:] = np.nan, np.nan
    path = geotiff(tmp_path / "a.tif", bands, compress=compression, interleave=interleave, nodata=np.nan)
    expected, valid = by_gdal(path)
    with open_raster(path) as raster:
        np.testing.assert_array_equal(raster.read(), expected)
        np.testing.assert_array_equal(raster.valid(), valid)


def test_lerc_keeps_opacity_in_its_mask(tmp_path):
    bands = samples("u1", 4).transpose(2, 0, 1)
    bands[3] = 255 * (bands[3] > 100)
    path = geotiff(tmp_path / "a.tif", bands, compress="LERC", photometric="rgb", alpha="yes")
    with open_raster(path) as raster:
        np.testing.assert_array_equal(raster.read(), by_gdal(path)[0])
        np.testing.assert_array_equal(raster.valid(), bands[3] > 0)


@pytest.mark.parametrize("bits", [*range(1, 8), *range(9, 16)])
def test_full_scale_is_that_of_the_bits_stated(bits, tmp_path):
    from rasterio.shutil import copy

    dtype = "uint8" if bits < 9 else "uint16"
    bands = np.random.default_rng(bits).integers(0, 2**bits, (3, H, W)).astype(dtype)
    geotiff(tmp_path / "a.tif", bands, nbits=bits, photometric="rgb", compress="lzw")
    copy(tmp_path / "a.tif", tmp_path / "a.vrt", driver="VRT")
    copy(
        tmp_path / "a.tif",
        tmp_path / "a.jp2",
        driver="JP2OpenJPEG",
        QUALITY=100,
        REVERSIBLE="YES",
        NBITS=bits,
    )
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.build_overviews([2], rasterio.enums.Resampling.nearest)
    for name in ("a.tif", "a.vrt", "a.jp2"):
        with open_raster(tmp_path / name) as raster:
            assert raster.info.white == 2**bits - 1, name
            np.testing.assert_array_equal(raster.read(), bands.transpose(1, 2, 0))
            assert len(raster.levels) >= 2 or name != "a.tif"


def test_a_byte_count_of_zero_is_no_empty_strip(tmp_path):
    for rows, compression in ((H, None), (16, None), (16, "lzw")):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, picture(), photometric="rgb", rowsperstrip=rows, compression=compression)
        with tifffile.TiffFile(path, mode="r+") as file:
            tag = file.pages[0].tags[279]
            tag.overwrite(np.zeros(tag.count, np.uint32) if tag.count > 1 else 0)
        with open_raster(path) as raster:
            np.testing.assert_array_equal(raster.read(), picture())


def test_strips_left_out_are_empty_and_not_damaged(tmp_path):
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", width=W, height=H, count=1, dtype="uint8", nodata=9,
        sparse_ok=True, tiled=True, blockxsize=16, blockysize=16, crs="EPSG:32632", transform=PLACE,
    ) as file:  # fmt: skip
        file.write(samples("u1", 1, (16, 16))[..., 0], 1, window=((16, 32), (16, 32)))
    expected, valid = by_gdal(tmp_path / "a.tif")
    with open_raster(tmp_path / "a.tif") as raster:
        np.testing.assert_array_equal(raster.read(), expected)
        np.testing.assert_array_equal(raster.valid(), valid)


@pytest.mark.parametrize("place", [False, True])
def test_the_image_is_taken_and_not_the_thumbnail_before_it(place, tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(picture()[::4, ::4], photometric="rgb", subfiletype=1, metadata=None)
        file.write(picture()[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
        file.write(picture(), photometric="rgb", metadata=None, extratags=GEO if place else [])
    with open_raster(tmp_path / "a.tif") as raster:
        np.testing.assert_array_equal(raster.read(), picture())
        assert [level.size for level in raster.levels] == [(H, W), (H // 2, W // 2), (H // 4, W // 4)]
        assert any("thumbnail" in notice for notice in raster.notices)
        assert raster.transform == ((1, 0, 100, 0, -1, 200) if place else None)


def test_a_thumbnail_of_another_shape_is_no_level_and_other_images_are_said(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(picture(), photometric="rgb", metadata=None)
        file.write(picture()[:20, :20], photometric="rgb", subfiletype=1, metadata=None)
        file.write(picture()[:30, :21], photometric="rgb", metadata=None)
    with open_raster(tmp_path / "a.tif") as raster:
        assert len(raster.levels) == 1
        assert raster.notices == ("2 images in the file: its first is taken (FILE#2 is the second)",)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd"])
@pytest.mark.parametrize("tag", [1, 3, 6])
def test_ycbcr_becomes_rgb_as_pillow_has_it(compression, tag, tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(picture()).convert("YCbCr").save(path, compression=compression, tiffinfo={274: tag})
    try:
        with Image.open(path) as image:
            expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(int)
    except OSError:
        pytest.skip("this Pillow does not read what it wrote (12 and older, no compression)")
    assert np.abs(read_rgb(path).array - expected).max() <= 1


def write_thinned(path, luma, chroma, across, down):
    """An uncompressed TIFF of one strip, by the specification: ``luma`` (h, w), of whole blocks, then the two
    chroma (h / down, w / across, 2) of each block."""
    height, width = luma.shape
    blocks = luma.reshape(height // down, down, width // across, across).transpose(0, 2, 1, 3)
    blocks = blocks.reshape(*blocks.shape[:2], -1)
    data = np.concatenate([blocks, chroma], axis=2).tobytes()
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 0), (259, 3, 1, 1), (262, 3, 1, 6),
            (273, 4, 1, 8), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, len(data)), (284, 3, 1, 1),
            (530, 3, 2, across | down << 16), (532, 5, 6, 0)]  # fmt: skip
    start = 8 + len(data)
    end = start + 2 + 12 * len(tags) + 4
    tags[2], tags[-1] = (258, 3, 3, end), (532, 5, 6, end + 6)
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    range_of_samples = struct.pack("<12I", 0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1)
    head = struct.pack("<2sHI", b"II", 42, start)
    count = struct.pack("<H", len(tags))
    path.write_bytes(
        head + data + count + entries + b"\0" * 4 + struct.pack("<3H", 8, 8, 8) + range_of_samples
    )


@pytest.mark.parametrize(("across", "down"), [(1, 1), (2, 1), (2, 2), (4, 2), (4, 4)])
def test_thinned_ycbcr_becomes_rgb_by_its_formula(across, down, tmp_path):
    rng = np.random.default_rng(0)
    luma = rng.integers(60, 200, (48, 64), np.uint8)
    chroma = rng.integers(100, 156, (48 // down, 64 // across, 2), np.uint8)
    write_thinned(tmp_path / "a.tif", luma, chroma, across, down)
    blue, red = np.moveaxis(np.kron(chroma, np.ones((down, across, 1))) - 128.0, 2, 0)
    y = luma.astype(float)
    expected = np.stack([y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue], axis=2)
    assert np.abs(read_rgb(tmp_path / "a.tif").array - expected.clip(0, 255)).max() <= 2


def test_coarse_ycbcr_at_whose_borders_libtiff_errs_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    write_thinned(path, np.zeros((48, 64), np.uint8), np.zeros((12, 16, 2), np.uint8), 4, 4)
    content = bytearray(path.read_bytes())
    at = content.index(struct.pack("<HHII", 256, 3, 1, 64)) + 8
    content[at] = 61
    path.write_bytes(content)
    with pytest.raises(FileProblem, match="YCbCr of 4 x 4 subsampling"):
        open_raster(path)


@pytest.mark.parametrize("depth", [8, 16])
def test_cielab_becomes_the_colours_it_was_made_of(depth, tmp_path):
    from PIL import ImageCms

    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.applyTransform(
        Image.fromarray(picture()), ImageCms.buildTransform(*profiles, "RGB", "LAB")
    )
    path = tmp_path / "a.tif"
    lab.save(path, compression="tiff_lzw")
    if depth == 16:
        stored = tifffile.imread(path)
        colours = (stored[..., 1:].view(np.int8).astype(np.int16) * 256).view(np.uint16)
        deep = np.concatenate([stored[..., :1].astype(np.uint16) * 257, colours], -1)
        tifffile.imwrite(path, deep, photometric="cielab", metadata=None)
    assert np.abs(read_rgb(path).array.astype(int) - picture()).max() <= 2


@pytest.mark.parametrize(("photometric", "name"), [(32803, "mosaic"), (34892, "LinearRaw"), (10, "ITULab")])
def test_other_colours_are_refused_by_name(photometric, name, tmp_path):
    pixels = picture() if photometric != 32803 else picture(1)[..., 0]
    kind = "rgb" if pixels.ndim == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=kind)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages[0].tags[262].overwrite(photometric)
    with pytest.raises(FileProblem, match=name) as problem:
        read_rgb(tmp_path / "a.tif")
    assert "\n" not in str(problem.value) and "damaged" not in str(problem.value)


def test_an_unknown_compression_is_not_called_damage(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", picture(), photometric="rgb", compression="lzw")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages[0].tags[259].overwrite(32895)
    with pytest.raises(FileProblem, match="decoder does not support"):
        open_raster(tmp_path / "a.tif")


@pytest.mark.parametrize("tag", range(1, 9))
def test_a_map_is_turned_like_a_photograph_and_stays_in_its_place(tag, tmp_path):
    shown = []
    for extra in ([], GEO):
        tags = [(274, "H", 1, tag, True), *extra]
        tifffile.imwrite(tmp_path / "a.tif", picture(), photometric="rgb", metadata=None, extratags=tags)
        with open_raster(tmp_path / "a.tif") as raster:
            shown.append(raster.read())
            transform = raster.transform
    np.testing.assert_array_equal(shown[0], shown[1])
    matrix = rasterio.Affine(*transform)
    place = rasterio.Affine(1, 0, 100, 0, -1, 200)
    row, column = 3, 5
    x, y = ~matrix * (place * (column + 0.5, row + 0.5))
    np.testing.assert_array_equal(shown[1][int(y), int(x)], picture()[row, column])
