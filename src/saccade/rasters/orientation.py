"""The EXIF / TIFF orientation tag: how stored rows and columns stand to what a viewer shows."""

from __future__ import annotations

import numpy as np

from saccade.rasters.window import Window

# tag: (flip stored rows, flip stored columns, then swap axes)
_STEPS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (True, True, False),
    4: (True, False, False),
    5: (False, False, True),
    6: (True, False, True),
    7: (True, True, True),
    8: (False, True, True),
}


def orient(array: np.ndarray, tag: int) -> np.ndarray:
    """A stored image (h, w, ...) as it is shown; a view, no copy. Unknown tags mean 1, as viewers do."""
    rows, columns, swap = _STEPS.get(tag, _STEPS[1])
    array = array[:: -1 if rows else 1, :: -1 if columns else 1]
    return array.swapaxes(0, 1) if swap else array


def oriented_pair(pair: tuple, tag: int) -> tuple:
    """A (rows, columns) pair of the stored image, as shown."""
    return (pair[1], pair[0]) if _STEPS.get(tag, _STEPS[1])[2] else pair


def stored_window(window: Window, shown: tuple[int, int], tag: int) -> Window:
    """The stored rectangle whose oriented pixels are ``window`` of an image shown as ``shown`` (H, W)."""
    rows, columns, swap = _STEPS.get(tag, _STEPS[1])
    top, bottom, left, right = window.top, window.bottom, window.left, window.right
    height, width = shown
    if swap:
        top, bottom, left, right, height, width = left, right, top, bottom, width, height
    if rows:
        top, bottom = height - bottom, height - top
    if columns:
        left, right = width - right, width - left
    return Window(top, bottom, left, right)
