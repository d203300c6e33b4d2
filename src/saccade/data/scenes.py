"""The program's own data set, drawn islands and boats: for ``saccade demo`` and for tests."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from saccade.data.classes import ClassTable
from saccade.data.splits import SPLITS
from saccade.errors import FileProblem, InvalidInput
from saccade.rasters import write_label_png
from saccade.runtime.files import writing
from saccade.runtime.threads import in_order

Field = NDArray[np.float32]


def smooth_field(rng: np.random.Generator, size: tuple[int, int], cells: float) -> Field:
    """(H, W): random values on a raster with ``cells`` rows, interpolated; mean about 0, spread about 1."""
    height, width = size
    rows = max(2, min(height, round(cells) + 2))
    columns = max(2, min(width, round(cells * width / height) + 2))
    coarse = Image.fromarray(rng.standard_normal((rows, columns), np.float32))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)


def fractal_field(rng: np.random.Generator, size: tuple[int, int], cells: float, octaves: int) -> Field:
    """(H, W): a sum of smooth fields, each twice as fine and half as strong as the one before."""
    field = np.zeros(size, np.float32)
    for octave in range(octaves):
        field += smooth_field(rng, size, cells * 2**octave) * np.float32(0.5**octave)
    return field


_FINE = 4
_HULL = ((-0.5, -0.42), (0.15, -0.5), (0.5, 0.0), (0.15, 0.5), (-0.5, 0.42))
_DECK = ((-0.4, -0.26), (0.1, -0.3), (0.34, 0.0), (0.1, 0.3), (-0.4, 0.26))
_CABIN = ((-0.3, -0.2), (-0.05, -0.2), (-0.05, 0.2), (-0.3, 0.2))
_WAKE = ((-0.5, -0.2), (-0.5, 0.2), (-2.2, 0.9), (-1.7, 0.0), (-2.2, -0.9))
_HULLS = ((236, 236, 230), (196, 52, 44), (222, 132, 40), (232, 200, 72), (52, 56, 70), (240, 240, 240))
_FOAM = (225, 235, 238)


@dataclass(frozen=True)
class _Boat:
    row: float
    column: float
    length: float
    angle: float

    def outline(self, shape: tuple[tuple[float, float], ...]) -> list[tuple[float, float]]:
        """Corners (x, y) in pixels of ``shape``, given in lengths along and widths across the boat."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        points = [(along * self.length, across * self.length * 0.42) for along, across in shape]
        return [(self.column + a * cos - b * sin, self.row + a * sin + b * cos) for a, b in points]


def draw_boats(rng: np.random.Generator, picture: Field, offshore: Field) -> NDArray[np.bool_]:
    """Paints boats onto ``picture`` (3, H, W) in place; (H, W) bool, where they are.

    Args:
        offshore: (H, W) distance in pixels to the nearest land; 0 on land.
    """
    occupied = np.zeros(offshore.shape, bool)
    area_goal = rng.uniform(0.007, 0.014) * occupied.size
    for boat in _fleets(rng, offshore):
        if occupied.sum() >= area_goal:
            break
        if _is_free(boat, occupied, offshore):
            _draw(rng, boat, picture, occupied)
    if not occupied.any():
        row, column = np.unravel_index(int(offshore.argmax()), offshore.shape)
        _draw(rng, _Boat(float(row), float(column), _lengths(offshore)[0], 0.0), picture, occupied)
    return occupied


def draw_whitecaps(rng: np.random.Generator, picture: Field, offshore: Field) -> None:
    """Short streaks of foam all over the sea, in one direction: bright as a boat, but no boat."""
    height, width = offshore.shape
    angle, (short, _) = rng.uniform(0, np.pi), _lengths(offshore)
    for _ in range(rng.integers(40, 120)):
        row, column = rng.uniform((0, 0), (height, width))
        length = short * rng.uniform(0.3, 1.3)
        if offshore[int(row), int(column)] > 3:
            streak = _Boat(row, column, length, angle + rng.normal(0, 0.2))
            _fill(picture, streak.outline(((-0.5, -0.2), (0.5, -0.2), (0.5, 0.2), (-0.5, 0.2))), _FOAM, 0.7)


