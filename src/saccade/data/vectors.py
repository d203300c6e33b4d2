"""Polygons with attributes, as the files of GIS and of annotation tools hold them."""

from __future__ import annotations

import json
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from saccade.data.polygons import closed
from saccade.errors import FileProblem, nearest_name
from saccade.rasters.decoders import load
from saccade.runtime.memory import physical_memory
from saccade.runtime.reading import open_regular, parse_json

Corners = NDArray[np.float64]
Box = tuple[float, float, float, float]
"""Least x and y, greatest x and y."""
Unnamed = Literal["wgs84", "own", "pixels"]

JSON_SUFFIXES = (".geojson", ".json")
TABLE_SUFFIXES = (".gpkg", ".shp", ".fgb")
VECTOR_SUFFIXES = (*JSON_SUFFIXES, *TABLE_SUFFIXES)
_BESIDE = (
    ".dbf", ".shx", ".prj", ".cpg", ".sbn", ".sbx", ".qix", ".qpj", ".qmd", ".qml", ".shp.xml", ".gpkg-wal",
    ".gpkg-shm", ".gpkg-journal",
)  # fmt: skip


def belongs_to_vectors(path: Path) -> bool:
    """Whether a file is a part of a vector file beside it, as a Shapefile's table is."""
    return path.name.lower().endswith(_BESIDE)


@dataclass(frozen=True)
class Feature:
    """One object of a file.

    Attributes:
        number: by which messages name it: its place in a JSON file, its id in a table.
        polygons: the rings of each polygon, outline first, (n, 2) closed, in the coordinates of the file.
        attributes: by name; of GeoJSON ``classification`` is its name.
        mask: run lengths of COCO, in place of polygons.
    """

    number: int
    polygons: tuple[tuple[Corners, ...], ...]
    attributes: Mapping[str, Any]
    mask: Mapping[str, Any] | None = None

    @property
    def corners(self) -> Corners:
        """(n, 2) of all rings; those of its image where it is a mask."""
        if self.mask is not None:
            height, width = self.mask["size"]
            return np.array([(0, 0), (width, height)], np.float64)
        return np.concatenate([ring for polygon in self.polygons for ring in polygon])


@dataclass(frozen=True)
class Vectors(ABC):
    """A vector file.

    Attributes:
        path: the file.
        system: the reference system that it names ("EPSG:32632" or WKT); None without.
        unnamed: what its coordinates mean then: WGS 84 unless they fit better otherwise (GeoJSON), the
            image's own system or pixels, or pixels alone (COCO).
        empty: how many features have no polygon with an area.
    """

    path: Path
    system: str | None
    unnamed: Unnamed
    empty: int

    @property
    @abstractmethod
    def numbers(self) -> NDArray[np.int64]:
        """(n,) of every feature with an area."""

    @property
    @abstractmethod
    def fields(self) -> tuple[str, ...]:
        """Names of attributes."""

    @abstractmethod
    def values(self, name: str) -> list[Any]:
        """The attribute of every feature, None where one has none of that name."""

    @property
    @abstractmethod
    def bounds(self) -> Box | None:
        """Of all features; None without any."""

    @abstractmethod
    def near(self, box: Box | None) -> NDArray[np.int64]:
        """(n,) numbers of the features whose boxes meet ``box``; of all for None."""

    @abstractmethod
    def features(self, box: Box | None) -> list[Feature]:
        """Those, in the order of the file; of a table nothing else is read."""


_EXPECTED = "a GeoJSON FeatureCollection of polygons"
MEMORY_PER_BYTE = 8
"""Bytes that a byte of JSON takes once it is read, about."""


