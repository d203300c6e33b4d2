"""Polygons as files that GIS and QuPath open: GeoJSON, GeoPackage, FlatGeobuf."""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TextIO
from uuid import NAMESPACE_URL, uuid5

import numpy as np
from numpy.typing import NDArray

from saccade.errors import FileProblem, InvalidInput
from saccade.rasters.decoders import load
from saccade.rasters.polygons import Polygon, polygons
from saccade.rasters.raster import PixelSize, Raster
from saccade.runtime.files import encodable, finished_file

Transform = tuple[float, float, float, float, float, float]
Ring = NDArray[Any]
TABLES = {".gpkg": "GPKG", ".fgb": "FlatGeobuf"}
"""Suffixes that are written by GDAL, and its names for them; all others are GeoJSON."""
AT_ONCE = 20_000
"""Features that wait in memory to be written to a table."""


@dataclass(frozen=True)
class PolygonFile:
    """What is written of a label raster's polygons; :func:`write_polygons` tells what each option means."""

    path: Path
    labels: Raster
    names: Sequence[str] | None = None
    palette: Sequence[Sequence[int]] | None = None
    mapped: bool = False
    transform: Transform = (1, 0, 0, 0, 1, 0)

    def class_of(self, label: int) -> str:
        named = self.names is not None and label < len(self.names)
        return self.names[label] if self.names is not None and named else f"class {label}"

    def colour_of(self, label: int) -> tuple[int, ...] | None:
        if self.palette is None or label >= len(self.palette):
            return None
        return tuple(int(channel) for channel in self.palette[label])

    def facts(self, polygon: Polygon, number: int) -> dict[str, Any]:
        """Flat attributes for tables of a GIS: number, class, and the area of the region, exact in pixels."""
        pixels, size = polygon.area, self.labels.pixel_size
        facts: dict[str, Any] = {"object": number, "class": self.class_of(polygon.label), "pixels": pixels}
        return facts if size is None else facts | {area_name(size): pixels * size.y * size.x}


def area_name(size: PixelSize) -> str:
    """The attribute of areas in the unit of the raster."""
    return "area_um2" if size.unit == "micron" else "area_m2"


def write_polygons(
    path: Path | str,
    labels: Raster,
    *,
    names: Sequence[str] | None = None,
    palette: Sequence[Sequence[int]] | None = None,
    skip: Collection[int] = (),
    smallest: int = 1,
    fill: float = 0,
    simplify: float = 0,
    map_coordinates: bool | None = None,
    origin: tuple[int, int] = (0, 0),
    overwrite: bool = False,
    progress: Callable[[float], None] | None = None,
) -> int:
    """Write the class polygons of a label raster: GeoJSON, or by its suffix a GeoPackage (``.gpkg``) or a
    FlatGeobuf (``.fgb``), as they are found.

    Corners are pixel edges, so that neighbours share their border exactly. In pixels, (0, 0) is the image's
    top left corner, which is what QuPath imports (with class name, colour, an id and measurements). In map
    coordinates the raster's own CRS is kept; GeoJSON names it in a "crs" member, which GDAL and QGIS read.
    Map coordinates of a raster without a CRS say so in a "crs" that is null: without the member GeoJSON means
    longitudes. Each polygon tells, beside what QuPath reads, ``object`` (1, 2, ...), ``class``, ``pixels``
    and, with a scale, ``area_um2`` or ``area_m2``: of the region as it was found, holes filled as asked, not
    of a simplified outline.

    Args:
        names, palette: of the class of each index; without them "class 3".
        skip: indices to leave out; the nodata value always is.
        smallest: regions, and holes, of fewer pixels are left out.
        fill: holes of fewer pixels are left out too. What lies in them is written all the same.
        simplify: corners are left out so that outlines move by about so many pixels, shared borders alike on
            both sides (Visvalingam and Whyatt's measure on the whole coverage, by GEOS: it needs shapely and
            keeps all polygons in memory); what is smaller than its square is left out with the hole it is in.
        map_coordinates: default: where the raster has a transform.
        origin: (x, y) that is subtracted from pixels: ``info.origin`` of the slide that the labels are of.

    Returns:
        How many polygons there are.

    Raises:
        InvalidInput: not a label raster, or map coordinates of a raster without a transform.
        FileProblem: ``path`` exists without ``overwrite``, or cannot be written; ``labels`` is damaged; the
            libraries that it takes are not installed.

    Examples:
        >>> import json, pathlib
        >>> import numpy as np
        >>> from saccade.rasters import open_raster, write_label_png, write_polygons
        >>> labels = np.zeros((8, 8), np.uint8)
        >>> labels[2:4, 2:5] = 1
        >>> write_label_png("labels.png", labels)
        >>> with open_raster("labels.png") as raster:
        ...     print(write_polygons("labels.geojson", raster, names=["sea", "boat"], skip=[0]))
        1
        >>> json.loads(pathlib.Path("labels.geojson").read_text())["features"][0]["geometry"]["coordinates"]
        [[[5, 4], [2, 4], [2, 2], [5, 2], [5, 4]]]
    """
    path = Path(path)
    if map_coordinates and labels.transform is None:
        raise InvalidInput("map_coordinates", "asked of a raster with a transform", "a raster without one")
    transform = labels.transform if map_coordinates is None or map_coordinates else None
    to_corners = transform or (1, 0, -origin[0], 0, 1, -origin[1])
    about = PolygonFile(path, labels, names, palette, transform is not None, to_corners)
    traced = (
        polygon for polygon in polygons(labels, skip=skip, progress=progress) if polygon.area >= smallest
    )
    whole = (polygon.filled(max(smallest, fill)) for polygon in traced)
    outlined = _simplified(whole, simplify, path) if simplify else ((p, (p.outer, *p.holes)) for p in whole)
    count = 0
    with finished_file(path, overwrite=overwrite) as temporary, _sink(about, temporary) as sink:
        for polygon, rings in outlined:
            count += 1
            sink.put(polygon, [_ring(ring, to_corners) for ring in rings], about.facts(polygon, count))
    return count


