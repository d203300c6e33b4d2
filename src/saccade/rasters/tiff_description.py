"""What a TIFF file says about its samples: colours, bits, nodata, physical size; from tags alone, so that it
is the same whoever decodes the pixels."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from tifffile import TiffPage

from saccade.errors import FinalProblem
from saccade.rasters.own_files import parse_xml, sidecar_text
from saccade.rasters.raster import Meaning, PixelSize, band_names, sample_roles, scaling_of

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
    # Programs copy the resolution tags along unseen (72 dpi), but write their own metadata with care.
    microns = _ome(page) or _imagej(page) or _tags(page)
    if microns is None or not (0 < microns[0] < 1e12 and 0 < microns[1] < 1e12):
        return None
    return PixelSize(*microns, "micron")


def _ome(page: TiffPage) -> tuple[float, float] | None:
    text = page.description or ""
    if "<OME" not in text[:2000]:
        return None
    root = parse_xml(text)
    if root is None:
        return None
    try:
        pixels: Any = next(element for element in root.iter() if element.tag.endswith("Pixels"))
        y, x = (
            float(pixels.attrib[f"PhysicalSize{axis}"])
            * _OME[pixels.attrib.get(f"PhysicalSize{axis}Unit", "µm")]
            for axis in "YX"
        )
    except (StopIteration, KeyError, ValueError):
        return None
    return y, x


def _ome_channels(page: TiffPage, channels: int) -> list[str]:
    """Names of the channels of an OME-TIFF; [] where it names none, or others than there are."""
    text = page.description or ""
    root = parse_xml(text) if "<OME" in text[:2000] else None
    if root is None:
        return []
    pixels = next((element for element in root.iter() if element.tag.endswith("Pixels")), None)
    elements = [] if pixels is None else [c for c in pixels if c.tag.endswith("Channel")]
    return [channel.get("Name", "") for channel in elements] if len(elements) == channels else []


def _imagej(page: TiffPage) -> tuple[float, float] | None:
    text = page.description or ""
    if not text.startswith("ImageJ="):
        return None
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    unit = _IMAGEJ.get(fields.get("unit", ""))
    density = _density(page)
    return None if unit is None or density is None else (unit / density[0], unit / density[1])


def _tags(page: TiffPage) -> tuple[float, float] | None:
    # Inch where the tag is missing: that is its default in the TIFF specification.
    unit = {2: 25400.0, 3: 10000.0}.get(_value(page, 296, 2))
    density = _density(page)
    if unit is None or density is None:
        return None
    y, x = unit / density[0], unit / density[1]
    return (y, x) if max(y, x) <= COARSEST_MICRONS else None


def _density(page: TiffPage) -> tuple[float, float] | None:
    """Pixels a unit along y and x."""
    lengths = []
    for code in (283, 282):
        value = _value(page, code, None)
        if not isinstance(value, tuple) or len(value) != 2 or not value[0] or not value[1]:
            return None
        lengths.append(value[0] / value[1])
    return lengths[0], lengths[1]


def _value(page: TiffPage, code: int, default: Any) -> Any:
    tag = page.tags.get(code)
    return default if tag is None else tag.value


_ROLES: dict[int, tuple[str, ...]] = {
    0: ("gray",),
    1: ("gray",),
    2: ("red", "green", "blue"),
    3: ("palette",),
    4: ("gray",),
    5: ("cyan", "magenta", "yellow", "black"),
    6: ("red", "green", "blue"),
}
_CONVERTED = {8: "CIELab", 9: "ICCLab", 10: "ITULab", 32844: "LogL", 32845: "LogLuv"}
_RAW = {32803: "a camera's raw mosaic (CFA)", 34892: "a camera's raw colours (LinearRaw)"}
_YCBCR_DECODERS = {6, 7, 33003, 33004, 33005, 34712, 34933, 50001, 34927}  # they give red, green and blue


def photometric(page: TiffPage) -> int:
    """Photometric interpretation; without the tag black is zero, as GDAL has it."""
    if 262 in page.tags or page.photometric:
        return int(page.photometric)
    return 2 if page.samplesperpixel >= 3 else 1


def converted_space(page: TiffPage) -> str | None:
    """The name of a colour space that is turned into red, green and blue when it is read; None for others."""
    kind = photometric(page)
    if kind == 6 and (page.compression not in _YCBCR_DECODERS or page.planarconfig == 2):
        return "YCbCr"
    return _CONVERTED.get(kind)


def describe(path: Path, page: TiffPage, channels: int, planes: int) -> dict[str, Any]:
    """Attributes of ``RasterInfo`` that follow from the tags of a page and from GDAL's words in the file and
    beside it (``.aux.xml``), whatever decodes the pixels.

    Raises:
        FinalProblem: colours that are not converted.
    """
    converted = converted_space(page) is not None
    kind = 2 if converted else photometric(page)
    if kind in _RAW:
        raise FinalProblem(path, "an image of colours", _RAW[kind], "develop it first: dcraw, darktable")
    items = _items(parse_xml(gdal_metadata(page)), "sample") | said_beside(path)
    roles = _roles(page, kind, channels, planes, items)
    samples = sample_roles(path, roles)
    if samples["meaning"] == "palette" and page.colormap is None:
        samples["meaning"] = "grey"
    if samples["meaning"] == "grey" and kind == 0:
        samples["meaning"] = "white_is_zero"
    # ExtraSamples 1 is associated alpha, whose colours were multiplied by it; 2 left them alone.
    samples["premultiplied"] = samples["alpha"] and 1 in [int(extra) for extra in page.extrasamples]
    samples["white"] = 255.0 if converted else _white(page)
    samples["palette"] = _palette(page) if samples["meaning"] == "palette" else None
    descriptions = [items.get((channel, "description"), "") for channel in range(channels)]
    samples["bands"] = band_names(descriptions if any(descriptions) else _ome_channels(page, channels), roles)
    samples["profile"] = None if converted else _profile(page, samples["meaning"])
    scales, offsets = (
        [number(items.get((channel, name), "")) for channel in range(channels)]
        for name in ("scale", "offset")
    )
    return samples | _nodata(page, items, channels) | scaling_of(scales, offsets)


def _roles(
    page: TiffPage, kind: int, channels: int, planes: int, items: dict[tuple[int, str], str]
) -> list[str]:
    """One of GDAL's words for each channel."""
    first = _ROLES.get(kind, ())
    if len(first) > channels or (planes > 1 and len(first) > 1):
        first = ("gray",)
    if kind == 5 and _value(page, 332, 1) != 1:
        first = ()  # inks that are not cyan, magenta, yellow and black
    extra = [{1: "alpha", 2: "alpha"}.get(int(code), "undefined") for code in page.extrasamples]
    roles = [*first, *["undefined"] * (channels - len(first))]
    if planes == 1 and extra and channels == page.samplesperpixel and len(extra) < channels:
        roles[channels - len(extra) :] = extra
    for channel in range(channels):
        roles[channel] = items.get((channel, "colorinterp"), roles[channel])
    return roles


