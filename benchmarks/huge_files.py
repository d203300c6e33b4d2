"""Makes the huge images of ``huge.py``: JPEG pyramids in tiles of 512, as slide scanners write them; and the
maps of ``cluster.py`` and ``remote.py``.

A texture of 4,096 pixels with structure at many scales is repeated over the image, so that making takes
seconds; every tile is stored (nothing is shared), so that reading costs what a real file costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from scipy.ndimage import zoom

from saccade.rasters import Output, RasterWriter

TILE, TEXTURE, SMALLEST, QUALITY = 512, 4096, 1024, 85


def make_image(path: Path, side: int) -> None:
    """A ``side`` x ``side`` RGB BigTIFF, levels halved down to 1,024; complete or not there."""
    temporary = path.with_suffix(".part")
    texture = _texture()
    with tifffile.TiffWriter(temporary, bigtiff=True) as file:
        size, number = side, 0
        while number == 0 or size >= SMALLEST:
            file.write(
                _tiles(texture, size),
                shape=(size, size, 3),
                dtype="uint8",
                tile=(TILE, TILE),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                subfiletype=min(number, 1),
                metadata=None,
            )
            texture = _halved(texture)
            size, number = size // 2, number + 1
    temporary.rename(path)


def _texture() -> np.ndarray:
    rng = np.random.default_rng(0)
    total = np.zeros((TEXTURE, TEXTURE, 3), np.float32)
    for step in (1, 8, 32, 128):
        for channel in range(3):
            noise = rng.standard_normal((TEXTURE // step, TEXTURE // step)).astype(np.float32)
            total[..., channel] += noise if step == 1 else zoom(noise, step, order=1)
    low, high = total.min(), total.max()
    return ((total - low) / (high - low) * 255).astype(np.uint8)


def _halved(texture: np.ndarray) -> np.ndarray:
    side = texture.shape[0] // 2
    half = texture.reshape(side, 2, side, 2, 3).mean((1, 3)).astype(np.uint8)
    return half if side >= TILE else np.tile(half, (2, 2, 1))


def _tiles(texture: np.ndarray, size: int) -> Iterator[bytes]:
    across = texture.shape[0] // TILE
    packed = [[_jpeg(texture, row, column) for column in range(across)] for row in range(across)]
    count = -(-size // TILE)
    for row in range(count):
        for column in range(count):
            yield packed[row % across][column % across]


def _jpeg(texture: np.ndarray, row: int, column: int) -> bytes:
    tile = texture[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
    options = {"colorspace": "RGB", "outcolorspace": "YCBCR", "subsampling": "420"}
    return bytes(imagecodecs.jpeg_encode(np.ascontiguousarray(tile), level=QUALITY, **options))


def label_rows(top: int, rows: int, side: int, step: int = 1) -> np.ndarray:
    """(rows, side) uint8: seven classes in slanted blobs, seen at every ``step``-th pixel; cheap to make."""
    y = np.arange(top, top + rows) * step
    across = (np.arange(side + rows) // max(311 // step, 1) % 7).astype(np.uint8)
    out = np.empty((rows, side), np.uint8)
    for row in range(rows):
        start = int(y[row]) // 3 % rows
        np.remainder(across[start : start + side] + np.uint8(y[row] // 197 % 7), 7, out=out[row])
    return out


def make_map(path: Path, rows: int, columns: int, *, tile: int) -> None:
    """A COG of soft noise (rows, columns, 3) uint8, unless it is there; steps of 512 rows, 8 columns."""
    if path.exists():
        return
    rng = np.random.default_rng(0)
    place = {"crs": "EPSG:32632", "transform": (0.5, 0.0, 5e5, 0.0, -0.5, 5e6)}
    with RasterWriter(path, Output((rows, columns), "scores", channels=3, tile=tile, **place)) as writer:
        for _ in range(rows // 512):
            coarse = rng.integers(0, 255, (64, columns // 8, 3), np.uint8)
            writer.append(np.kron(coarse, np.ones((8, 8, 1), np.uint8)))
        writer.finish()