@dataclass(frozen=True)
class JsonVectors(Vectors):
    """GeoJSON, QuPath's too (a bare list of features, ``classification.name``): all of it in memory."""

    items: tuple[Feature, ...] = field(repr=False)

    @classmethod
    def of(cls, value: Any, path: Path) -> JsonVectors:
        """Of what ``path`` holds; raises FileProblem for geometries that are no polygons."""
        if isinstance(value, list):
            value = {"type": "FeatureCollection", "features": value}
        if not isinstance(value, dict):
            raise FileProblem(path, _EXPECTED, f"a JSON {type(value).__name__}")
        items = [feature for feature in _json_features(value, path) if feature.polygons]
        total = len(value["features"]) if value.get("type") == "FeatureCollection" else 1
        unnamed: Unnamed = "own" if "crs" in value else "wgs84"
        return cls(path, _named_system(value, path), unnamed, total - len(items), tuple(items))

    @property
    def numbers(self) -> NDArray[np.int64]:
        return np.array([feature.number for feature in self.items], np.int64)

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for feature in self.items for name in feature.attributes))

    def values(self, name: str) -> list[Any]:
        return [feature.attributes.get(name) for feature in self.items]

    @cached_property
    def _boxes(self) -> NDArray[np.float64]:
        rows = [np.concatenate([c.min(0), c.max(0)]) for c in (feature.corners for feature in self.items)]
        return np.array(rows, np.float64).reshape(-1, 4)

    @property
    def bounds(self) -> Box | None:
        return _bounds_of(self._boxes)

    def near(self, box: Box | None) -> NDArray[np.int64]:
        return self.numbers[_meeting(self._boxes, box)]

    def features(self, box: Box | None) -> list[Feature]:
        return [feature for feature, kept in zip(self.items, _meeting(self._boxes, box), strict=True) if kept]


def read_any_json(path: Path) -> Any:
    """What a JSON file holds; raises FileProblem where it is broken, or larger than the memory bears."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise FileProblem(path, "a JSON file", error.strerror or str(error)) from None
    most = physical_memory() // 2 // MEMORY_PER_BYTE
    if size > most:
        expected = f"at most {most >> 20} MiB of JSON, which is held in memory whole"
        fix = f"save it as a GeoPackage, which is read by place: ogr2ogr {path.stem}.gpkg {path.name}"
        raise FileProblem(path, expected, f"{size >> 20} MiB", fix)
    value, faults = parse_json(path, "a JSON object")
    if faults:
        raise FileProblem(path, faults[0].expected, faults[0].found)
    return value


def _json_features(value: dict[str, Any], path: Path) -> Iterator[Feature]:
    features = value.get("features") if value.get("type") == "FeatureCollection" else [value]
    if not isinstance(features, list) or not all(isinstance(one, dict) for one in features):
        raise FileProblem(path, _EXPECTED, "no list of features")
    for number, feature in enumerate(features):
        try:
            geometry = feature["geometry"] if feature.get("type", "Feature") == "Feature" else feature
            polygons = tuple(_json_polygons(geometry))
        except (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError) as error:
            raise FileProblem(path, _EXPECTED, f"feature {number} is none ({error})") from error
        attributes = feature.get("properties") or {}
        if not isinstance(attributes, dict):
            raise FileProblem(path, _EXPECTED, f"feature {number} is none (its properties are no object)")
        yield Feature(number, polygons, flat(attributes))


def flat(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes in which ``classification``, an object in QuPath's files, is its name."""
    named = attributes.get("classification")
    if isinstance(named, str) and named.lstrip().startswith("{"):  # as GDAL hands objects on
        try:
            named = json.loads(named)
        except ValueError:
            return dict(attributes)
    if not isinstance(named, dict):
        return dict(attributes)
    return {**attributes, "classification": named.get("name")}


def _json_polygons(geometry: Any) -> Iterator[tuple[Corners, ...]]:
    if geometry is None:
        return
    kind = geometry["type"]
    if kind == "GeometryCollection":
        for part in geometry["geometries"]:
            yield from _json_polygons(part)
        return
    if kind not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"{kind}, where a Polygon or MultiPolygon is needed")
    for rings in [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]:
        closed_rings = tuple(closed(np.asarray(ring, float)) for ring in rings if len(ring))
        if closed_rings and has_area(closed_rings[0]):
            yield closed_rings


def has_area(ring: Corners) -> bool:
    """Whether a closed ring has three corners that differ."""
    return len(np.unique(ring[:-1], axis=0)) > 2


def _named_system(value: dict[str, Any], path: Path) -> str | None:
    """The name in the "crs" member of GeoJSON 2008; None where it is absent or null."""
    member = value.get("crs")
    if member is None:
        return None
    try:
        properties = member["properties"]
        return str(properties["name"]) if "name" in properties else f"EPSG:{int(properties['code'])}"
    except (KeyError, TypeError, ValueError):
        raise FileProblem(path, 'a "crs" that names a reference system', json.dumps(member)[:80]) from None


