"""The physical pixel size that a TIFF page states."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from tifffile import TiffPage

from saccade.rasters.raster import PixelSize

# a coarser TIFF resolution is the size of a print (300 dpi is 85 microns), not of what was imaged
COARSEST_MICRONS = 25.0
_OME = {
    "nm": 1e-3, "µm": 1.0, "um": 1.0, "μm": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6, "pm": 1e-6, "Å": 1e-4,
    "in": 25400.0,
}  # fmt: skip
_IMAGEJ = {
    "nm": 1e-3,
    "micron": 1.0,
    "microns": 1.0,
    "um": 1.0,
    "µm": 1.0,
    "\\u00B5m": 1.0,
    "mm": 1e3,
    "cm": 1e4,
}


def pixel_size(page: TiffPage) -> PixelSize | None:
    """OME-XML first, then ImageJ's unit, then the resolution tags where they are fine enough to be true."""
    microns = _ome(page) or _imagej(page) or _tags(page)
    if microns is None or not (0 < microns[0] < 1e12 and 0 < microns[1] < 1e12):
        return None
    return PixelSize(*microns, "micron")


def _ome(page: TiffPage) -> tuple[float, float] | None:
    text = page.description or ""
    if "<OME" not in text[:2000]:
        return None
    try:
        root = ET.fromstring(text.strip().rstrip("\0"))
        pixels: Any = next(element for element in root.iter() if element.tag.endswith("Pixels"))
        y, x = (
            float(pixels.attrib[f"PhysicalSize{axis}"])
            * _OME[pixels.attrib.get(f"PhysicalSize{axis}Unit", "µm")]
            for axis in "YX"
        )
    except (ET.ParseError, StopIteration, KeyError, ValueError):
        return None
    return y, x


def _imagej(page: TiffPage) -> tuple[float, float] | None:
    text = page.description or ""
    if not text.startswith("ImageJ="):
        return None
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    unit = _IMAGEJ.get(fields.get("unit", ""))
    density = _density(page)
    return None if unit is None or density is None else (unit / density[0], unit / density[1])


def _tags(page: TiffPage) -> tuple[float, float] | None:
    unit = {2: 25400.0, 3: 10000.0}.get(_value(page, 296, 2))
    density = _density(page)
    if unit is None or density is None:
        return None
    y, x = unit / density[0], unit / density[1]
    return (y, x) if max(y, x) <= COARSEST_MICRONS else None


def _density(page: TiffPage) -> tuple[float, float] | None:
    """Pixels a unit along y and x."""
    found = []
    for code in (283, 282):
        value = _value(page, code, None)
        if not isinstance(value, tuple) or len(value) != 2 or not value[0] or not value[1]:
            return None
        found.append(value[0] / value[1])
    return found[0], found[1]


def _value(page: TiffPage, code: int, default: Any) -> Any:
    tag = page.tags.get(code)
    return default if tag is None else tag.value
