"""Pictures of one image, arrays in, arrays out, in colours that everybody can tell apart."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

RAMP = np.array(
    [
        (68, 1, 84),
        (71, 44, 122),
        (59, 81, 139),
        (44, 113, 142),
        (33, 144, 141),
        (39, 173, 129),
        (92, 200, 99),
        (170, 220, 50),
        (253, 231, 37),
    ],
    np.float64,
)
"""Nine places of viridis (van der Walt and Smith 2015)."""


def ramp(values: ArrayLike) -> NDArray[np.uint8]:
    """Colours (..., 3) of values (...) in [0, 1], from dark violet over green to light yellow."""
    places = np.clip(np.asarray(values, np.float64), 0, 1) * (len(RAMP) - 1)
    below = np.minimum(places.astype(np.int64), len(RAMP) - 2)
    part = (places - below)[..., None]
    return np.rint(RAMP[below] * (1 - part) + RAMP[below + 1] * part).astype(np.uint8)


def class_palette(frequency: ArrayLike, own: ArrayLike | None = None) -> NDArray[np.uint8]:
    """Colours (K, 3) of classes: their own; where they have none, the rarer, the lighter.

    Args:
        frequency: (K,) pixels of each class, or any measure of how frequent it is.
        own: (K, 3) the classes' own colours.
    """
    if own is not None:
        return np.asarray(own, np.uint8)
    order = np.argsort(np.argsort(-np.asarray(frequency, np.float64), kind="stable"), kind="stable")
    return ramp(order / max(1, len(order) - 1))


def hex_colour(colour: ArrayLike) -> str:
    """ "#rrggbb" of a colour in 0..255."""
    red, green, blue = np.asarray(colour, np.int64).tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


Picture = NDArray[np.uint8]
"""(H, W, 3) red, green, blue."""

DRAWN_AT_ONCE = 1 << 18
"""Pixels that are mixed in float64 at one time."""
LABEL_WEIGHT = 0.55
IGNORED = np.array([128, 128, 128])
MISSED, INVENTED = np.array([213, 94, 0]), np.array([86, 180, 233])
STRIPE = 6


def _row_bands(size: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """(top, bottom) of rows of a picture (H, W) that are drawn at one time."""
    rows = max(1, DRAWN_AT_ONCE // max(1, size[1]))
    for top in range(0, size[0], rows):
        yield top, min(top + rows, size[0])


def shrink(picture: NDArray[np.uint8], width: int, *, labels: bool = False) -> NDArray[np.uint8]:
    """A picture (H, W, 3) or label map (H, W) at most ``width`` pixels wide, averaged (labels: nearest)."""
    height, full = picture.shape[:2]
    if full <= width:
        return picture
    how = Image.Resampling.NEAREST if labels else Image.Resampling.BOX
    return np.asarray(Image.fromarray(picture).resize((width, max(1, round(height * width / full))), how))


def shrink_labels(labels: NDArray[np.uint8], width: int, rarity: NDArray[np.int64]) -> NDArray[np.uint8]:
    """A label map at most ``width`` wide in which a block takes its rarest class, so small objects stay.

    Args:
        labels: (H, W) class ids, 255 ignored.
        width: of the result, in pixels.
        rarity: (K,) class ids from the most frequent to the rarest.
    """
    step = -(-labels.shape[1] // width)
    if step == 1:
        return labels
    rank = np.zeros(256, np.uint8)
    rank[rarity] = np.arange(1, len(rarity) + 1)
    back = np.full(256, 255, np.uint8)
    back[1 : len(rarity) + 1] = rarity
    rows, columns = -(-labels.shape[0] // step) * step, -(-labels.shape[1] // step) * step
    ranks = np.zeros((rows, columns), np.uint8)
    ranks[: labels.shape[0], : labels.shape[1]] = rank[labels]
    return back[ranks.reshape(rows // step, step, columns // step, step).max((1, 3))]


def label_picture(labels: NDArray[np.uint8], palette: NDArray[np.uint8]) -> Picture:
    """Flat colours of a label map (H, W); ignored pixels grey. ``palette`` is (K, 3)."""
    table = np.broadcast_to(IGNORED, (256, 3)).astype(np.uint8)
    table[: len(palette)] = palette
    return table[labels]


def outlines(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(H, W) True on pixels whose right or lower neighbour has another label."""
    marked = np.zeros(labels.shape, np.bool_)
    marked[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    marked[:-1] |= labels[:-1] != labels[1:]
    return marked


def overlay(image: Picture, labels: NDArray[np.uint8], palette: NDArray[np.uint8]) -> Picture:
    """Labels as colours over the grey image, with white outlines so that borders do not hang on colour.

    Args:
        image: (H, W, 3).
        labels: (H, W) class ids, 255 ignored (the image stays as it is there).
        palette: (K, 3).
    """
    out = np.empty(image.shape, np.uint8)
    for top, bottom in _row_bands(labels.shape):
        here, band = image[top:bottom], labels[top:bottom]
        grey = here.mean(-1, keepdims=True).repeat(3, -1)
        mixed = (1 - LABEL_WEIGHT) * grey + LABEL_WEIGHT * label_picture(band, palette)
        mixed[band == 255] = here[band == 255]
        mixed[outlines(labels[top : bottom + 1])[: bottom - top]] = 255
        out[top:bottom] = np.rint(mixed)
    return out


def density_picture(density: NDArray[np.floating], size: tuple[int, int]) -> Picture:
    """A density (h, w) >= 0, dark where sparse, light where dense, resized to (H, W).

    The square root is drawn, so that moderate densities show beside high ones.
    """
    root = np.sqrt(np.maximum(density, 0).astype(np.float64))
    span = root.max() - root.min()
    scaled = (root - root.min()) / span if span > 0 else np.zeros_like(root)
    return np.asarray(Image.fromarray(ramp(scaled)).resize(size[::-1], Image.Resampling.BILINEAR))


def samples_on(image: Picture, grid: NDArray[np.floating], *, most: int = 12_000) -> Picture:
    """Sample positions as dots on the darkened image.

    Args:
        image: (H, W, 3).
        grid: (h, w, 2), (x, y) in [-1, 1].
        most: of more samples than this, every second (third, ...) row and column is drawn.
    """
    step = int(np.ceil(np.sqrt(grid.shape[0] * grid.shape[1] / most)))
    nodes = grid[::step, ::step].reshape(-1, 2)
    height, width = image.shape[:2]
    side = int(np.clip(np.sqrt(height * width / len(nodes)) / 4, 1, 4))
    x = np.rint((nodes[:, 0] + 1) / 2 * (width - 1)).astype(np.int64)
    y = np.rint((nodes[:, 1] + 1) / 2 * (height - 1)).astype(np.int64)
    out = np.empty(image.shape, np.uint8)
    for top, bottom in _row_bands((height, width)):
        out[top:bottom] = np.rint(image[top:bottom] * 0.45)
    for down, right in np.ndindex(side, side):
        out[(y - side // 2 + down).clip(0, height - 1), (x - side // 2 + right).clip(0, width - 1)] = 255
    return out


def error_picture(
    image: Picture, truth: NDArray[np.uint8], pred: NDArray[np.uint8], background: int
) -> Picture:
    """Where prediction and truth differ, on the pale grey image; ignored pixels stay pale.

    Solid orange: a pixel of another class than ``background`` that was not given its class. Striped blue: a
    background pixel that was given a class.
    """
    pale = 255 - (255 - image.mean(-1, keepdims=True).repeat(3, -1)) * 0.35
    wrong = (truth != pred) & (truth != 255)
    invented = wrong & (truth == background)
    rows, columns = np.arange(truth.shape[0])[:, None], np.arange(truth.shape[1])
    pale[wrong & ~invented] = MISSED
    pale[invented] = INVENTED
    pale[invented & ((rows + columns) % STRIPE < STRIPE // 3)] = 40
    return np.rint(pale).astype(np.uint8)


def worst_window(
    truth: NDArray[np.uint8], pred: NDArray[np.uint8], window: tuple[int, int], weights: NDArray[np.floating]
) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of the window with the heaviest errors.

    Args:
        truth, pred: (H, W) class ids; where the truth is 255 nothing is wrong.
        window: (rows, columns) of it, cut down to the image where that is smaller.
        weights: (K,) of a wrong pixel, by true class.
    """
    from scipy import ndimage  # loads slowly, and predictions draw nothing

    table = np.zeros(256, np.float32)
    table[: len(weights)] = weights
    wrong = np.where(truth != pred, table[truth], 0)
    height, width = truth.shape
    rows, columns = min(window[0], height), min(window[1], width)
    span = rows | 1, columns | 1
    summed = ndimage.uniform_filter(wrong, span, mode="constant")
    centred = ndimage.uniform_filter(
        summed, span, mode="constant"
    )  # else any window that holds them would do
    row, column = divmod(int(centred.argmax()), width)
    top = min(max(row - rows // 2, 0), height - rows)
    left = min(max(column - columns // 2, 0), width - columns)
    return top, top + rows, left, left + columns


def outlined(image: Picture, labels: NDArray[np.uint8], *, zoom: int = 1) -> Picture:
    """The image enlarged ``zoom`` times, with the outlines of the labels in white edged with black."""
    from scipy import ndimage

    large = image.repeat(zoom, 0).repeat(zoom, 1)
    lines = outlines(labels.repeat(zoom, 0).repeat(zoom, 1))
    out = large.copy()
    out[ndimage.binary_dilation(lines, np.ones((3, 3)), iterations=2)] = 0
    out[ndimage.binary_dilation(lines, np.ones((2, 2)))] = 255
    return out


def at_centres(labels: NDArray[np.integer], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """A label map (H, W) at the centres of the pixels of a picture (h, w); ids above 254 are 255."""
    rows, columns = (
        (np.arange(n) * 2 + 1) * side // (2 * n) for n, side in zip(size, labels.shape, strict=True)
    )
    return np.minimum(labels[np.ix_(rows, columns)], 255).astype(np.uint8)


def png_address(picture: Picture) -> str:
    """A picture as an address that holds its own bytes: ``data:image/png;base64,...``."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def titled_html(title: str, inner: str) -> str:
    """What an object shows in a notebook: a line, and below it parts that are HTML already."""
    return f"<div><p><b>{escape(title)}</b></p>{inner}</div>"


def table_html(
    head: Sequence[str],
    rows: Sequence[Sequence[object]],
    colours: Mapping[str, ArrayLike] | None = None,
) -> str:
    """A small table for a notebook; "" without rows.

    Args:
        head: names of the columns.
        rows: cells; None is shown as a dash, a float with three digits, all else as its text.
        colours: of the names in the first column, each (3,) in 0..255.
    """
    if not rows:
        return ""
    swatches = {name: f'{_SWATCH}{hex_colour(colour)}"></span> ' for name, colour in (colours or {}).items()}
    lines = [
        f'<td style="text-align:left">{swatches.get(str(first), "")}{_cell(first)}</td>'
        + "".join(f'<td style="text-align:right">{_cell(cell)}</td>' for cell in rest)
        for first, *rest in rows
    ]
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<table><tr>{names}</tr>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


_SWATCH = '<span style="display:inline-block;width:1em;height:1em;background:'


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else escape(str(value))


def curves_html(curves: Mapping[str, Sequence[float | None]], over: str) -> str:
    """Small line charts beside each other for a notebook, each on a scale of its own; those of fewer than two
    values are left out.

    Args:
        curves: by name the values, one a step, None where there is none.
        over: what a step is ("epoch").
    """
    return "".join(
        f'<figure style="display:inline-block;margin:0 8px 8px 0">{svg}'
        f"<figcaption>{escape(name)} over {escape(over)}</figcaption></figure>"
        for name, values in curves.items()
        if (svg := _curve_svg(values))
    )


def _curve_svg(values: Sequence[float | None], width: int = 240, height: int = 100) -> str:
    known = [(x, y) for x, y in enumerate(values, 1) if y is not None and np.isfinite(y)]
    if len(known) < 2:
        return ""
    low, high = min(y for _, y in known), max(y for _, y in known)
    first, last = known[0][0], known[-1][0]
    points = " ".join(
        f"{(x - first) / (last - first) * width:.1f},"
        f"{height - (y - low) / ((high - low) or 1) * (height - 24) - 12:.1f}"
        for x, y in known
    )
    words = "".join(
        f'<text x="0" y="{y}" font-size="10" fill="currentColor">{value:.3g}</text>'
        for y, value in ((10, high), (height - 1, low))
    )
    line = f'<polyline points="{points}" fill="none" stroke="#0072b2" stroke-width="2"/>'
    return f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}">{line}{words}</svg>'


def notebook_html(pictures: Mapping[str, Picture], classes: Sequence[tuple[str, ArrayLike]]) -> str:
    """Pictures side by side, by their captions, and below them the colours of classes; needs nothing else."""
    shown = "".join(
        f'<figure style="display:inline-block;margin:0 8px 8px 0"><img src="{png_address(picture)}" '
        f'alt="{escape(name)}" style="max-width:100%"><figcaption>{escape(name)}</figcaption></figure>'
        for name, picture in pictures.items()
    )
    legend = " ".join(
        f'<span>{_SWATCH}{hex_colour(colour)}"></span> {escape(name)}</span>' for name, colour in classes
    )
    return f"<div>{shown}<div>{legend}</div></div>"