def _bounds_of(boxes: NDArray[np.float64]) -> Box | None:
    if not len(boxes):
        return None
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _meeting(boxes: NDArray[np.float64], box: Box | None) -> NDArray[np.bool_]:
    if box is None:
        return np.ones(len(boxes), np.bool_)
    left, low, right, high = box
    return (boxes[:, 0] <= right) & (boxes[:, 2] >= left) & (boxes[:, 1] <= high) & (boxes[:, 3] >= low)


@dataclass(frozen=True)
class TableVectors(Vectors):
    """GeoPackage, Shapefile, FlatGeobuf: a layer, of which only what meets a box is read."""

    layer: str
    names: tuple[str, ...]
    indexed: bool
    own_numbers: NDArray[np.int64] = field(repr=False, compare=False)
    boxes: NDArray[np.float64] = field(repr=False, compare=False)

    @classmethod
    def read(cls, path: Path, layer: str | None) -> TableVectors:
        """Opens a layer: the one that is named, or the only one that may hold polygons.

        Raises:
            FileProblem: not installed, damaged, no such layer, several of polygons, or none.
        """
        pyogrio = _pyogrio(path)
        _require_content(path)
        if path.suffix.lower() == ".shp":
            missing = [end for end in (".shx", ".dbf") if not _beside(path, end)]
            if missing:
                found = " and ".join(path.stem + end for end in missing)
                raise FileProblem(path, "the other files of the Shapefile beside it", f"no {found}")
        with _quiet(path):
            layers = [(str(name), kind) for name, kind in pyogrio.list_layers(path)]
            name = _chosen(layers, layer, path)
            info = pyogrio.read_info(path, layer=name, force_feature_count=True, force_total_bounds=False)
            numbers, boxes = pyogrio.read_bounds(path, layer=name)  # 40 bytes a feature
        can = info.get("capabilities") or {}
        indexed = bool(can.get("fast_spatial_filter")) and info["driver"] != "ESRI Shapefile"
        fields = tuple(map(str, info["fields"]))
        # GDAL before 3.9 names what a GeoPackage without a system has.
        system = info["crs"] if info["crs"] and '"Undefined ' not in info["crs"] else None
        left, low, right, high = np.asarray(boxes, np.float64)
        kept = (right > left) & (high > low)  # none of NaN, which stands for no geometry
        numbers, boxes = np.asarray(numbers, np.int64)[kept], np.asarray(boxes, np.float64).T[kept]
        return cls(path, system, "own", int((~kept).sum()), name, fields, indexed, numbers, boxes)

    @property
    def fields(self) -> tuple[str, ...]:
        return self.names

    @property
    def numbers(self) -> NDArray[np.int64]:
        return self.own_numbers

    @property
    def bounds(self) -> Box | None:
        return _bounds_of(self.boxes)

    def near(self, box: Box | None) -> NDArray[np.int64]:
        return self.own_numbers[_meeting(self.boxes, box)]

    def values(self, name: str) -> list[Any]:
        return self._read(read_geometry=False, columns=[name])[3][0].tolist()

    def features(self, box: Box | None) -> list[Feature]:
        shapely = load("shapely", "geo", self.path, "vector files")
        which: dict[str, Any] = {}
        if box is not None and self.indexed:
            which = {"bbox": box}
        elif box is not None:
            which = {"fids": np.sort(self.near(box))}
            if not len(which["fids"]):
                return []
        meta, numbers, geometries, columns = self._read(return_fids=True, **which)
        rows = zip(*columns, strict=True) if columns else ((),) * len(numbers)
        names = tuple(map(str, meta["fields"]))
        features = []
        for number, row, parts in zip(numbers, rows, _polygons_of(geometries, self, shapely), strict=True):
            if parts:
                attributes = flat(dict(zip(names, row, strict=True)))
                features.append(Feature(int(number), parts, attributes))
        return features

    def _read(self, **options: Any) -> Any:
        with _quiet(self.path):
            return _pyogrio(self.path).raw.read(self.path, layer=self.layer, force_2d=True, **options)


