"""Where polygons lie on an image: from the coordinates of their file to pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from saccade.data.vectors import JSON_SUFFIXES, Box, Corners, Vectors
from saccade.errors import FileProblem
from saccade.rasters import Raster
from saccade.rasters.georeference import reprojection, system_name

Mapping = Callable[[Corners], Corners]


@dataclass(frozen=True)
class Interpretation:
    """One meaning of a file's coordinates.

    Attributes:
        name: of the system, or "pixels".
        to_pixels: from them to pixels of the full image; may cut long edges into pieces.
        place: the same of corners as they are.
        box: around the image, in the coordinates of the file; None where it has no place there.
        curved: straight lines are no longer so on the image, and what is far away may have no place at all.
        assumed: what was taken for granted, for the user to know.
    """

    name: str
    to_pixels: Mapping
    place: Mapping
    box: Box | None
    assumed: str = ""
    curved: bool = False


def place_vectors(vectors: Vectors, raster: Raster) -> Interpretation | None:
    """The one meaning of the coordinates under which the polygons meet the image; None where there is none.

    Args:
        vectors: of a file.
        raster: the image.

    Raises:
        FileProblem: there are two meanings that differ, or a system that is not known.
    """
    possible = _interpretations(vectors, raster)
    if len(possible) == 1:
        return possible[0] if len(vectors.near(possible[0].box)) else None
    bounds = vectors.bounds
    if bounds is None:
        return None
    meeting = [meaning for meaning in possible if _meets(meaning, vectors, bounds, raster)]
    if not meeting:
        return None
    places = [meaning.place(_frame(bounds)) for meaning in meeting]
    for meaning, place in zip(meeting[1:], places[1:], strict=True):
        if not np.abs(place - places[0]).max() <= 0.5:
            both = f"polygons that meet it in {meeting[0].name} and in {meaning.name}"
            raise FileProblem(vectors.path, f"one place on {about(raster)}", both, _fix(vectors))
    return meeting[0]


def no_place(vectors: Vectors, raster: Raster) -> FileProblem:
    """That no polygon meets an image, with what was found and what was expected."""
    names = " or ".join(meaning.name for meaning in _interpretations(vectors, raster))
    left, low, right, high = vectors.bounds or (0.0, 0.0, 0.0, 0.0)
    got = f"x from {left:.9g} to {right:.9g}, y from {low:.9g} to {high:.9g} ({names})"
    fix = _fix(vectors) if raster.transform and vectors.system is None else ""
    return FileProblem(vectors.path, f"polygons that meet {about(raster)}", got, fix)


def _fix(vectors: Vectors) -> str:
    if vectors.path.suffix.lower() == ".shp":
        return f"save their reference system as {vectors.path.stem}.prj"
    is_json = vectors.path.suffix.lower() in JSON_SUFFIXES
    return 'name their reference system in a "crs" member' if is_json else "save them with a reference system"


def about(raster: Raster) -> str:
    """An image in a message: its name, size and reference system."""
    height, width = raster.size
    system = system_name(raster.crs) or "no reference system"
    return f"{raster.path.name} ({width} x {height} pixels, {system})"


def _interpretations(vectors: Vectors, raster: Raster) -> list[Interpretation]:
    """Every meaning that the file allows, the likeliest first."""
    origin = np.zeros(2) if vectors.unnamed == "pixels" else np.asarray(raster.info.origin, float)
    frame = _frame((0.0, 0.0, float(raster.size[1]), float(raster.size[0])))
    pixels = _direct("pixels", lambda ring: ring + origin, frame - origin)
    is_json = vectors.path.suffix.lower() in JSON_SUFFIXES
    if raster.transform is None and vectors.system is not None and not is_json:
        expected = f"a place on a map, for labels in {system_name(vectors.system)}"
        raise FileProblem(raster.path, expected, "none", "give the image one, or save the labels in pixels")
    if raster.transform is None or vectors.unnamed == "pixels":
        return [pixels]
    on_map = _forward(raster.transform)(frame)
    system = system_name(raster.crs) or "map coordinates"
    own = _direct(system, _inverse(raster.transform), on_map)
    if vectors.system is not None:
        return [_in_system(vectors.system, raster, vectors, on_map) if raster.crs else own]
    if vectors.unnamed == "own" or raster.crs is None:
        assumed = "" if is_json else f"no reference system: taken for the image's, {system}"
        own = Interpretation(own.name, own.to_pixels, own.place, own.box, assumed)
        return [pixels, own]
    bounds = vectors.bounds or (0.0, 0.0, 0.0, 0.0)
    is_degrees = max(abs(bounds[0]), abs(bounds[2])) <= 360 and max(abs(bounds[1]), abs(bounds[3])) <= 90
    degrees = [_in_system("OGC:CRS84", raster, vectors, on_map)] if is_degrees else []
    return [*degrees, own, pixels]


def _frame(bounds: Box, steps: int = 16) -> Corners:
    """Points along the border of a box, for in another system its edges are curves."""
    left, low, right, high = bounds
    share = np.linspace(0, 1, steps + 1)[:-1]
    corners = np.array([(left, low), (right, low), (right, high), (left, high), (left, low)], float)
    return np.concatenate([a + share[:, None] * (b - a) for a, b in pairwise(corners)])


def _direct(name: str, to_pixels: Mapping, frame: Corners) -> Interpretation:
    return Interpretation(name, to_pixels, to_pixels, _box(frame))


def _box(corners: Corners) -> Box | None:
    finite = corners[np.isfinite(corners).all(1)]
    if not len(finite):
        return None
    low, high = finite.min(0), finite.max(0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _forward(transform: tuple[float, ...]) -> Mapping:
    a, b, c, d, e, f = transform
    return lambda ring: ring @ np.array([[a, b], [d, e]]).T + (c, f)


def _inverse(transform: tuple[float, ...]) -> Mapping:
    a, b, c, d, e, f = transform
    inverse = np.linalg.inv(np.array([[a, b], [d, e]]))
    return lambda ring: (ring - (c, f)) @ inverse.T


def _in_system(name: str, raster: Raster, vectors: Vectors, on_map: Corners) -> Interpretation:
    """The coordinates of another system, brought to the image's, and on to pixels."""
    assert raster.crs is not None and raster.transform is not None
    to_map = reprojection(name, raster.crs, vectors.path)
    to_pixels = _inverse(raster.transform)
    if to_map is None:
        return _direct(system_name(name), to_pixels, on_map)
    from_map = reprojection(raster.crs, name, vectors.path)
    assert from_map is not None

    def place(corners: Corners) -> Corners:
        return to_pixels(to_map(corners))

    def dense(corners: Corners) -> Corners:
        return place(_dense(corners, to_map, to_pixels))

    box = _wider(_box(from_map(on_map)))
    return Interpretation(system_name(name), dense, place, box, curved=True)


