"""Images on disk and segmenters for the tests of prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
import torch
from scipy import ndimage

from saccade.data.classes import ClassTable
from saccade.samplers import DeformationSampler, Sampler, UniformSampler
from saccade.segmenter import Segmenter

CLASSES = ClassTable(("sea", "land", "boat"), (0, 1, 2), ((0, 0, 90), (0, 120, 0), (250, 250, 0)), 255)


def picture(size: tuple[int, int], seed: int = 0, sigma: float = 6) -> np.ndarray:
    """(H, W, 3) uint8: soft blobs of colour."""
    noise = np.random.default_rng(seed).standard_normal((*size, 3))
    smooth = ndimage.gaussian_filter(noise, (sigma, sigma, 0))
    return ((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)


def write_pyramid(path: Path, pixels: np.ndarray, levels: int = 3, tile: int = 64, **options: object) -> Path:
    """A tiled TIFF with levels halved by means."""
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for number in range(levels):
            kinds = {"photometric": "rgb", "tile": (tile, tile), "subfiletype": min(number, 1)}
            file.write(pixels, metadata=None, **kinds, **(options if number == 0 else {}))
            rows, columns = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2
            pixels = (
                pixels[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2, 3).mean((1, 3)).astype("u1")
            )
    return path


def make_geotiff(path: Path, pixels: np.ndarray, nodata: int | None = None) -> Path:
    """A GeoTIFF of half a metre a pixel with thumbnails."""
    import rasterio
    from rasterio.enums import Resampling

    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "tiled": True}
    profile |= {"blockxsize": 64, "blockysize": 64, "height": pixels.shape[0], "width": pixels.shape[1]}
    transform = rasterio.Affine(0.5, 0, 500000, 0, -0.5, 5e6)
    with rasterio.open(path, "w", crs="EPSG:32632", transform=transform, nodata=nodata, **profile) as file:
        file.write(pixels.transpose(2, 0, 1))
        file.build_overviews([2, 4], Resampling.average)
    return path


def segmenter(sampler: Sampler | None = None, classes: int = 3, seed: int = 0) -> Segmenter:
    """Random weights that answer to colour and a little context."""
    torch.manual_seed(seed)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 5, padding=2), torch.nn.ReLU(), torch.nn.Conv2d(8, classes, 3, padding=1)
    )
    return Segmenter(UniformSampler((24, 32)) if sampler is None else sampler, network).eval()


def bent(size: tuple[int, int] = (24, 32), seed: int = 3) -> Segmenter:
    """A learned sampler with random weights that gathers its samples visibly."""
    torch.manual_seed(seed)
    sampler = DeformationSampler(size)
    for layer in sampler.net.layers:
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.data *= 2
    return segmenter(sampler)
