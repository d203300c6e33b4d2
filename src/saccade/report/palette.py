"""Colours that colour-blind people and black-and-white printers tell apart: lightness rises all along."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

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

MOST_ON_RAMP = 8
"""More classes than this are too close to each other on the ramp; their own colours serve better."""


def ramp(values: ArrayLike) -> NDArray[np.uint8]:
    """Colours (..., 3) of values (...) in [0, 1], from dark violet over green to light yellow."""
    places = np.clip(np.asarray(values, np.float64), 0, 1) * (len(RAMP) - 1)
    below = np.minimum(places.astype(np.int64), len(RAMP) - 2)
    part = (places - below)[..., None]
    return np.rint(RAMP[below] * (1 - part) + RAMP[below + 1] * part).astype(np.uint8)


def class_palette(shares: ArrayLike, own: ArrayLike | None = None) -> NDArray[np.uint8]:
    """Colours (K, 3) of classes: the rarer, the lighter.

    Args:
        shares: (K,) pixels of each class, or any measure of how frequent it is.
        own: (K, 3) the classes' own colours, which serve where K > 8.
    """
    order = np.argsort(np.argsort(-np.asarray(shares, np.float64), kind="stable"), kind="stable")
    if own is not None and len(order) > MOST_ON_RAMP:
        return np.asarray(own, np.uint8)
    return ramp(order / max(1, len(order) - 1))


def hex_colour(colour: ArrayLike) -> str:
    """ "#rrggbb" of a colour in 0..255."""
    red, green, blue = np.asarray(colour, np.int64).tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"