def _simplified(
    polygons: Iterable[Polygon], tolerance: float, path: Path
) -> Iterator[tuple[Polygon, Sequence[Ring]]]:
    """Polygons with the rings of their simplified outlines; those of which nothing is left are left out."""
    shapely = load("shapely", "geo", path, "simplified outlines")
    whole = list(polygons)
    shapes = [shapely.Polygon(outer, holes) for outer, *holes in _noded(whole)]
    for polygon, shape in zip(whole, shapely.coverage_simplify(shapes, tolerance), strict=True):
        if not shape.is_empty:
            rings = shapely.get_rings(shapely.orient_polygons(shape))
            yield polygon, [shapely.get_coordinates(ring)[:-1] for ring in rings]


def _noded(whole: Sequence[Polygon]) -> Iterator[list[Ring]]:
    """The rings of each polygon, with a corner wherever any other has one on its edges: GEOS takes borders
    for shared where their corners are the same."""
    rings = [ring for polygon in whole for ring in (polygon.outer, *polygon.holes)]
    corners = np.unique(_codes(np.concatenate(rings))) if rings else np.zeros(0, np.int64)

    def noded(ring: Ring) -> Ring:
        steps = np.roll(ring, -1, axis=0) - ring
        lengths = np.abs(steps).sum(1)
        edge = np.repeat(np.arange(len(ring)), lengths)
        along = np.arange(len(edge)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        points = ring[edge] + along[:, None] * np.sign(steps)[edge]
        codes = _codes(points)
        return points[corners[np.minimum(np.searchsorted(corners, codes), len(corners) - 1)] == codes]

    for polygon in whole:
        yield [noded(ring) for ring in (polygon.outer, *polygon.holes)]


def _codes(points: Ring) -> NDArray[np.int64]:
    """One number a point."""
    return points[:, 1] << 32 | points[:, 0]


def _ring(corners: Ring, transform: Transform) -> Ring:
    """Closed, and counter-clockwise outside where y points up, as RFC 7946 asks."""
    closed = np.concatenate([corners, corners[:1]])
    a, b, c, d, e, f = transform
    x, y = closed[:, 0], closed[:, 1]
    mapped = np.stack([a * x + b * y + c, d * x + e * y + f], 1)
    return mapped if a * e - b * d > 0 else mapped[::-1]


class Sink(Protocol):
    """Takes polygons as they are found."""

    def put(self, polygon: Polygon, rings: Sequence[Ring], facts: Mapping[str, Any]) -> None: ...


def _sink(about: PolygonFile, temporary: Path) -> AbstractContextManager[Sink]:
    if about.path.suffix.lower() in TABLES:
        if encodable(str(about.path)) != str(about.path):
            fix = "write GeoJSON, or rename the image"
            raise FileProblem(about.path, "a name in UTF-8, as GDAL needs it", "other bytes", fix)
        return TableSink(about, temporary)
    return GeoJsonSink(about, temporary)


class GeoJsonSink:
    """A FeatureCollection, written feature by feature."""

    def __init__(self, about: PolygonFile, path: Path) -> None:
        self._about, self._path = about, path
        self._between = "\n"

    def __enter__(self) -> GeoJsonSink:
        self._file: TextIO = self._path.open("w", encoding="utf-8")
        self._file.write('{"type": "FeatureCollection",\n' + self._crs() + '"features": [')
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file as file:
            file.write("\n]}\n")

    def put(self, polygon: Polygon, rings: Sequence[Ring], facts: Mapping[str, Any]) -> None:
        geometry = {"type": "Polygon", "coordinates": [ring.tolist() for ring in rings]}
        feature: dict[str, Any] = {"type": "Feature", "geometry": geometry}
        properties = {**self._properties(polygon.label), **facts}
        if not self._about.mapped:  # for QuPath
            outline = blake2b(np.ascontiguousarray(rings[0]).tobytes(), digest_size=16).hexdigest()
            name = f"saccade/{self._about.labels.path.name}/{facts['object']}/{outline}"
            feature = {
                "type": "Feature",
                "id": str(uuid5(NAMESPACE_URL, encodable(name))),
                "geometry": geometry,
            }
            properties["measurements"] = list(self._measurements(facts))
        self._file.write(self._between)
        feature["properties"] = properties
        self._file.write(json.dumps(feature))  # json.dump encodes in Python, ten times as long
        self._between = ",\n"

    def _properties(self, label: int) -> dict[str, Any]:
        about = self._about
        classification: dict[str, Any] = {"name": about.class_of(label)}
        if (colour := about.colour_of(label)) is not None:
            classification["color"] = list(colour)
        return {"objectType": "annotation", "classification": classification, "class_index": label}

    def _measurements(self, facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """As QuPath lists them: a name, as its users see it, and a number each."""
        named = {"pixels": "Pixels", "area_um2": "Area µm^2", "area_m2": "Area m^2"}
        for name, shown in named.items():
            if name in facts:
                yield {"name": shown, "value": facts[name]}

    def _crs(self) -> str:
        labels = self._about.labels
        if not self._about.mapped:
            return ""
        if labels.crs is None:
            return '"crs": null,\n'
        code = labels.crs.split(":")[-1] if labels.crs.startswith("EPSG:") else None
        name = f"urn:ogc:def:crs:EPSG::{code}" if code else labels.crs
        return '"crs": ' + json.dumps({"type": "name", "properties": {"name": name}}) + ",\n"


class TableSink:
    """A layer of polygons with flat attributes, written by GDAL a batch at a time.

    A FlatGeobuf cannot be added to, so it is made of a GeoPackage beside it at the end.
    """

    def __init__(self, about: PolygonFile, path: Path) -> None:
        self._about, self._path = about, path
        self._gdal = load("pyogrio", "geo", about.path, "vector files (GeoPackage, FlatGeobuf)")
        self._raw = load("pyogrio.raw", "geo", about.path, "vector files (GeoPackage, FlatGeobuf)")
        self._kind = TABLES[about.path.suffix.lower()]
        self._table = path if self._kind == "GPKG" else path.with_name(path.name + ".gpkg")
        self._shapes: list[bytes] = []
        self._rows: list[tuple[Any, ...]] = []
        size = about.labels.pixel_size
        self._columns = {"object": np.int64, "class": object, "class_index": np.int32, "pixels": np.int64}
        if size is not None:
            self._columns[area_name(size)] = np.float64
        if about.palette is not None:
            self._columns["colour"] = object

    def __enter__(self) -> TableSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._flush()
                if self._kind != "GPKG":
                    self._convert()
        finally:
            if self._table != self._path:
                self._table.unlink(missing_ok=True)

    def put(self, polygon: Polygon, rings: Sequence[Ring], facts: Mapping[str, Any]) -> None:
        colour = self._about.colour_of(polygon.label)
        row = {
            **facts,
            "class_index": polygon.label,
            "colour": colour and "#{:02x}{:02x}{:02x}".format(*colour),
        }
        self._shapes.append(wkb(rings))
        self._rows.append(tuple(row[name] for name in self._columns))
        if len(self._rows) == AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        """Writes what waits; a file without features too, so that there is one."""
        there = self._table.exists()
        if not self._rows and there:
            return
        shapes = np.empty(len(self._shapes), object)
        shapes[:] = self._shapes
        columns = zip(*self._rows, strict=True) if self._rows else ((),) * len(self._columns)
        kinds = self._columns.values()
        data = [np.array(list(column), kind) for column, kind in zip(columns, kinds, strict=True)]
        crs = self._about.labels.crs if self._about.mapped else None
        with self._told():
            self._raw.write(
                self._table, shapes, data, list(self._columns), layer=self._about.path.stem, driver="GPKG",
                geometry_type="Polygon", crs=crs, append=there,
            )  # fmt: skip
        self._shapes, self._rows = [], []

    def _convert(self) -> None:
        """By a name that ends as GDAL expects: under another it makes a folder."""
        named = self._path.with_name(self._path.name + self._about.path.suffix)
        try:
            self._stream_to(named)
            named.replace(self._path)
        finally:
            named.unlink(missing_ok=True)

    def _stream_to(self, path: Path) -> None:
        with self._told(), self._gdal.open_arrow(self._table, use_pyarrow=False) as (meta, stream):
            self._gdal.write_arrow(
                stream, path, layer=self._about.path.stem, driver=self._kind, crs=meta["crs"],
                geometry_type="Polygon", geometry_name=meta["geometry_name"] or "wkb_geometry",
            )  # fmt: skip

    @contextmanager
    def _told(self) -> Iterator[None]:
        """GDAL's refusals as a line, its warnings (no reference system, names of files) not at all."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                yield
            except self._gdal.errors.DataSourceError as error:
                got = " ".join(str(error).split())[:160]
                raise FileProblem(self._about.path, "a place to write", got) from error


def wkb(rings: Sequence[Ring]) -> bytes:
    """A polygon of closed rings as well-known binary (ISO 19125)."""
    parts = [struct.pack("<BII", 1, 3, len(rings))]
    for ring in rings:
        parts += [struct.pack("<I", len(ring)), np.ascontiguousarray(ring, "<f8").tobytes()]
    return b"".join(parts)