_STARTS = {".gpkg": b"SQLite format 3\0", ".shp": b"\0\0\x27\x0a", ".fgb": b"fgb\x03"}


def _require_content(path: Path) -> None:
    """Refuses what its name does not say: GDAL would open it by its content, and files that it names."""
    kind = path.suffix.lower()
    with open_regular(path, "a vector file") as file:
        if file.read(16).startswith(_STARTS[kind]):
            return
    names = {".gpkg": "a GeoPackage", ".shp": "a Shapefile", ".fgb": "a FlatGeobuf file"}
    raise FileProblem(path, names[kind], "something else")


def _pyogrio(path: Path) -> Any:
    load("pyogrio.raw", "geo", path, "vector files (GeoPackage, Shapefile)")
    return load("pyogrio", "geo", path, "vector files (GeoPackage, Shapefile)")


def _beside(path: Path, end: str) -> bool:
    return any(path.with_suffix(spelling).exists() for spelling in (end, end.upper()))


class _quiet:
    """What GDAL says of a file: its errors as FileProblem, its warnings not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._warnings = warnings.catch_warnings()

    def __enter__(self) -> None:
        self._warnings.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._warnings.__exit__(kind, error, trace)
        if error is not None and type(error).__module__.startswith("pyogrio"):
            found = " ".join(str(error).split())[:160]
            raise FileProblem(self._path, "a vector file that GDAL reads", found) from None
        if isinstance(error, UnicodeDecodeError):
            found, fix = "attributes in another encoding", "save it as UTF-8 (a Shapefile with its .cpg)"
            raise FileProblem(self._path, "attributes in the encoding that it says", found, fix) from None


def _chosen(layers: Sequence[tuple[str, Any]], layer: str | None, path: Path) -> str:
    """The layer that is wanted, or the only one of polygons; what has no geometry (styles) does not count."""
    names = [name for name, _ in layers]
    if layer is not None:
        if layer not in names:
            fix = nearest_name(layer, names)
            raise FileProblem(path, f"a layer {layer!r} (label_layer in classes.json)", "none", fix)
        return layer
    loose = ("Unknown", "GeometryCollection", "Surface", "CurvePolygon")
    possible = [
        name for name, kind in layers if kind is not None and ("Polygon" in str(kind) or str(kind) in loose)
    ]
    if len(possible) == 1:
        return possible[0]
    kinds = Counter(str(kind) for _, kind in layers)
    found = ", ".join(possible) if possible else ", ".join(f"{n} of {kind}" for kind, n in kinds.items())
    fix = 'say which: "label_layer" in classes.json' if possible else ""
    raise FileProblem(path, "one layer of polygons", found or "no layer", fix)


def _polygons_of(
    geometries: NDArray[Any], source: TableVectors, shapely: Any
) -> list[tuple[tuple[Corners, ...], ...]]:
    """The polygons of each geometry (WKB), in order."""
    try:
        shapes = shapely.from_wkb(geometries)
    except shapely.errors.GEOSException as error:
        found = " ".join(str(error).split())[:120]
        raise FileProblem(source.path, "polygons of straight edges", found) from None
    kinds = shapely.get_type_id(shapes)
    strange = np.flatnonzero(~np.isin(kinds, (-1, 3, 6)) & ~shapely.is_empty(shapes))
    if len(strange):
        kind = shapes[strange[0]].geom_type
        found = f"{len(strange)} that are none, such as a {kind}"
        raise FileProblem(source.path, f"polygons in the layer {source.layer}", found)
    parts, owners = shapely.get_parts(shapes, return_index=True)
    rings, holders = shapely.get_rings(parts, return_index=True)
    corners, places = shapely.get_coordinates(rings, return_index=True)
    each = np.split(corners, np.flatnonzero(np.diff(places)) + 1) if len(corners) else []
    polygons: list[list[Corners]] = [[] for _ in parts]
    for ring, holder in zip(each, holders, strict=True):
        polygons[holder].append(ring)
    found_of: list[list[tuple[Corners, ...]]] = [[] for _ in shapes]
    for polygon, owner in zip(polygons, owners, strict=True):
        if polygon and has_area(polygon[0]):
            found_of[owner].append(tuple(polygon))
    return [tuple(one) for one in found_of]