def gdal_metadata(page: TiffPage) -> str:
    """XML that GDAL wrote into the file."""
    return str(_value(page, 42112, ""))


def _items(root: Element | None, sample: str) -> dict[tuple[int, str], str]:
    """What GDAL wrote of single bands, by band (from 0; -1 for all) and name."""
    items = {}
    for item in () if root is None else root.iter("Item"):
        name = (item.get("role") or item.get("name") or "").lower()
        value = (item.text or "").strip()
        items[int(item.get(sample, -1)), name] = value.lower() if name == "colorinterp" else value
    return items


_BESIDE = (
    ("NoDataValue", "nodata"), ("ColorInterp", "colorinterp"), ("Description", "description"),
    ("Scale", "scale"), ("Offset", "offset"),
)  # fmt: skip


def said_beside(path: Path) -> dict[tuple[int, str], str]:
    """As ``_items``, of the file ``.aux.xml`` that GDAL and QGIS write beside an image."""
    beside = path.with_name(path.name + ".aux.xml")
    root = parse_xml(sidecar_text(beside)) if os.path.isfile(beside) else None
    items = {}
    for band in () if root is None else root.iter("PAMRasterBand"):
        number = int(band.get("band", 1)) - 1
        for tag, name in _BESIDE:
            text = (band.findtext(tag) or "").strip()
            if text:
                items[number, name] = text.lower() if name == "colorinterp" else text
    return items


def _white(page: TiffPage) -> float | None:
    """Full scale: of the bits that the file states."""
    if page.dtype is None or page.dtype.kind == "f":
        return None
    bits = page.bitspersample if isinstance(page.bitspersample, int) else page.dtype.itemsize * 8
    return float(2 ** (bits - (page.dtype.kind == "i")) - 1)


def _palette(page: TiffPage) -> np.ndarray:
    """(N, 3) uint8 from the 16-bit colour map (3, N); some writers stored 8-bit values there."""
    colours = np.asarray(page.colormap).T
    return (colours >> 8 if colours.max(initial=0) > 255 else colours).astype(np.uint8)


def _profile(page: TiffPage, meaning: Meaning) -> bytes | None:
    profile = _value(page, 34675, None)
    return bytes(profile) if meaning == "rgb" and isinstance(profile, bytes) and len(profile) > 128 else None


_NUMBER = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")


def number(text: str) -> float | None:
    """A nodata value as GDAL reads it: the number that the text begins with; ``nan`` in any spelling."""
    # Some writers use the comma of their locale.
    text = text.strip("\0 ").replace(",", ".")
    if re.match(r"[+-]?(nan|1\.#(qnan|snan|ind))", text, re.IGNORECASE):
        return float("nan")
    if infinite := re.match(r"([+-]?)(inf|1\.#inf)", text, re.IGNORECASE):
        return float(infinite[1] + "inf")
    match = _NUMBER.match(text)
    return float(match[1]) if match else None


def _nodata(page: TiffPage, items: dict[tuple[int, str], str], channels: int) -> dict[str, Any]:
    """The nodata value of all bands, or of each: GDAL's tag, ``NODATA_VALUES``, or what lies beside."""
    common = number(str(_value(page, 42113, "")))
    several = [number(value) for value in items.get((-1, "nodata_values"), "").split()]
    return nodata_of(several if len(several) == channels else [common] * channels, items)


def nodata_of(values: Sequence[float | None], items: dict[tuple[int, str], str]) -> dict[str, Any]:
    """Attributes of ``RasterInfo`` for the nodata ``values`` of the bands; ``items`` may say others."""
    bands, channels = list(values), len(values)
    for channel in range(channels):
        if (channel, "nodata") in items:
            bands[channel] = number(items[channel, "nodata"])
    # As text, for NaN is unequal to itself.
    alike = all(str(value) == str(bands[0]) for value in bands)
    return {"nodata": bands[0], "nodata_of_bands": () if alike else tuple(bands)}


def orientation(page: TiffPage) -> int:
    """The tag, 1 to 8; 1 without one."""
    tag = page.tags.get(274)
    return int(tag.value) if tag is not None and isinstance(tag.value, int) else 1
