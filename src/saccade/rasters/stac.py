"""STAC items: JSON that says where the files of a scene are. One of these files, an asset, is the image.

``item.json#visual`` names the asset; without a name it is the only GeoTIFF or Zarr whose role is ``data``, or
the only one there is (https://github.com/radiantearth/stac-spec, item-spec).
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from pathlib import Path
from typing import Any

from saccade.errors import FileProblem
from saccade.runtime.addresses import PROTOCOLS, Address
from saccade.runtime.reading import read_json_value
from saccade.runtime.trust import trust

ITEM = "a STAC item (a JSON feature with assets)"
_IMAGES = re.compile(r"image/(tiff|vnd\.stac\.geotiff)\b|application/(vnd[+.]|x-)?zarr\b", re.IGNORECASE)
_SUFFIXES = (".tif", ".tiff", ".zarr")
_NAMED = 8
"""Assets that a message lists."""


def is_item(path: Path) -> bool:
    """Whether a path or an address is named as an item is: ``.json``, ``.geojson``, or of an API of STAC."""
    where = _split(path)[0]
    if isinstance(where, Address):
        shown = str(where)
        return where.protocol != "zip" and (_is_json(shown) or "/items/" in shown)
    return _is_json(where.name) and where.is_file()


def asset_of(path: Path) -> Path:
    """The image that an item leads to: a file in its folder, or an address.

    An item here leads to other folders and to addresses only where that is allowed (``--allow-outside``), one
    elsewhere to addresses alone.

    Raises:
        FileProblem: no item, no such asset, several that might be meant, or one that may not be followed.
    """
    where, name = _split(path)
    item = _read(where)
    assets = {
        key: asset for key, asset in item["assets"].items()
        if isinstance(asset, dict) and isinstance(asset.get("href"), str)
    }  # fmt: skip
    chosen = _chosen(where, assets, name)
    called = re.sub(r"[^\w.-]", "_", f"{item.get('id') or 'item'}_{chosen}").lstrip(".")[:150]
    return _followed(where, chosen, assets[chosen]["href"], called)


def _split(path: Path) -> tuple[Path, str]:
    if isinstance(path, Address):
        url, mark, name = path.url.rpartition("#")
        if path.number is not None:  # it was meant as the name of an asset
            return path.unnumbered, str(path.number)
        return (Address(url), name) if mark else (path, "")
    stem, mark, name = path.name.rpartition("#")
    return (path.with_name(stem), name) if mark and stem and not os.path.lexists(path) else (path, "")


def _is_json(name: str) -> bool:
    return name.lower().endswith((".json", ".geojson"))


def _read(where: Path) -> dict[str, Any]:
    if not isinstance(where, Address):
        document = read_json_value(where, ITEM)
    else:
        from saccade.rasters.remote import text_of

        try:
            document = json.loads(text_of(where))
        except (ValueError, RecursionError):
            raise FileProblem(where, ITEM, "no JSON, or broken") from None
    about = document if isinstance(document, dict) else {}
    if not isinstance(about.get("assets"), dict) or "stac_version" not in about:
        kind = about.get("type")
        raise FileProblem(where, ITEM, f"JSON of type {kind}" if isinstance(kind, str) else "other JSON")
    if about.get("type") != "Feature":
        raise FileProblem(where, ITEM, f"a STAC {about.get('type')}"[:60], "name one of its items")
    return about


def _chosen(where: Path, assets: dict[str, Any], name: str) -> str:
    images = [key for key, asset in assets.items() if _is_image(asset)]
    if name:
        if name in assets:
            return name
        raise FileProblem(where, "the name of an asset", repr(name)[:60], _names(assets, images))
    data = [key for key in images if "data" in (assets[key].get("roles") or ())]
    likely = data or images
    if len(likely) != 1:
        got = "several" if likely else "none that is a GeoTIFF or a Zarr"
        raise FileProblem(where, "one asset that is the image", got, _names(assets, likely))
    return likely[0]


def _is_image(asset: dict[str, Any]) -> bool:
    kind = asset.get("type")
    if isinstance(kind, str):
        return _IMAGES.match(kind) is not None
    return asset["href"].partition("?")[0].lower().endswith(_SUFFIXES)


def _names(assets: dict[str, Any], likely: list[str]) -> str:
    names = likely or list(assets)
    titles = {key: str(assets[key].get("title") or key)[:40] for key in names[:_NAMED]}
    listed = [key if title == key else f"{key} ({title})" for key, title in titles.items()]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"name it, ITEM#NAME: there are {', '.join(listed)}{more}" if names else ""


def _followed(where: Path, name: str, href: str, called: str) -> Path:
    protocol = href.partition("://")[0].lower() if "://" in href else ""
    if protocol and protocol not in (*PROTOCOLS, "file"):
        raise FileProblem(where, f"asset {name} at an address that is read", f"one of {protocol}://"[:40])
    if protocol and protocol not in ("file", "zip"):
        if not isinstance(where, Address) and not trust().outside:
            _refuse(where, name, f"the address {Address(href)}")
        return Address(href, called + _suffix(href))
    if isinstance(where, Address):
        if protocol or href.startswith("/") or re.match(r"[A-Za-z]:", href):
            raise FileProblem(where, f"asset {name} at an address", "a path of the machine that wrote it")
        base, slash, path = where.parent.url.partition("?")[0].rpartition("://")
        host, _, folder = path.partition("/")
        joined = posixpath.normpath(posixpath.join("/", folder, href.partition("?")[0]))
        query = href.partition("?")[1] + href.partition("?")[2]
        return Address(f"{base}{slash}{host}{joined}{query}", called + _suffix(href))
    file = Path(href.removeprefix("file://")) if protocol == "file" else where.parent / href
    if not trust().outside and not file.resolve().is_relative_to(where.parent.resolve()):
        _refuse(where, name, str(file))
    return file


def _suffix(href: str) -> str:
    suffix = posixpath.splitext(href.partition("?")[0].rstrip("/"))[1].lower()
    return suffix if suffix in _SUFFIXES else ".tif"


def _refuse(where: Path, name: str, got: str) -> None:
    fix = "if you trust whoever wrote the item, allow it with --allow-outside"
    raise FileProblem(where, f"asset {name} in the folder of the item", got, fix)
