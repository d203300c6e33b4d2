"""Which files an image is made of: those that lie beside it, and others only where the user allows it.

A VRT, a set of OME-TIFF files and the files beside an image name other files, and GDAL would open any of
them: a file of passwords, an address on the network. Here names are looked at before they are followed.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from saccade.errors import FinalProblem
from saccade.rasters.decoders import sniff
from saccade.runtime.reading import read_bytes
from saccade.runtime.trust import trust

MOST_XML = 1 << 26
"""Bytes of a VRT, or of a file beside an image."""
ALLOW = "if you trust whoever made it, allow it with --allow-outside"
OFFLINE = {"CPL_VSIL_CURL_ALLOWED_FILENAME": "none", "GDAL_VRT_ENABLE_PYTHON": "NO"}
"""Options of GDAL without which it asks the network, or runs the code in a VRT."""


def parse_xml(text: str) -> ET.Element | None:
    """The root of an XML text; None where it is none, or has entities of its own, which may be without end.

    Examples:
        >>> from saccade.rasters.own_files import parse_xml
        >>> parse_xml("<a b='1'/>").get("b")
        '1'
        >>> parse_xml("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>") is None
        True
    """
    text = text.strip("\0 \r\n\t\ufeff")
    if not text or has_entities(text):
        return None
    try:
        return ET.fromstring(text)
    except (ET.ParseError, ValueError):
        return None


def has_entities(text: str) -> bool:
    """Whether an XML text declares its own entities, or may."""
    return "<!DOCTYPE" in text or "<!ENTITY" in text


def require_own_vrt(path: Path, depth: int = 0) -> None:
    """Refuses a VRT that is made of anything but images in its own folder and below.

    Raises:
        FinalProblem: with the file that it names, unless it is allowed: see :mod:`saccade.runtime.trust`.
    """
    if trust().outside:
        return
    expected = "a VRT of images in its own folder"
    root = parse_xml(read_bytes(path, expected, MOST_XML).decode("utf-8", errors="replace"))
    if root is None:
        raise FinalProblem(path, "a VRT, which is XML without entities", "something else")
    for name, of_vrt in _named_files(root):
        source = _source(path, name, of_vrt)
        if source is None:
            raise FinalProblem(path, expected, f"one made of {name[:80]!r}", ALLOW)
        if source.is_file():
            kind = sniff(source)
            if kind == "vrt":
                if depth >= _DEEPEST:
                    raise FinalProblem(path, "a VRT of images", "VRTs within VRTs without end")
                require_own_vrt(source, depth + 1)
            elif kind == "other" and not _is_raw(root):
                _require_known(path, source)


_DEEPEST = 8
_FILES = {"SourceFilename", "SourceDataset", "DEMPath", "CutlineDSName", "Grid"}
_TEXTS = {"SRS", "GeoTransform", "Histograms", "CategoryNames", "Description", "LineOffset"}
_PATHLIKE = re.compile(r"^\s*/|^\s*[A-Za-z]:[\\/]|(^|[\\/])\.\.([\\/]|$)|/vsi|[A-Za-z][A-Za-z0-9+.-]+://")
_KEYS = re.compile(r"DATASET|FILE|PATH|_DS$", re.IGNORECASE)


def _named_files(root: ET.Element) -> Iterator[tuple[str, bool]]:
    """Every name of a file in a VRT, and whether it is relative to the VRT's folder."""
    for element in root.iter():
        tag, text = element.tag.rpartition("}")[2], (element.text or "").strip()
        if tag == "PixelFunctionCode" or (tag == "PixelFunctionLanguage" and text.lower() == "python"):
            yield f"code in {text[:20]}...", False
        if not text or tag in _TEXTS or (tag == "MDI" and not _KEYS.search(element.get("key", ""))):
            continue
        if tag in _FILES or _PATHLIKE.search(text):
            yield text, element.get("relativeToVRT", element.get("relativetoVRT", "0")) == "1"


def _is_raw(root: ET.Element) -> bool:
    return any(band.get("subClass") == "VRTRawRasterBand" for band in root.iter("VRTRasterBand"))


