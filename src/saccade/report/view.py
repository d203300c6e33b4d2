"""The page of one image: its thumbnail, and labels over it that fade in and out."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saccade.errors import FileProblem
from saccade.figures import class_palette, hex_colour, label_picture
from saccade.geometry import Window, fitted_size
from saccade.rasters import Raster, as_rgb, open_raster, thumbnail
from saccade.rasters.picture import info_needs_picture, seen_alone
from saccade.report.html import Figure, facts, figure, page, text

WIDTH = 1600
STRIP = 16
"""Rows of the picture whose labels are read at a time."""

_OVERLAY = """<style>.stack { position: relative; } .stack img { width: 100%; display: block; }
.stack img + img { position: absolute; inset: 0; image-rendering: pixelated; }</style>"""


_SLIDER = (
    '<label>labels <input type="range" min="0" max="100" value="50" '
    "oninput=\"document.getElementById('labels').style.opacity=this.value/100\"></label>"
)


def image_page(
    image: Path,
    labels: Path | None,
    known: Mapping[str, object],
    value_range: tuple[float, float] | None = None,
) -> str:
    """HTML of an image, at most 1600 pixels wide, with what is known of it.

    Args:
        image: any image that Saccade reads, a slide too.
        labels: class indices of the same size, drawn on top; None for none.
        known: names and values for the list below.
        value_range: the sample values of black and white; None: by the rule of ``saccade.rasters.as_rgb``.

    Raises:
        FileProblem: when a file is none of these, or the sizes differ.
    """
    with open_raster(image) as raster:
        size = fitted_size(raster.size, WIDTH)
        own = value_range is None and info_needs_picture(raster.info)
        shown_as = seen_alone(raster) if own else as_rgb(raster, value_range=value_range)
        pixels = thumbnail(shown_as, size)
        drawn = figure("image", "", f"{image.name}: thumbnail", pixels)
        whole = raster.size
    top, legend = ("", "") if labels is None else _labels(labels, whole, size)
    shown = f'<div class="stack">{_img(drawn)}{top}</div>'
    head = f"<h1>{text(image.name)}</h1>"
    size_told = known.get("size")
    if isinstance(size_told, list | tuple):
        known = {**known, "size": " x ".join(map(str, size_told)) + " (rows x columns)"}
    return page(f"Saccade: {image.name}", f"{_OVERLAY}{head}{shown}{legend}{facts(known)}")


def _labels(labels: Path, whole: tuple[int, int], size: tuple[int, int]) -> tuple[str, str]:
    """The picture that lies on top, and below it the slider and the colours."""
    ids, colours = _read(labels, whole, size)
    picture = figure("labels", "", f"labels of {labels.name}", label_picture(ids, colours), flat=True)
    swatches = " ".join(
        f'<span class="swatch" style="background:{hex_colour(colours[k])}"></span>{k}'
        for k in np.unique(ids[ids < len(colours)]).tolist()
    )
    return _img(picture, ' id="labels" style="opacity:0.5"'), f"<p>{_SLIDER} {swatches}</p>"


def _read(
    labels: Path, whole: tuple[int, int], size: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(h, w) ids at the centres of the picture's pixels, and (K, 3) their colours."""
    with open_raster(labels) as raster:
        if raster.size != whole or raster.channels != 1 or raster.dtype.kind not in "ui":
            expected = f"class indices of {whole[0]}x{whole[1]}, the size of the image"
            got = f"{raster.channels} channels of {raster.dtype}, {raster.size[0]}x{raster.size[1]}"
            raise FileProblem(labels, expected, got)
        ids = _at_centres(raster, size)
        palette = raster.info.palette
    if palette is not None:
        return ids, np.asarray(palette, np.uint8)
    counts = np.bincount(ids[ids < 255], minlength=1)
    return ids, class_palette(counts, None)


def _at_centres(raster: Raster, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Strip by strip, so that a huge label map is never whole in memory."""
    rows, columns = (
        (np.arange(n) * 2 + 1) * side // (2 * n) for n, side in zip(size, raster.size, strict=True)
    )
    parts = []
    for start in range(0, size[0], STRIP):
        strip_rows = rows[start : start + STRIP]
        window = Window(int(strip_rows[0]), int(strip_rows[-1]) + 1, 0, raster.size[1])
        parts.append(raster.read(window)[strip_rows - strip_rows[0]][:, columns, 0])
    return np.concatenate(parts).clip(0, 255).astype(np.uint8)


def _img(shown: Figure, more: str = "") -> str:
    coded = base64.b64encode(shown.data).decode("ascii")
    return f'<img src="data:image/{shown.kind};base64,{coded}" alt="{text(shown.alt)}"{more}>'