def _lengths(offshore: Field) -> tuple[float, float]:
    """Shortest and longest boat, in pixels."""
    unit = offshore.shape[0] / 512
    return max(5.0, 12 * unit), max(8.0, 48 * unit)


def _fleets(rng: np.random.Generator, offshore: Field) -> list[_Boat]:
    """A few strays, then fleets, of which the first is large: more boats than are needed."""
    height, width = offshore.shape
    shortest, longest = _lengths(offshore)
    sea = np.flatnonzero(offshore > longest)
    sea = sea if len(sea) else np.flatnonzero(offshore > 0)
    boats = []
    for fleet in range(int(rng.integers(1, 4))):
        row, column = np.unravel_index(int(rng.choice(sea)), offshore.shape)
        course = rng.uniform(0, 2 * np.pi)
        for _ in range(int(rng.integers(6, 16)) if fleet else 60):
            place = rng.normal((row, column), longest * 2.0)
            length = shortest * (longest / shortest) ** rng.uniform()
            boats.append(_Boat(place[0], place[1], length, course + rng.normal(0, 0.5)))
    strays = [
        _Boat(place[0], place[1], shortest * rng.uniform(1, 2), rng.uniform(0, 2 * np.pi))
        for place in rng.uniform((0, 0), (height, width), (int(rng.integers(1, 6)), 2))
    ]
    return strays + boats


def _is_free(boat: _Boat, occupied: NDArray[np.bool_], offshore: Field) -> bool:
    """In the picture, off the shore, and clear of other boats."""
    row, column, reach = round(boat.row), round(boat.column), round(boat.length * 0.6) + 1
    height, width = occupied.shape
    if not (0 <= row < height and 0 <= column < width) or offshore[row, column] <= reach:
        return False
    return not occupied[max(0, row - reach) : row + reach, max(0, column - reach) : column + reach].any()


def _draw(rng: np.random.Generator, boat: _Boat, picture: Field, occupied: NDArray[np.bool_]) -> None:
    hull = _HULLS[int(rng.integers(len(_HULLS)))]
    deck = tuple(int(0.55 * part + 0.45 * grey) for part, grey in zip(hull, (150, 120, 90), strict=True))
    if rng.uniform() < 0.4:
        _fill(picture, boat.outline(_WAKE), _FOAM, 0.35)
    shade = _Boat(boat.row + boat.length * 0.1, boat.column + boat.length * 0.06, boat.length, boat.angle)
    _fill(picture, shade.outline(_HULL), (10, 30, 50), 0.5)
    box, cover = _fill(picture, boat.outline(_HULL), hull, 1.0)
    _fill(picture, boat.outline(_DECK), deck, 1.0)
    _fill(picture, boat.outline(_CABIN), (245, 245, 245), 1.0)
    occupied[box] |= cover >= 0.5


def _fill(
    picture: Field, corners: list[tuple[float, float]], colour: tuple[int, ...], opacity: float
) -> tuple[tuple[slice, slice], Field]:
    """Blends a polygon into ``picture`` with soft edges; its box, and the share of each pixel it covers."""
    _, height, width = picture.shape
    xs, ys = zip(*corners, strict=True)
    top, left = max(0, int(min(ys)) - 1), max(0, int(min(xs)) - 1)
    bottom, right = max(top, min(height, int(max(ys)) + 2)), max(left, min(width, int(max(xs)) + 2))
    box = (slice(top, bottom), slice(left, right))
    if bottom == top or right == left:
        return box, np.zeros((bottom - top, right - left), np.float32)
    canvas = Image.new("L", ((right - left) * _FINE, (bottom - top) * _FINE))
    points = [((x - left) * _FINE, (y - top) * _FINE) for x, y in corners]
    ImageDraw.Draw(canvas).polygon(points, fill=255)
    cover = np.asarray(canvas.reduce(_FINE), np.float32) / np.float32(255)
    window = picture[:, box[0], box[1]]
    window += (np.array(colour, np.float32)[:, None, None] - window) * (cover * opacity)
    return box, cover


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


