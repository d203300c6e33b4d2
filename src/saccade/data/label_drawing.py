"""Label maps from vector files: which polygons lie on an image, drawn by the rule of ``classes.json``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data.coco import CocoFile, decode_mask, is_coco, runs_of
from saccade.data.label_rule import LabelRule
from saccade.data.placing import Interpretation, about, no_place, place_vectors, reach_beyond
from saccade.data.polygons import Part, inside_polygon
from saccade.data.vectors import (
    JSON_SUFFIXES,
    VECTOR_SUFFIXES,
    Box,
    Corners,
    Feature,
    JsonVectors,
    TableVectors,
    Vectors,
    read_any_json,
)
from saccade.errors import FileProblem
from saccade.rasters import Raster
from saccade.rasters.decoders import load

VectorFile = Vectors | CocoFile


def open_vectors(path: Path, layer: str | None = None) -> VectorFile:
    """A vector file by its content; raises FileProblem where it is none."""
    if path.suffix.lower() not in VECTOR_SUFFIXES:
        raise FileProblem(path, f"a vector file ({' '.join(VECTOR_SUFFIXES)})", "a file of another kind")
    if path.suffix.lower() not in JSON_SUFFIXES:
        return TableVectors.read(path, layer)
    value = read_any_json(path)
    return CocoFile.parse(value, path) if is_coco(value) else JsonVectors.of(value, path)


@dataclass(frozen=True)
class Seen:
    """What was seen while a label map was drawn.

    Attributes:
        path: of the vector file.
        pixels: of the map.
        covered: pixels that any polygon covers.
        contested: pixels that polygons of different classes cover.
        missed: features that cover no centre of a pixel.
        beyond: features that reach out of the image.
        empty: features of the file without an area.
        crossing: numbers of the features whose outline crosses itself.
        assumed: what was taken for granted about their place.
    """

    path: Path
    pixels: int
    covered: int = 0
    contested: int = 0
    missed: int = 0
    beyond: int = 0
    empty: int = 0
    crossing: tuple[int, ...] = ()
    assumed: str = ""


def draw_labels(
    file: VectorFile,
    raster: Raster,
    stem: str,
    size: tuple[int, int],
    rule: LabelRule,
    *,
    shared: bool = False,
) -> tuple[NDArray[np.integer], Seen]:
    """The label map (h, w) of an image, uint8 or uint16, and what was seen: index 0 where there is no
    polygon; of several, the last counts.

    A feature's class is ``properties.classification.name`` (QuPath), or another of
    :data:`saccade.data.label_rule.FIELDS`.

    Args:
        file: of this image, or of many. Over an image without a place on a map, in pixels of its full
            resolution, from where QuPath counts them (``raster.info.origin``). Over one with a place, in the
            reference system that the file names; GeoJSON without a "crs" in WGS 84 (RFC 7946), in the
            image's own system or in pixels, whichever alone meets the image.
        raster: the image.
        stem: its name, by which COCO lists it.
        size: (h, w) of the map.
        rule: of the classes.
        shared: the file labels many images, of which some may have no polygon.

    Raises:
        FileProblem: a damaged file, another geometry than polygons, a class that is not in the table, a
            system that is not known or could be two, or no polygon that meets the image.
    """
    vectors = _listed(file, raster, stem) if isinstance(file, CocoFile) else file
    if vectors is None:
        if not shared:
            raise FileProblem(file.path, f"the image {stem} among its images", "none of that name")
        return _blank(size, rule), Seen(file.path, size[0] * size[1])
    meaning = place_vectors(vectors, raster)
    if meaning is None:
        if vectors.bounds is not None and not shared:
            raise no_place(vectors, raster)
        return _blank(size, rule), Seen(file.path, size[0] * size[1], empty=vectors.empty)
    features = vectors.features(meaning.box)
    attributes = rule.attributes_of(vectors, features)
    shapes = [on_image(feature, meaning, vectors.path) for feature in features]
    labels, seen = _draw(shapes, attributes, raster.size, size, rule, vectors.path)
    return labels, replace(seen, assumed=meaning.assumed, empty=vectors.empty)


def outlines_on(vectors: Vectors, raster: Raster) -> list[tuple[Feature, tuple[tuple[Corners, ...], ...]]]:
    """The features that meet an image, each with the rings of its polygons in pixels of the image.

    Raises:
        FileProblem: for a place that is not known, or could be two.
    """
    meaning = place_vectors(vectors, raster)
    if meaning is None:
        return []
    shapes = (on_image(feature, meaning, vectors.path) for feature in vectors.features(meaning.box))
    return [(shape.feature, shape.polygons) for shape in shapes]


def _listed(file: CocoFile, raster: Raster, stem: str) -> JsonVectors | None:
    """The objects of one image, whose size COCO must know."""
    name = file.name_of(stem)
    if name is None:
        return None
    listed = file.sizes[name]
    if listed is not None and listed != raster.size:
        expected = f"the size of {about(raster)} at {name}"
        raise FileProblem(file.path, expected, f"{listed[1]} x {listed[0]} (width x height)")
    for feature in file.objects[name].items:
        if feature.mask is not None and tuple(map(int, feature.mask["size"])) != raster.size:
            found = f"{feature.mask['size']} in annotation {feature.number}"
            raise FileProblem(file.path, f"run lengths of the size of {about(raster)}", found)
    return file.objects[name]


@dataclass(frozen=True)
class Shape:
    """A feature in pixels of the full image."""

    feature: Feature
    polygons: tuple[tuple[Corners, ...], ...]

    @property
    def area(self) -> float:
        """Pixels, holes taken off."""
        if self.feature.mask is not None:
            return float(runs_of(self.feature.mask)[1::2].sum())
        outlines = sum(_area(polygon[0]) for polygon in self.polygons)
        return outlines - sum(_area(hole) for polygon in self.polygons for hole in polygon[1:])


def _area(ring: Corners) -> float:
    x, y = (ring - ring[0]).T
    return abs(float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum())) / 2


def on_image(feature: Feature, meaning: Interpretation, path: Path) -> Shape:
    """A feature in pixels. What is far from the image is cut off first where the system is another: it may
    have no place there, or a wrong one."""
    polygons: Sequence[tuple[Corners, ...]] = feature.polygons
    if meaning.curved and meaning.box is not None and polygons:
        around = _as_much_again(meaning.box)
        low, high = feature.corners.min(0), feature.corners.max(0)
        if (low < around[:2]).any() or (high > around[2:]).any():
            polygons = _cut(polygons, around, path)
    mapped = tuple(tuple(meaning.to_pixels(ring) for ring in polygon) for polygon in polygons)
    if not all(np.isfinite(ring).all() for polygon in mapped for ring in polygon):
        found = f"some without, in feature {feature.number}"
        raise FileProblem(path, "corners that have a place in the image's system", found)
    return Shape(feature, mapped)


def _as_much_again(box: Box) -> Box:
    left, low, right, high = box
    return 2 * left - right, 2 * low - high, 2 * right - left, 2 * high - low


def _cut(polygons: Iterable[tuple[Corners, ...]], box: Box, path: Path) -> list[tuple[Corners, ...]]:
    """The parts of polygons within a box."""
    shapely = load("shapely", "geo", path, "polygons that reach far out of the image")
    shapes = [shapely.Polygon(rings[0], rings[1:]) for rings in polygons]
    return [
        tuple(shapely.get_coordinates(ring) for ring in shapely.get_rings(part))
        for part in shapely.get_parts(shapely.clip_by_rect(shapes, *box))
        if part.geom_type == "Polygon" and not part.is_empty
    ]


def _blank(size: tuple[int, int], rule: LabelRule) -> NDArray[np.integer]:
    wide = max(rule.classes.allowed_values) > 255
    return np.full(size, rule.unlabelled, np.uint16 if wide else np.uint8)


def _draw(
    shapes: Sequence[Shape], attributes: Sequence[Any], full: tuple[int, int], size: tuple[int, int],
    rule: LabelRule, path: Path,
) -> tuple[NDArray[np.integer], Seen]:  # fmt: skip
    labels = _blank(size, rule)
    covered, contested = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
    scale = np.array([size[1] / full[1], size[0] / full[0]])
    indices = [index for value in attributes if (index := rule.index_of(value)) is not None]
    missed = 0
    for number in _drawing_order(shapes, indices, rule):
        pixels = 0
        for part, inside in _parts(shapes[number], size, scale):
            pixels += int(inside.sum())
            if not pixels:
                continue
            before, index = labels[part], indices[number]
            contested[part] |= inside & covered[part] & (before != index)
            covered[part] |= inside
            before[inside] = index
        missed += not pixels
    beyond = [shape for shape in shapes if any(reach_beyond(p[0], full) for p in shape.polygons)]
    counts = int(covered.sum()), int(contested.sum()), missed, len(beyond)
    return labels, Seen(path, size[0] * size[1], *counts, crossing=_crossing(shapes))


def _parts(
    shape: Shape, size: tuple[int, int], scale: NDArray[np.float64]
) -> Iterator[tuple[Part, NDArray[np.bool_]]]:
    for rings in shape.polygons:
        yield inside_polygon(size, [ring * scale for ring in rings])
    if shape.feature.mask is not None:
        inside = decode_mask(shape.feature.mask)
        rows, columns = (
            ((np.arange(side) + 0.5) * has / side).astype(int)
            for side, has in zip(size, inside.shape, strict=True)
        )
        yield (slice(0, size[0]), slice(0, size[1])), inside[np.ix_(rows, columns)]


def _drawing_order(shapes: Sequence[Shape], indices: Sequence[int], rule: LabelRule) -> list[int]:
    """Which is drawn first, so that what counts is drawn last."""
    numbers = list(range(len(shapes)))
    if rule.overlaps == "first":
        return numbers[::-1]
    if rule.overlaps in ("smallest", "largest"):
        areas = [shape.area for shape in shapes]
        return sorted(numbers, key=lambda n: areas[n], reverse=rule.overlaps == "smallest")
    if rule.overlaps == "classes":
        rank = {index: place for place, index in enumerate(rule.order)}
        return sorted(numbers, key=lambda n: rank[indices[n]])
    return numbers


def _crossing(shapes: Sequence[Shape]) -> tuple[int, ...]:
    """Numbers of the features that are no valid polygons; () where shapely is not installed."""
    try:
        import shapely
    except ImportError:
        return ()
    crossing = []
    for shape in shapes:
        for rings in shape.polygons:
            if len(rings[0]) < 4 or not shapely.is_valid(shapely.Polygon(rings[0], rings[1:])):
                crossing.append(shape.feature.number)
                break
    return tuple(crossing)


def remarks_on(seen: Sequence[Seen], rule: LabelRule, *, shared: bool) -> list[str]:
    """What a user should know of all label maps that were drawn, one line each.

    ``shared``: one file labels many images, so that polygons reach from one into the next.
    """
    if not seen:
        return []
    pixels, covered = (
        sum(getattr(image_seen, name) for image_seen in seen) for name in ("pixels", "covered")
    )
    lines = []
    if covered < pixels:
        way = "" if rule.told else '; "unlabelled" in classes.json says otherwise'
        lines.append(
            f"{_percent(pixels - covered, pixels)} of the area has no polygon: {rule.unlabelled_name}{way}"
        )
    contested = sum(image_seen.contested for image_seen in seen)
    if contested:
        wins = {"classes": "the later class of classes.json"}.get(rule.overlaps, f"the {rule.overlaps}")
        share = _percent(contested, covered)
        lines.append(f"polygons of different classes overlap in {share} of the labelled area: {wins} counts")
    if missed := sum(image_seen.missed for image_seen in seen):
        lines.append(f"{_many(missed, 'polygon')} without the centre of any pixel: no label")
    if (beyond := sum(image_seen.beyond for image_seen in seen)) and not shared:
        lines.append(f"{_many(beyond, 'polygon')} beyond the border of the image: cut off")
    empty = {image_seen.path: image_seen.empty for image_seen in seen}
    if any(empty.values()):
        lines.append(f"{_many(sum(empty.values()), 'feature')} without an area: left out")
    for path in dict.fromkeys(image_seen.path for image_seen in seen):
        crossing = sorted(
            {number for image_seen in seen if image_seen.path == path for number in image_seen.crossing}
        )
        if crossing:
            few = ", ".join(map(str, crossing[:5])) + (", ..." if len(crossing) > 5 else "")
            what = "that cross themselves: what they surround twice is outside"
            lines.append(f"{path.name}: {_many(len(crossing), 'polygon')} ({few}) {what}")
    return [
        *lines,
        *sorted(
            {f"{image_seen.path.name}: {image_seen.assumed}" for image_seen in seen if image_seen.assumed}
        ),
    ]


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole
    return f"{share:.3g} %" if share < 99.5 or part == whole else f"{min(share, 99.99):.2f} %"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count > 1)}"
