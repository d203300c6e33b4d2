"""The layouts that are known, and which of them a folder has."""

from __future__ import annotations

from pathlib import Path

from saccade.data.apolloscape import ApolloScape
from saccade.data.cityscapes import Cityscapes
from saccade.data.deepglobe import DeepGlobe
from saccade.data.folder import FolderFormat
from saccade.data.format import Format
from saccade.data.gleason import Gleason2019
from saccade.data.inria import InriaAerial
from saccade.data.options import DataOptions
from saccade.data.slides import Slides
from saccade.data.supervisely import SuperviselyPerson
from saccade.data.synthia import Synthia
from saccade.errors import FileProblem, InvalidInput, nearest_name

_KINDS: tuple[type[Format], ...] = (
    FolderFormat,
    Cityscapes,
    DeepGlobe,
    Gleason2019,
    ApolloScape,
    Synthia,
    SuperviselyPerson,
    InriaAerial,
    Slides,
)
FORMATS: dict[str, type[Format]] = {kind.name: kind for kind in _KINDS}
"""By the names that ``data.format`` takes."""


def choose_format(root: Path, options: DataOptions) -> Format:
    """The layout that the options name, or the one that the folder has.

    Raises:
        InvalidInput: for a name that there is not.
        FileProblem: ``root`` is no folder, of no known layout, or of several.
    """
    kind = FORMATS.get(options.format)
    if kind is None and options.format != "auto":
        names = ("auto", *FORMATS)
        fix = nearest_name(options.format, names)
        raise InvalidInput("data.format", "one of " + ", ".join(names), repr(options.format), fix)
    if not root.is_dir():
        found = "a file" if root.exists() else "no such folder"
        raise FileProblem(root, "a data set, which is a folder", found)
    return kind(options) if kind is not None else _recognise(root)(options)


def recognised(root: Path) -> list[type[Format]]:
    """The layouts that ``root`` has; our own only where it has no other."""
    if not root.is_dir():
        return []
    others = [kind for kind in FORMATS.values() if kind is not FolderFormat and kind.recognises(root)]
    return others or ([FolderFormat] if FolderFormat.recognises(root) else [])


def _recognise(root: Path) -> type[Format]:
    kinds = recognised(root)
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        found = "several: " + ", ".join(f"{kind.title} ({kind.looks_for})" for kind in kinds)
        fix = "say which: " + " or ".join(f"data.format={kind.name}" for kind in kinds)
        raise FileProblem(root, "one data set", found, fix)
    expected = "a data set: " + "; ".join(f"{kind.title} ({kind.looks_for})" for kind in FORMATS.values())
    found = "an empty folder" if not any(root.iterdir()) else "none of these in it"
    raise FileProblem(root, expected, found, _nearby(root))


def _nearby(root: Path) -> str:
    """Where the folder around is one, or one inside, as of archives with a folder of their own."""
    around = [root.resolve().parent, *sorted(sub for sub in root.iterdir() if sub.is_dir())]
    inside = [(sub, recognised(sub)) for sub in around]
    named = [f"{sub} ({kinds[0].title})" for sub, kinds in inside if kinds]
    return f"did you mean {' or '.join(named[:3])}?" if named else ""
