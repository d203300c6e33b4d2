"""Masks in colour: each pixel the colour of its class, as drawing programs and many data sets have them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saccade.data.classes import Colour, parse_classes
from saccade.errors import FileProblem
from saccade.geometry import Window
from saccade.rasters import Raster, open_raster
from saccade.rasters.decoders import sniff
from saccade.rasters.labels import label_values, open_mask
from saccade.runtime.reading import read_json


@dataclass(frozen=True)
class ColourTable:
    """Which index each colour means.

    Attributes:
        codes: sorted, red * 65536 + green * 256 + blue.
        indices: as many values of masks.
    """

    codes: NDArray[np.int64]
    indices: NDArray[np.int64]

    @classmethod
    def read(cls, path: Path) -> ColourTable | None:
        """Of a ``classes.json``, the ignored class too; without colours that two classes share.

        None where the file has faults, or no colour.
        """
        value, faults = read_json(path)
        if value is None or faults or parse_classes(value, path)[0] is None:
            return None
        rows = [(code_of(row["colour"]), row["index"]) for row in value["classes"] if row.get("colour")]
        times = Counter(code for code, _ in rows)
        pairs = sorted((code, index) for code, index in rows if times[code] == 1)
        if not pairs:
            return None
        codes, indices = np.array(pairs, np.int64).T
        return cls(codes, indices)

    def indices_of(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
        """(H, W) indices of the colours (H, W, 3), and where the colour is one of the table."""
        codes = codes_of(pixels)
        at = np.searchsorted(self.codes, codes).clip(max=len(self.codes) - 1)
        return self.indices[at].astype(np.uint16), self.codes[at] == codes


def code_of(colour: Colour | list[int]) -> int:
    """One number for red, green, blue."""
    red, green, blue = colour
    return (red << 16) | (green << 8) | blue


def codes_of(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(H, W) of (H, W, 3 or more): red * 65536 + green * 256 + blue."""
    wide = pixels.astype(np.int64)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def colour_of(code: int) -> Colour:
    """The inverse of :func:`code_of`."""
    return code >> 16, code >> 8 & 255, code & 255


def read_colours(path: Path) -> NDArray[np.uint8] | None:
    """(H, W, 3) of a mask in colour; None where the file is none: one channel, JPEG, deep or see-through."""
    if sniff(path) in ("jpeg", "webp"):
        return None
    with open_raster(path, place=False) as raster:
        return _colours(raster, None)


def _colours(raster: Raster, window: Window | None) -> NDArray[np.uint8] | None:
    if raster.channels not in (3, 4) or raster.dtype != np.uint8:
        return None
    pixels = raster.read(window)
    if pixels.shape[-1] == 4 and (pixels[..., 3] != 255).any():
        return None
    return pixels[..., :3]


def read_mask(path: Path, colours: ColourTable | None, **ignored: int | None) -> NDArray[np.integer]:
    """Class indices (H, W), uint8 or uint16, of a mask of indices or of the colours of ``colours``.

    Three equal channels of values that are no such colours are taken for indices. ``ignored`` and ``instead``
    are those of :func:`saccade.rasters.read_label_map`.

    Raises:
        FileProblem: as :func:`saccade.rasters.read_label_map`, or for colours that no class has.
    """
    with open_mask(path) as raster:
        return mask_values(raster, colours, None, **ignored)


def mask_values(
    raster: Raster, colours: ColourTable | None, window: Window | None, **ignored: int | None
) -> NDArray[np.integer]:
    """As :func:`read_mask`, of a window of an open file."""
    path, pixels = raster.path, _colours(raster, window)
    if pixels is None:
        return label_values(raster, window, **ignored)
    known = None if colours is None else colours.indices_of(pixels)
    if known is not None and known[1].all():
        return known[0]
    if (pixels[..., :1] == pixels).all():
        return np.ascontiguousarray(pixels[..., 0])
    if known is None:
        return label_values(raster, window)  # which refuses it
    strange, times = np.unique(codes_of(pixels)[~known[1]], return_counts=True)
    order = np.argsort(-times)[:3]
    shown = ", ".join(f"{list(colour_of(int(strange[k])))} ({times[k]} pixels)" for k in order)
    more = f" and {len(strange) - 3} other colours" if len(strange) > 3 else ""
    fix = "give each class its colour there, or save masks without smoothing and compression"
    raise FileProblem(path, "only the colours (RGB) of the classes in classes.json", shown + more, fix)
