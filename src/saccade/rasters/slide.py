"""Whole slides (SVS, NDPI, MRXS, SCN, BIF, VMS, DICOM, ...) through OpenSlide."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from saccade.errors import FileProblem
from saccade.geometry import Window
from saccade.rasters.decoders import decoder_words, load, reading
from saccade.rasters.raster import Level, PixelSize, Raster, RasterInfo

_EXPECTED = "a whole slide"
_SUFFIXES = {".mrxs", ".vms", ".vmu", ".dcm", ".zvi", ".czi"}


class SlideRaster(Raster):
    """A slide as RGB; where the scanner took no image, the slide's own background colour."""

    def __init__(self, path: Path) -> None:
        openslide = load("openslide", "slides", path, "whole slides")
        self._error = openslide.OpenSlideError
        with self._reading(path):
            self._slide = openslide.OpenSlide(path)
            info = _info(path, self._slide)
        self._background = _background(self._slide.properties)
        super().__init__(info)

    def _read(self, window: Window, level: int) -> np.ndarray:
        pixels = self._rgba(window, level)
        alpha = pixels[..., 3:]
        if alpha.min() == 255:
            return np.ascontiguousarray(pixels[..., :3])
        return np.where(alpha == 0, self._background, pixels[..., :3])

    def _valid(self, window: Window, level: int) -> np.ndarray:
        return self._rgba(window, level)[..., 3] > 0

    def _rgba(self, window: Window, level: int) -> np.ndarray:
        """(h, w, 4); OpenSlide wants the corner in pixels of level 0."""
        down, across = self.levels[level].downsample
        corner = (round(window.left * across), round(window.top * down))
        with self._reading(self.path):
            return np.asarray(self._slide.read_region(corner, level, (window.width, window.height)))

    @contextmanager
    def _reading(self, path: Path) -> Iterator[None]:
        try:
            with reading(path, _EXPECTED):
                yield
        except self._error as error:
            raise FileProblem(path, _EXPECTED, decoder_words(error)) from None

    def close(self) -> None:
        self._slide.close()


def is_slide(path: Path, tiff: bool) -> bool:
    """Whether OpenSlide should read this file; where it is not installed, whether it would have to.

    Raises:
        FileProblem: a slide format, and OpenSlide is not installed.
    """
    try:
        openslide: Any = load("openslide", "slides", path, "whole slides")
    except FileProblem:
        if path.suffix.lower() in _SUFFIXES or (tiff and _vendor(path)):
            raise
        return False
    try:
        return openslide.OpenSlide.detect_format(path) not in (None, "generic-tiff")
    except openslide.OpenSlideError:
        return False


def _vendor(path: Path) -> bool:
    from tifffile import TiffFile

    with reading(path, _EXPECTED), TiffFile(path) as file:
        return bool(file.is_svs or file.is_ndpi or file.is_scn or file.is_bif or file.is_philips)


def _info(path: Path, slide: Any) -> RasterInfo:
    levels = tuple(
        Level((height, width), (float(scale), float(scale)), _tile(slide.properties, number, (height, width)))
        for number, ((width, height), scale) in enumerate(
            zip(slide.level_dimensions, slide.level_downsamples, strict=True)
        )
    )
    return RasterInfo(
        path,
        levels,
        np.dtype(np.uint8),
        3,
        "rgb",
        white=255,
        pixel_size=_pixel_size(slide.properties),
        masked=_has_gaps(slide),
        origin=_origin(slide.properties),
        background=float(np.rint(_background(slide.properties).mean())),
    )


_ALWAYS_WHOLE = {"aperio", "hamamatsu", "trestle", "generic-tiff"}
_GLANCE = 1 << 22


def _has_gaps(slide: Any) -> bool:
    """Whether some pixels may be unscanned: where formats allow it, what the coarsest level shows decides if
    it is small enough to be read for that."""
    properties = slide.properties
    if properties.get("openslide.vendor") in _ALWAYS_WHOLE:
        return False
    bounds = tuple(properties.get(f"openslide.bounds-{side}") for side in ("width", "height"))
    if None not in bounds and bounds != tuple(map(str, slide.dimensions)):
        return True
    width, height = slide.level_dimensions[-1]
    if width * height > _GLANCE:
        return True
    glance = slide.read_region((0, 0), slide.level_count - 1, (width, height))
    return bool(np.asarray(glance)[..., 3].min() < 255)


def _origin(properties: Any) -> tuple[int, int]:
    try:
        return int(properties["openslide.bounds-x"]), int(properties["openslide.bounds-y"])
    except (KeyError, ValueError):
        return 0, 0


def _tile(properties: Any, level: int, size: tuple[int, int]) -> tuple[int, int]:
    try:
        rows, columns = (
            int(properties[f"openslide.level[{level}].tile-{side}"]) for side in ("height", "width")
        )
    except (KeyError, ValueError):
        rows, columns = 256, 256
    return min(max(rows, 1), size[0]), min(max(columns, 1), size[1])


def _pixel_size(properties: Any) -> PixelSize | None:
    try:
        y, x = float(properties["openslide.mpp-y"]), float(properties["openslide.mpp-x"])
    except (KeyError, ValueError):
        return None
    return PixelSize(y, x, "micron") if 0 < y < 1e6 and 0 < x < 1e6 else None


def _background(properties: Any) -> np.ndarray:
    text = str(properties.get("openslide.background-color", "")).lstrip("#")
    colour = bytes.fromhex(text) if re.fullmatch("[0-9a-fA-F]{6}", text) else b"\xff\xff\xff"
    return np.frombuffer(colour, np.uint8)
