"""Small files of every kind that the readers take, each with what an independent library reads in it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

SIZE = (150, 211)
BAND_COUNT = 5


def scene(size: tuple[int, int] = SIZE, channels: int = 3, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    """Blocks of colour under noise: (h, w, C), so that every pixel and channel differs."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((size[0] // 16 + 1, size[1] // 16 + 1, channels))
    values = np.kron(coarse, np.ones((16, 16, 1)))[: size[0], : size[1]] * 0.8
    values = values + rng.random((*size, channels)) * 0.2
    if np.dtype(dtype).kind == "f":
        return values.astype(dtype)
    return (values * np.iinfo(dtype).max).astype(dtype)


def halved(pixels: np.ndarray) -> np.ndarray:
    """Means over 2 x 2 pixels, odd borders repeated."""
    padded = np.pad(pixels, [(0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0)], mode="edge")
    shape = padded.shape[0] // 2, 2, padded.shape[1] // 2, 2, padded.shape[2]
    return np.rint(padded.reshape(shape).mean((1, 3))).astype(pixels.dtype)


@dataclass(frozen=True)
class Sample:
    """A file, and its levels as another library reads them: arrays (h, w, C)."""

    path: Path
    levels: tuple[np.ndarray, ...]


def by_pillow(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        pixels = np.asarray(image)
    return pixels.reshape(*pixels.shape[:2], -1)


def by_gdal(path: Path, level: int | None = None) -> np.ndarray:
    rasterio = pytest.importorskip("rasterio")
    options = {} if level is None else {"overview_level": level}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        file = rasterio.open(path, **options)
    with file:
        return file.read().transpose(1, 2, 0)


def _photo(name: str, channels: int = 3, **options) -> Callable[[Path], Sample]:
    def make(folder: Path) -> Sample:
        path = folder / name
        pixels = scene(channels=channels)
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path, **options)
        return Sample(path, (by_pillow(path),))

    return make


def _tiff(name: str, channels: int = 3, dtype: str = "uint8", **options) -> Callable[[Path], Sample]:
    def make(folder: Path) -> Sample:
        path = folder / name
        pixels = scene(channels=channels, dtype=dtype)
        options.setdefault("photometric", "rgb" if channels in (3, 4) else "minisblack")
        if options.get("planarconfig") == "separate":
            tifffile.imwrite(path, pixels.transpose(2, 0, 1), metadata=None, **options)
        elif channels == 1:
            tifffile.imwrite(path, pixels[..., 0], metadata=None, **options)
        else:
            tifffile.imwrite(path, pixels, metadata=None, planarconfig="contig", **options)
        return Sample(path, (by_gdal(path),))

    return make


def _pyramid(name: str, subifds: bool, **options) -> Callable[[Path], Sample]:
    def make(folder: Path) -> Sample:
        path, levels = folder / name, [scene((300, 500))]
        while len(levels) < 4:
            levels.append(halved(levels[-1]))
        kinds = {"photometric": "rgb", "tile": (64, 64)} | options
        with tifffile.TiffWriter(path, bigtiff=True, ome=name.endswith("ome.tif")) as file:
            for number, level in enumerate(levels):
                first = {"subifds": 3} if subifds and number == 0 else {"subfiletype": min(number, 1)}
                file.write(level, **kinds, **first)
        return Sample(path, tuple(levels))

    return make


def make_slide(path: Path, mpp: str = "|MPP = 0.25") -> tuple[np.ndarray, ...]:
    """What OpenSlide takes for an Aperio SVS: its mark in the description, tiles, a thumbnail second."""
    levels = [scene((300, 500))]
    levels += [halved(halved(levels[0]))]
    about = f"Aperio Image Library v11\n500x300 [0,0 500x300] (64x64) JPEG/RGB Q=90|AppMag = 40{mpp}"
    with tifffile.TiffWriter(path) as file:
        kinds = {"photometric": "rgb", "metadata": None}
        file.write(levels[0], tile=(64, 64), description=about, compression="deflate", **kinds)
        file.write(levels[1][::2, ::2], description=about + "|thumbnail", rowsperstrip=16, **kinds)
        file.write(levels[1], tile=(64, 64), description=about, compression="deflate", **kinds)
    return tuple(levels)


def _slide(folder: Path) -> Sample:
    pytest.importorskip("openslide")
    path = folder / "slide.svs"
    return Sample(path, make_slide(path))


def make_geotiff(path: Path, crs: str = "EPSG:32632", nodata: float | None = 0, **options) -> np.ndarray:
    rasterio = pytest.importorskip("rasterio")
    pixels = scene((300, 500))
    pixels[:40, :60] = 0
    profile = {"driver": "GTiff", "height": 300, "width": 500, "count": 3, "dtype": "uint8"} | options
    step = 0.5 if crs != "EPSG:4326" else 1e-5
    transform = rasterio.Affine(
        step, 0, 500000.0 if step == 0.5 else 8.0, 0, -step, 47.0 if step < 0.1 else 5e6
    )
    with rasterio.open(path, "w", crs=crs, transform=transform, nodata=nodata, **profile) as file:
        file.write(pixels.transpose(2, 0, 1))
    return pixels


