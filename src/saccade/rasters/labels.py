"""Label maps: one class index a pixel, in a PNG or TIFF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from saccade.errors import FileProblem, InvalidInput
from saccade.geometry import Window
from saccade.rasters.decoders import sniff
from saccade.rasters.open import open_raster
from saccade.rasters.raster import Raster
from saccade.runtime.files import finished_file

_EXPECTED = "a single-channel PNG or TIFF of class indices"


def read_label_map(path: Path | str, *, ignored: int | None = None, instead: int | None = None) -> np.ndarray:
    """Class indices (H, W), uint8 or uint16, as the image is shown (EXIF orientation applied).

    A palette PNG gives its indices, not its colours. Whole numbers kept as floats are taken.

    Args:
        path: of a PNG or TIFF.
        ignored: a value of the file, which may be below 0, that is read as ``instead``; NaN is too.
        instead: 0 to 65535.

    Raises:
        FileProblem: not a label map: colours, opacity, JPEG or WebP, fractions, indices outside 0 to 65535
            but for ``ignored``; or any fault of ``open_raster``.

    Examples:
        >>> import numpy as np
        >>> from saccade.rasters import read_label_map, write_label_png
        >>> write_label_png("labels.png", np.array([[0, 1], [2, 300]]))
        >>> read_label_map("labels.png").tolist()
        [[0, 1], [2, 300]]
    """
    with open_mask(Path(path)) as raster:
        return label_values(raster, ignored=ignored, instead=instead)


def open_mask(path: Path) -> Raster:
    """An open label map; raises FileProblem for a format that changes values."""
    kind = sniff(path)
    if kind in ("jpeg", "webp"):
        raise FileProblem(
            path,
            _EXPECTED,
            f"a {kind.upper()} image",
            "JPEG and WebP change class indices; save masks as PNG",
        )
    return open_raster(path, place=False)


def label_values(
    raster: Raster, window: Window | None = None, *, ignored: int | None = None, instead: int | None = None
) -> np.ndarray:
    """As :func:`read_label_map`, of a window of an open file."""
    path = raster.path
    if raster.channels != 1 or raster.dtype.kind not in "uif":
        raise _not_indices(raster)
    labels = raster.read(window)[..., 0]
    if labels.dtype.kind == "f":
        if instead is not None:
            labels = np.where(np.isnan(labels), instead, labels)
        if not np.isfinite(labels).all() or not (labels == np.floor(labels)).all():
            raise _not_indices(raster)
    if labels.dtype.itemsize == 1 and labels.dtype.kind == "u":
        return labels
    if ignored is not None and instead is not None and ignored != instead:
        if (labels == instead).any():
            fix = f"give what {instead} means in the file another value"
            raise FileProblem(path, f"no {instead}, as which {ignored} is read", f"{instead}", fix)
        labels = np.where(labels == ignored, instead, labels.astype(np.int64))
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0 or high > 65535:
        raise FileProblem(path, "class indices from 0 to 65535", f"values from {low} to {high}")
    return labels.astype(np.uint16, copy=False)


def _not_indices(raster: Raster) -> FileProblem:
    if raster.dtype.kind not in "ui":
        found = f"{raster.dtype} values that are no whole numbers"
        return FileProblem(raster.path, _EXPECTED, found, "save the indices as uint8 or uint16")
    kind = {3: "colours (RGB)", 4: "colours with alpha (RGBA)", 2: "grey with alpha"}.get(raster.channels)
    fix = "replace each colour by its class index and save one channel: see docs/data.md"
    if raster.channels - raster.info.alpha == 1:
        fix = "save the first channel alone"
    elif raster.channels == 3:
        colours = raster.read()
        if (colours[..., :1] == colours).all():
            fix = "its three channels are equal: save one of them alone"
    return FileProblem(raster.path, _EXPECTED, kind or f"{raster.channels} channels", fix)


def write_label_png(
    path: Path | str,
    labels: np.ndarray,
    palette: Sequence[Sequence[int]] | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Write class indices (H, W) as a PNG: with ``palette`` (N, 3), 0 to 255, as a palette image (indices up
    to 255 only); without one as grey, 16 bits where an index is above 255.

    The file appears under its name only when it is complete.

    Raises:
        InvalidInput: labels are not (H, W) integers from 0 to 65535, or a palette meets indices above 255.
        FileProblem: the file exists and ``overwrite`` is not set, or it cannot be written.

    Examples:
        >>> import numpy as np
        >>> from PIL import Image
        >>> from saccade.rasters import write_label_png
        >>> write_label_png("labels.png", np.array([[0, 1, 1]]), palette=[(0, 0, 0), (255, 0, 0)])
        >>> Image.open("labels.png").mode
        'P'
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise FileProblem(path, "a name that ends in .png", path.suffix or "no extension")
    labels = _checked(labels)
    image = Image.fromarray(np.ascontiguousarray(labels))
    if palette is not None:
        image.putpalette(_palette_bytes(palette, int(labels.max(initial=0))))
    with finished_file(path, overwrite=overwrite) as temporary:
        image.save(temporary, format="PNG")


def _checked(labels: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.size == 0 or labels.dtype.kind not in "uib":
        raise InvalidInput("labels", "integers (H, W)", f"{labels.dtype} {labels.shape}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > 65535:
        raise InvalidInput("labels", "from 0 to 65535", f"{low} to {high}")
    return labels.astype(np.uint8 if high <= 255 else np.uint16, copy=False)


def _palette_bytes(palette: Sequence[Sequence[int]], highest: int) -> bytes:
    colours = np.asarray(palette)
    if colours.ndim != 2 or colours.shape[1] != 3 or len(colours) > 256 or colours.dtype.kind not in "ui":
        raise InvalidInput("palette", "at most 256 rows (red, green, blue) of integers", f"{colours.shape}")
    if colours.size and (colours.min() < 0 or colours.max() > 255):
        raise InvalidInput("palette", "values from 0 to 255", f"{colours.min()} to {colours.max()}")
    if highest > 255:
        raise InvalidInput(
            "labels", "0 to 255 with a palette", f"up to {highest}", "leave the palette out, or write TIFF"
        )
    full = np.zeros((256, 3), np.uint8)
    full[: len(colours)] = colours
    return full.tobytes()