SCENE_CLASSES = ClassTable(
    names=("water", "land", "forest", "boat"),
    indices=(0, 1, 2, 3),
    colours=((28, 78, 128), (214, 196, 140), (46, 122, 58), (230, 50, 40)),
    file_ignore_index=255,
)
SMALLEST = 16


def make_scenes(
    out: Path | str,
    *,
    count: tuple[int, int, int] = (40, 8, 12),
    size: tuple[int, int] = (512, 1024),
    seed: int = 0,
    on_drawn: Callable[[], None] | None = None,
) -> Path:
    """Draws a data folder of seascapes with four classes, boats being about 1 % of the pixels.

    Args:
        out: the folder to make; it must not exist or be empty. It appears when all is drawn.
        count: scenes in train, val and test; a split of 0 is left out.
        size: (H, W) of every scene, at least 16 x 16.
        seed: the same seed draws the same scenes, whatever the number of cores.
        on_drawn: called after each scene.

    Returns:
        ``out``.

    Raises:
        InvalidInput: when a size is too small or no scene is wanted.
        FileProblem: when ``out`` is a file or a folder that is not empty.

    Examples:
        >>> from saccade.data import open_data
        >>> from saccade.data.scenes import make_scenes
        >>> data = open_data(make_scenes("scenes", count=(2, 1, 1), size=(32, 48)))
        >>> data.classes.names
        ('water', 'land', 'forest', 'boat')
    """
    if len(size) != 2 or min(size) < SMALLEST:
        raise InvalidInput("size", f"(H, W), each {SMALLEST} or more", size)
    if len(count) != 3 or min(count) < 0 or sum(count) == 0:
        raise InvalidInput("count", "three numbers (train, val, test), not all 0", count)
    root = Path(out)
    _refuse_used(root)
    part = root.with_name(f".{root.name}.{os.getpid()}.part")
    with writing(root):
        return _drawn(root, part, size, count, seed, on_drawn)


def _drawn(
    root: Path,
    part: Path,
    size: tuple[int, int],
    count: tuple[int, int, int],
    seed: int,
    on_drawn: Callable[[], None] | None,
) -> Path:
    try:
        for name in ("images", "masks"):
            (part / name).mkdir(parents=True)
        stems = [f"scene_{k:03}" for k in range(sum(count))]
        with closing(
            in_order(lambda k: _draw_files(part, stems[k], size, (seed, k)), range(len(stems)))
        ) as drawn:
            for _ in drawn:
                if on_drawn is not None:
                    on_drawn()
        _write_json(part / "classes.json", SCENE_CLASSES.as_dict())
        _write_json(part / "splits.json", {"seed": seed, **_splits(stems, count)})
        part.replace(root)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return root


def _draw_files(root: Path, stem: str, size: tuple[int, int], seed: tuple[int, int]) -> None:
    scene = draw_scene(np.random.default_rng(seed), size)
    Image.fromarray(scene.image).save(root / "images" / f"{stem}.jpg", quality=93, subsampling=0)
    write_label_png(root / "masks" / f"{stem}.png", scene.labels, SCENE_CLASSES.palette.tolist())


def _refuse_used(root: Path) -> None:
    if root.is_file() or (root.is_dir() and any(root.iterdir())):
        found = "a file" if root.is_file() else "a folder that is not empty"
        raise FileProblem(root, "a new or empty folder", found, "name another folder")


def _splits(stems: list[str], count: tuple[int, int, int]) -> dict[str, list[str]]:
    ends = np.cumsum(count)
    parts = zip(SPLITS, count, ends, strict=True)
    return {name: stems[end - number : end] for name, number, end in parts if number}


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