def _source(path: Path, name: str, of_vrt: bool) -> Path | None:
    """The file that a name means; None where it is none of the VRT's folder."""
    folder = path.parent
    if "\0" in name or name.startswith(("<", "/vsi")) or "://" in name:
        return None
    source = folder / name if of_vrt else Path(name)
    try:
        if not source.resolve().is_relative_to(folder.resolve()):
            return None
        # "NETCDF:file.nc:band" and the like are words for a driver of GDAL
        return None if ":" in name and not os.path.lexists(source) else source
    except (OSError, ValueError, RuntimeError):
        return None


def _require_known(path: Path, source: Path) -> None:
    """GDAL takes any text for a raster: a service on the network, a database, points to be gridded."""
    from saccade.rasters.geotiff import gdal_driver

    if gdal_driver(source) is None:
        got = f"one made of {source.name}, a file of a format that is not read"
        raise FinalProblem(path, "a VRT of images", got, ALLOW)


_OVERVIEWS = "OVERVIEW_FILE"
_BESIDE = ":::BASE:::"


def require_own_sidecars(path: Path, *more: str) -> None:
    """Refuses overviews that lie elsewhere by the word of what GDAL wrote beside an image, or in it.

    Args:
        path: of the image.
        more: XML of GDAL's in the image itself.

    Raises:
        FinalProblem: with the file that is named, unless it is allowed.
    """
    if trust().outside:
        return
    beside = path.with_name(path.name + ".aux.xml"), path.with_suffix(".aux.xml")
    texts = [*more, *(sidecar_text(file) for file in beside if os.path.isfile(file))]
    for text in texts:
        root = parse_xml(text) if _OVERVIEWS in text else None
        for item in () if root is None else root.iter():
            if _OVERVIEWS in (item.get("key"), item.get("name")):
                name = (item.text or "").strip().removeprefix(_BESIDE)
                if Path(name).name != name or ":" in name:
                    raise FinalProblem(path, "an image with its own overviews", repr(name)[:80], ALLOW)


def sidecar_text(path: Path) -> str:
    """What stands in ``.aux.xml``; any bytes."""
    return read_bytes(path, "a file beside an image", MOST_XML).decode("utf-8", errors="replace")


def require_own_set(path: Path, description: str) -> None:
    """Refuses a set of OME-TIFF whose other files lie in other folders, or that claims what there cannot be.

    Args:
        path: of the file.
        description: of its first page.

    Raises:
        FinalProblem: with the file that is named, unless it is allowed.
    """
    if "<" not in description[:2000]:
        return
    if has_entities(description):
        raise FinalProblem(path, "a description without entities of its own", "a DOCTYPE in its XML")
    if "<OME" not in description[:4000]:
        return
    root = parse_xml(description)
    for element in () if root is None else root.iter():
        tag = element.tag.rpartition("}")[2]
        name = element.get("FileName", "") if tag in ("UUID", "BinaryOnly") else ""
        if Path(name).name != name and not trust().outside:
            raise FinalProblem(path, "a set of OME-TIFF in one folder", f"one with {name[:80]!r}", ALLOW)
        if tag == "Pixels":
            planes = _product(element, ("SizeZ", "SizeC", "SizeT"))
            if planes is None or planes > _MOST_PLANES:
                raise FinalProblem(path, f"at most {_MOST_PLANES:,} planes", "a description of more")
        counts = [_number(element.get(key, "0")) for key in ("PlaneCount", "NumPlanes", "IFD")]
        if tag == "TiffData" and any(count is None or count > _MOST_PLANES for count in counts):
            raise FinalProblem(path, f"at most {_MOST_PLANES:,} planes", "a description of more")
        if tag.startswith("Modulo") and _steps(element) > _MOST_PLANES:
            raise FinalProblem(path, f"at most {_MOST_PLANES:,} planes", "a description of more")


_MOST_PLANES = 1 << 20


def _product(element: ET.Element, keys: tuple[str, ...]) -> int | None:
    result = 1
    for key in keys:
        number = _number(element.get(key, "1"))
        if number is None:
            return None
        result *= number
    return result


def _number(text: str) -> int | None:
    """A whole number from 0; None for anything else."""
    return int(text) if text.strip().isascii() and text.strip().isdigit() and len(text) < 20 else None


def _steps(element: ET.Element) -> float:
    most = 0.0
    for along in element.iter():
        try:
            start, stop, step = (float(along.get(key, default)) for key, default in _ALONG)
        except ValueError:
            continue
        most = max(most, abs(stop - start) / step if step > 0 else float("inf"))
    return most


_ALONG = (("Start", "0"), ("End", "0"), ("Step", "1"))
