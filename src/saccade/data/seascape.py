"""One scene of the program's own: islands seen from above, and a few small boats on a wide sea.

Water, land and forest are large and show in any overview. Boats take about one pixel in a hundred, lie in
fleets, and are as long as a few cells of a coarse sampling grid, so that it matters where a sampler looks.
Whitecaps of the same brightness are there to be told from them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from saccade.data.boats import draw_boats, draw_whitecaps
from saccade.data.noise import Field, fractal_field, smooth_field

WATER, LAND, FOREST, BOAT = range(4)

_DEEP, _SHALLOW = (22, 66, 104), (74, 156, 160)
_SAND, _GRASS = (206, 190, 146), (136, 140, 92)
_FOREST, _CROWNS = (34, 66, 40), (70, 104, 56)


@dataclass(frozen=True)
class Scene:
    """``image`` (H, W, 3) uint8 and ``labels`` (H, W) uint8 in 0..3."""

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def draw_scene(rng: np.random.Generator, size: tuple[int, int]) -> Scene:
    """A scene of (H, W) pixels; the same generator state gives the same scene."""
    height = fractal_field(rng, size, 2.0, 6)
    height -= np.quantile(height, 1.0 - rng.uniform(0.15, 0.35))
    labels = _ground(rng, height)
    offshore = _offshore(labels == WATER)
    picture = _paint(rng, height, labels, offshore)
    draw_whitecaps(rng, picture, offshore)
    labels[draw_boats(rng, picture, offshore)] = BOAT
    return Scene(_photograph(rng, picture), labels)


def _ground(rng: np.random.Generator, height: Field) -> NDArray[np.uint8]:
    labels = np.where(height > 0, LAND, WATER).astype(np.uint8)
    cover = fractal_field(rng, (height.shape[0], height.shape[1]), 6.0, 3) + np.minimum(height, 0.5) * 2
    inland = labels == LAND
    if inland.any():
        labels[inland & (cover > np.quantile(cover[inland], rng.uniform(0.4, 0.6)))] = FOREST
    return labels


def _paint(rng: np.random.Generator, height: Field, labels: NDArray[np.uint8], offshore: Field) -> Field:
    """(3, H, W) in 0..255: the ground without anything on it."""
    size = (height.shape[0], height.shape[1])
    ripples = smooth_field(rng, size, size[0] / 6) * 0.06 + smooth_field(rng, size, size[0] / 24) * 0.05
    grain = smooth_field(rng, size, size[0] / 5)
    picture = _blend(_SHALLOW, _DEEP, 1 - np.exp(-offshore / (0.09 * size[0])) + ripples)
    land, forest = labels != WATER, labels == FOREST
    picture[:, land] = _blend(_SAND, _GRASS, height[land] * 2.5 + grain[land] * 0.15)
    picture[:, forest] = _blend(_FOREST, _CROWNS, 0.4 + grain[forest] * 0.35)
    slope = np.gradient(ndimage.gaussian_filter(height, size[0] / 200), axis=1) * size[0]
    picture[:, land] *= 1 + np.clip(slope[land] * 0.02, -0.25, 0.25)
    return picture


def _blend(low: tuple[int, int, int], high: tuple[int, int, int], share: Field) -> Field:
    """(3, ...) between two colours, at the share of the second, which is limited to 0..1."""
    start, end = np.array(low, np.float32), np.array(high, np.float32)
    shape = (3,) + (1,) * share.ndim
    return start.reshape(shape) + (end - start).reshape(shape) * np.clip(share, 0, 1)[None]


def _photograph(rng: np.random.Generator, picture: Field) -> NDArray[np.uint8]:
    """Light from one side, drifting shadows of clouds, a tint, and the noise of the camera."""
    _, height, width = picture.shape
    angle = np.float32(rng.uniform(0, 2 * np.pi))
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, width, dtype=np.float32)
    clouds = np.clip(smooth_field(rng, (height, width), 3.0) - 0.8, 0, 1) * np.float32(rng.uniform(0, 0.5))
    light = (1 + 0.12 * (np.sin(angle) * rows + np.cos(angle) * columns)) * (1 - clouds)
    gain = rng.uniform(0.75, 1.15) * (1 + rng.normal(0, 0.04, 3))
    noise = rng.standard_normal(picture.shape, np.float32) * np.float32(rng.uniform(2, 6))
    lit = picture * light * gain.astype(np.float32)[:, None, None] + noise
    return np.ascontiguousarray(np.clip(lit, 0, 255).astype(np.uint8).transpose(1, 2, 0))


def _offshore(sea: NDArray[np.bool_]) -> Field:
    """(H, W): about how many pixels away the nearest land is, measured on every second pixel."""
    coarse = ndimage.distance_transform_edt(sea[::2, ::2]).astype(np.float32) * 2
    distance = np.repeat(np.repeat(coarse, 2, axis=0), 2, axis=1)[: sea.shape[0], : sea.shape[1]]
    return np.where(sea, distance, 0)
