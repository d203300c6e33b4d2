"""PNG, JPEG and WebP: formats without windows, decoded whole when first read and kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from saccade.rasters.faults import reading
from saccade.rasters.orientation import orient, oriented_pair
from saccade.rasters.photo_header import Header, jpeg_header, png_header
from saccade.rasters.raster import Level, Raster, RasterInfo
from saccade.rasters.sniff import misnamed
from saccade.rasters.webp import webp_header
from saccade.rasters.window import Window

_KINDS: dict[str, tuple[str, Callable[[Path], Header]]] = {
    "png": ("a PNG image", png_header),
    "jpeg": ("a JPEG image", jpeg_header),
    "webp": ("a WebP image", webp_header),
}


class PhotoRaster(Raster):
    """A PNG, JPEG or WebP image as it is shown (EXIF orientation applied)."""

    def __init__(self, path: Path, kind: str) -> None:
        self._expected, read_header = _KINDS[kind]
        with reading(path, self._expected):
            header = read_header(path)
            super().__init__(_info(path, kind, header))
        self._header = header
        self._pixels: np.ndarray | None = None
        self._lock = threading.Lock()

    def _read(self, window: Window, level: int) -> np.ndarray:
        with self._lock:
            if self._pixels is None:
                self._require_memory(self.info.resident)
                with reading(self.path, self._expected):
                    self._pixels = self._decode()
            pixels = self._pixels
        return pixels[window.slices].copy()

    def _decode(self) -> np.ndarray:
        pixels = self._header.decode()
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        if pixels.shape != (*self._header.size, self.channels):
            raise ValueError("the pixels are not what the header promised")
        return orient(pixels.astype(self.dtype, copy=False), self._header.orientation)

    def close(self) -> None:
        self._pixels = None


def _info(path: Path, kind: str, header: Header) -> RasterInfo:
    size = oriented_pair(header.size, header.orientation)
    dtype = np.dtype(np.uint8 if header.white <= 255 else np.uint16)
    return RasterInfo(
        path,
        (Level.of(size, size, (256, 256)),),
        dtype,
        header.channels,
        header.meaning,
        white=header.white,
        alpha=header.alpha,
        palette=header.palette,
        notices=(*misnamed(path, kind), *header.notices),
        resident=size[0] * size[1] * header.channels * dtype.itemsize,
    )