def _geotiff(folder: Path) -> Sample:
    path = folder / "geo.tif"
    make_geotiff(path, tiled=True, blockxsize=64, blockysize=64, compress="lzw", photometric="rgb")
    import rasterio

    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], rasterio.enums.Resampling.average)
    return Sample(path, (by_gdal(path), by_gdal(path, 0), by_gdal(path, 1)))


def _cog(folder: Path) -> Sample:
    path, plain = folder / "cog.tif", folder / "cog_source.tif"
    make_geotiff(plain, photometric="rgb")
    import rasterio.shutil

    rasterio.shutil.copy(plain, path, driver="COG", blocksize=64, compress="deflate")
    return Sample(path, (by_gdal(path), by_gdal(path, 0), by_gdal(path, 1), by_gdal(path, 2)))


def _zarr(name: str, version: int) -> Callable[[Path], Sample]:
    def make(folder: Path) -> Sample:
        zarr = pytest.importorskip("zarr")
        pixels = scene()
        array = zarr.create_array(
            str(folder / name), shape=pixels.shape, chunks=(64, 64, 3), dtype="uint8", zarr_format=version
        )
        array[:] = pixels
        return Sample(folder / name, (pixels,))

    return make


def _ome_zarr(folder: Path) -> Sample:
    zarr = pytest.importorskip("zarr")
    path, levels = folder / "image.ome.zarr", [scene((300, 500))]
    levels.append(halved(levels[0]))
    group = zarr.open_group(str(path), mode="w", zarr_format=3)
    for number, level in enumerate(levels):
        shape, chunks = (3, *level.shape[:2]), (1, 64, 64)
        array = group.create_array(str(number), shape=shape, chunks=chunks, dtype="uint8")
        array[:] = level.transpose(2, 0, 1)
    axes = [{"name": "c", "type": "channel"}] + [
        {"name": name, "type": "space", "unit": "micrometer"} for name in "yx"
    ]
    sets = [
        {
            "path": str(n),
            "coordinateTransformations": [{"type": "scale", "scale": [1.0, 0.5 * 2**n, 0.5 * 2**n]}],
        }
        for n in range(2)
    ]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": sets}]}
    return Sample(path, tuple(levels))


def _jpeg2000(folder: Path) -> Sample:
    path = folder / "image.jp2"
    make_geotiff(path, nodata=None, driver="JP2OpenJPEG", reversible="yes", quality=100)
    return Sample(path, (by_gdal(path), by_gdal(path, 0), by_gdal(path, 1)))


FILES: dict[str, Callable[[Path], Sample]] = {
    "png rgb": _photo("rgb.png"),
    "png grey": _photo("grey.png", 1),
    "png rgba": _photo("rgba.png", 4),
    "jpeg": _photo("rgb.jpg", quality=90),
    "jpeg grey": _photo("grey.jpg", 1),
    "webp lossless": _photo("rgb.webp", lossless=True),
    "webp lossy": _photo("lossy.webp", quality=80),
    "webp rgba": _photo("rgba.webp", 4, lossless=True),
    "tiff plain": _tiff("plain.tif"),
    "tiff strips deflate": _tiff("strips.tif", compression="deflate", rowsperstrip=13),
    "tiff one strip lzw": _tiff("one.tif", compression="lzw", rowsperstrip=SIZE[0]),
    "tiff tiles": _tiff("tiles.tif", tile=(32, 48)),
    "tiff tiles deflate predictor": _tiff(
        "predictor.tif", tile=(64, 64), compression="deflate", predictor=True
    ),
    "tiff planes in strips": _tiff("planes.tif", planarconfig="separate", rowsperstrip=20),
    "tiff planes in tiles": _tiff("planetiles.tif", planarconfig="separate", tile=(48, 32)),
    "tiff big endian": _tiff("big.tif", dtype="uint16", byteorder=">"),
    "tiff big endian tiles": _tiff("bigtiles.tif", dtype="uint16", byteorder=">", tile=(64, 64)),
    "bigtiff grey 16 bits": _tiff("grey16.tif", 1, "uint16", bigtiff=True),
    "tiff float": _tiff("float.tif", 1, "float32", tile=(64, 64), compression="zstd"),
    "tiff signed": _tiff("signed.tif", 1, "int16"),
    "tiff five bands": _tiff("bands.tif", BAND_COUNT, "uint16"),
    "tiff pyramid in subIFDs": _pyramid("subifds.tif", True),
    "tiff pyramid in pages": _pyramid("pages.tif", False),
    "ome-tiff pyramid": _pyramid("pyramid.ome.tif", True, compression="deflate"),
    "slide": _slide,
    "geotiff with thumbnails": _geotiff,
    "cog": _cog,
    "jpeg 2000": _jpeg2000,
    "zarr 2": _zarr("two.zarr", 2),
    "zarr 3": _zarr("three.zarr", 3),
    "ome-zarr": _ome_zarr,
}
