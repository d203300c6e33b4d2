"""Addresses of files elsewhere (``https://``, ``s3://``, ``gs://``, ``zip://``): paths without secrets."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saccade.errors import UsageError

PROTOCOLS = ("https", "http", "s3", "gs", "gcs", "zip")
"""What is read elsewhere."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_ONE_SLASH = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")
_LINK = "::"
"""Between a part of an archive and the archive: ``zip://PART::ARCHIVE``, as fsspec has it."""

if TYPE_CHECKING:
    _Path = Path
else:
    _Path = type(Path())


class Address(_Path):
    """The address of a file elsewhere. It is shown, and names outputs, without user, password and query.

    Nothing of the local disk is ever meant by it: it is never there, and ``with_name`` gives a plain path
    where nothing is. ``ADDRESS#2`` is the second image of a file.

    Args:
        url: all of it, secrets included.
        called: a name that outputs are to have, where that of the file says little.

    Attributes:
        url: without the number of an image.

    Examples:
        >>> from saccade.runtime.addresses import Address
        >>> address = Address("https://me:word@maps.org/a/field.tif?signature=abc")
        >>> str(address), address.name, address.suffix
        ('https://maps.org/a/field.tif', 'field.tif', '.tif')
        >>> Address("zip://b/field.tif::s3://maps/all.zip").name
        'field.tif'
    """

    url: str
    number: int | None
    called: str

    def __new__(cls, url: str, called: str = "") -> Address:
        path, mark, digits = url.rpartition("#")
        numbered = bool(mark) and digits.isascii() and digits.isdigit()
        shown = f"{without_secrets(path)}#{digits}" if numbered else without_secrets(url)
        self = super().__new__(cls, shown)
        self.url = path if numbered else url
        self.number = int(digits) if numbered else None
        self.called = called
        return self

    def __init__(self, url: str, called: str = "") -> None:
        if sys.version_info >= (3, 12):
            super().__init__(str(self))

    @classmethod
    def _from_parsed_parts(cls, *parts: Any) -> Any:
        return _Path._from_parsed_parts(*parts)  # type: ignore[attr-defined]

    def with_segments(self, *parts: Any) -> Path:
        return Path(*parts)

    def __truediv__(self, name: Any) -> Address:
        before, after = self._split_inside()
        return Address(f"{before.removesuffix('/')}/{name}{after}")

    @property
    def parent(self) -> Address:
        before, after = self._split_inside()
        return Address(before.removesuffix("/").rpartition("/")[0] + after)

    def _split_inside(self) -> tuple[str, str]:
        """The address up to the end of its path, and the rest: a query, or the archive of a part."""
        match = re.search(re.escape(_LINK) if self.protocol == "zip" else r"[?]", self.url)
        if self.protocol not in ("zip", "http", "https") or match is None:
            return self.url, ""
        return self.url[: match.start()], self.url[match.start() :]

    @property
    def protocol(self) -> str:
        """ "https", "s3", ..., in small letters."""
        return self.url.partition("://")[0].lower()

    @property
    def archive(self) -> str:
        """Of ``zip://``: where the archive is, an address or a local path."""
        inner, link, outer = self.url.partition(_LINK)
        return outer if link else inner.partition("://")[2]

    @property
    def part(self) -> str:
        """Of ``zip://``: the name inside the archive; "" means what the archive holds as a whole."""
        inner, link, _ = self.url.partition(_LINK)
        return inner.partition("://")[2].strip("/") if link else ""

    @property
    def unnumbered(self) -> Address:
        """The file, without the number of an image in it."""
        return Address(self.url, self.called)

    @property
    def name(self) -> str:
        if self.called:
            return self.called if self.number is None else f"{self.called}#{self.number}"
        if self.protocol == "zip" and self.part:
            number = "" if self.number is None else f"#{self.number}"
            return self.part.rpartition("/")[2] + number
        return super().name

    def __str__(self) -> str:
        number = "" if self.number is None else f"#{self.number}"
        return without_secrets(self.url) + number

    def __fspath__(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and (self.url, self.number) == (other.url, other.number)

    def __hash__(self) -> int:
        return hash((self.url, self.number))

    def __reduce__(self) -> tuple[Any, ...]:
        return Address, (self.url if self.number is None else f"{self.url}#{self.number}", self.called)


def without_secrets(url: str) -> str:
    """An address without user, password and query, each of its parts where it is a chain.

    Examples:
        >>> from saccade.runtime.addresses import without_secrets
        >>> without_secrets("zip://a.tif::https://me:word@maps.org/all.zip?key=1")
        'zip://a.tif::https://maps.org/all.zip'
    """
    return _LINK.join(map(_shown, url.split(_LINK)))


def _shown(link: str) -> str:
    scheme, mark, rest = link.partition("://")
    if not mark or scheme.lower() not in ("http", "https"):
        return link
    host, slash, path = rest.partition("?")[0].partition("#")[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def path_of(named: Path | str) -> Path:
    """What a user named: an :class:`Address` where it is one, else a local path.

    Only a text that the user gave is looked at so: names in files lead to no address.

    Raises:
        UsageError: for an address of a kind that is not read.

    Examples:
        >>> from saccade.runtime.addresses import path_of
        >>> type(path_of("images/field.tif")).__name__ != "Address", path_of("s3://maps/field.tif")
        (True, Address('s3://maps/field.tif'))
    """
    if isinstance(named, Path):
        return named
    scheme = _SCHEME.match(named)
    once = _ONE_SLASH.match(named)
    if once and once[1].lower() in PROTOCOLS and not os.path.lexists(named):
        meant = f"{once[1]}://{without_secrets(named[once.end() :])}"[:200]
        raise UsageError(f"an address has two slashes behind its kind: did you mean {meant}?")
    if scheme is None or (scheme[1].lower() not in PROTOCOLS and os.path.lexists(named)):
        return Path(named)
    if scheme[1].lower() not in PROTOCOLS:
        known = ", ".join(f"{name}://" for name in PROTOCOLS if name != "gcs")
        got = f"{scheme[0]} is no kind of address that is read"
        raise UsageError(f"{without_secrets(named)[:200]}: {got} ({known})")
    return Address(named)


def require_local(path: Path, what: str) -> None:
    """Refuses an address where something is to be written.

    Raises:
        UsageError: for one.
    """
    if isinstance(path, Address) or _SCHEME.match(str(path)) or re.match(r"(https?|s3|gc?s):/", str(path)):
        raise UsageError(f"{path}: {what} is a folder here, not an address; copy it there afterwards")