def _wider(box: Box | None) -> Box | None:
    """A twentieth more on each side: the border between two points of the frame may bulge."""
    if box is None:
        return None
    more_x, more_y = (box[2] - box[0]) / 20, (box[3] - box[1]) / 20
    return box[0] - more_x, box[1] - more_y, box[2] + more_x, box[3] + more_y


_LONGEST_EDGE = 8.0
_MOST_PIECES = 256


def _dense(ring: Corners, to_map: Mapping, to_pixels: Mapping) -> Corners:
    """Long edges cut into pieces: they are straight in their own system, and curves in another."""
    lengths = np.hypot(*np.diff(to_pixels(to_map(ring)), axis=0).T)
    lengths = np.where(np.isfinite(lengths), lengths, 0)
    pieces = np.clip(np.ceil(lengths / _LONGEST_EDGE), 1, _MOST_PIECES).astype(int)
    edge = np.repeat(np.arange(len(pieces)), pieces)
    step = (np.arange(len(edge)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) / pieces[edge]
    cut = ring[edge] + step[:, None] * (ring[1:] - ring[:-1])[edge]
    return np.concatenate([cut, ring[-1:]])


def _meets(meaning: Interpretation, vectors: Vectors, bounds: Box, raster: Raster) -> bool:
    """Whether any polygon's box meets the image; in pixels only where all are no mere point, as longitudes
    and latitudes of one place are."""
    if meaning.box is None or not len(vectors.near(meaning.box)):
        return False
    extent = max(bounds[2] - bounds[0], bounds[3] - bounds[1])
    return not (meaning.name == "pixels" and raster.crs is not None and extent < 1)


def reach_beyond(places: NDArray[np.float64], size: tuple[int, int]) -> bool:
    """Whether corners (n, 2) in pixels lie a pixel or more outside of an image (H, W)."""
    low, high = places.min(0), places.max(0)
    return bool((low < -1).any() or high[0] > size[1] + 1 or high[1] > size[0] + 1)
