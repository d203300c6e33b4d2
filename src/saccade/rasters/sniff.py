"""What a file is, by its first bytes and not by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from saccade.errors import FileProblem
from saccade.rasters.faults import reading

Kind = Literal["png", "jpeg", "webp", "tiff", "zarr", "other"]

_SUFFIXES: dict[str, tuple[str, ...]] = {
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff", ".btf", ".svs", ".ndpi", ".scn", ".bif", ".tf8", ".svslide", ".vmu"),
}


def sniff(path: Path) -> Kind:
    """The kind of the file's content.

    Raises:
        FileProblem: missing, not readable, a plain folder, or empty.
    """
    if not path.exists():
        raise FileProblem(path, "an image", "no such file")
    if path.is_dir():
        if any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zarray", ".zattrs")):
            return "zarr"
        raise FileProblem(path, "an image", "a folder without Zarr metadata", "name the images inside it")
    with reading(path, "an image"), path.open("rb") as file:
        start = file.read(16)
    if not start:
        raise FileProblem(path, "an image", "an empty file (0 bytes)")
    return _by_magic(start)


def _by_magic(start: bytes) -> Kind:
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if start.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "webp"
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    return "other"


def misnamed(path: Path, kind: str) -> tuple[str, ...]:
    """A notice where the extension promises another of the known formats than the content is."""
    suffix = path.suffix.lower()
    owner = next((name for name, suffixes in _SUFFIXES.items() if suffix in suffixes), kind)
    if owner == kind:
        return ()
    return (
        f"{path.name} is named as {owner.upper()} but holds {kind.upper()}; it is read as {kind.upper()}",
    )
