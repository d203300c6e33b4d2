"""``open_data``: any data set that Saccade knows, checked before any work starts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from saccade.data.apolloscape import ApolloScape
from saccade.data.bands import (
    LARGEST_SHARE,
    LEAST_VALUES,
    MOST_VALUES,
    BandFacts,
    chosen_bands,
    image_infos,
    scale_faults,
)
from saccade.data.cityscapes import Cityscapes
from saccade.data.classes import ClassTable
from saccade.data.dataset import DataFolder, Format, Item, Listing
from saccade.data.deepglobe import DeepGlobe
from saccade.data.folder import MOST_NAMED, FolderFormat, shared_contents
from saccade.data.gleason import Gleason2019
from saccade.data.inria import InriaAerial
from saccade.data.inspection import Inspection, OnDecoded, OnProgress, inspect_items, systems_told
from saccade.data.options import DataOptions
from saccade.data.region import Region
from saccade.data.slides import Slides
from saccade.data.splits import SPLITS
from saccade.data.supervisely import SuperviselyPerson
from saccade.data.synthia import Synthia
from saccade.data.vector_folder import VectorFolder
from saccade.data.windows import Windowed
from saccade.errors import DataFaults, Fault, FileProblem, InvalidInput, nearest_name
from saccade.rasters import open_raster
from saccade.rasters.bands import Bands

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
    VectorFolder,
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


def scored_split(data: DataFolder | Path | str, options: DataOptions) -> str:
    """The split that is scored where none is named: test, or val where the labels of test are not public.

    Raises:
        FileProblem: for a folder that is no data set.
    """
    kind = data.format if isinstance(data, DataFolder) else choose_format(Path(data), options)
    return kind.scored


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
    if (root / "config.yaml").is_file() and (root / "checkpoints").is_dir():
        raise FileProblem(root, "a data set", "a trained run", "name the folder of the images and masks")
    expected = "a data set: " + "; ".join(f"{kind.title} ({kind.looks_for})" for kind in FORMATS.values())
    found = "an empty folder" if not any(root.iterdir()) else "none of these in it"
    raise FileProblem(root, expected, found, _nearby(root))


def _nearby(root: Path) -> str:
    """Where the folder around is one, or one inside, as of archives with a folder of their own."""
    above = root.parent if root.name and root.name != ".." else root / ".."
    around = [above, *sorted(sub for sub in root.iterdir() if sub.is_dir())]
    inside = [(sub, recognised(sub)) for sub in around]
    named = [f"{sub} ({kinds[0].title})" for sub, kinds in inside if kinds]
    return f"did you mean {' or '.join(named[:3])}?" if named else ""


def open_data(
    path: Path | str,
    options: DataOptions | None = None,
    *,
    splits: Iterable[str] | None = None,
    on_decoded: OnDecoded | None = None,
    on_progress: OnProgress | None = None,
    bands: Bands | str | None = None,
    **changes: Any,
) -> DataFolder:
    """Opens a data set and checks everything in it, files and pixels, before any work starts.

    Args:
        path: its folder; what lies in it decides which data set it is.
        options: its layout, crop and resolution; default the layout that is recognised, whole images.
        splits: the splits whose files are needed: "train", "val", "test", or in your own folder the name of
            any other list in splits.json; None for those of the three that are there.
        on_decoded: called, from a few threads, once with each item and its pixels, which the check decodes
            anyway: hand in :meth:`saccade.data.cache.SampleCache.keep`.
        on_progress: called with how many items of how many are checked.
        bands: those of a run, which every image must have in the same type and unit; or "colour", for a run
            of colour of eight bits. Default: as the options and the files say.
        changes: single options by name: ``crop="square"``.

    Raises:
        FileProblem: where ``path`` is not a folder, or no data set that is known.
        InvalidInput: for an option that there is not, or a value that is not allowed.
        DataFaults: with every fault that was found: file, what was expected, what was found.

    Examples:
        >>> from saccade.data import open_data
        >>> from saccade.testing import make_fake
        >>> data = open_data(make_fake("folder", "leaves"), crop="square")
        >>> data.size(data.split("test")[0])
        (16, 16)
    """
    root = Path(path)
    options = replace((options or DataOptions()).changed(changes), path=str(root))
    format = choose_format(root, options)
    if options.window is not None:
        format = Windowed(format)
    split_names = None if splits is None else _known(splits, format)
    listing = format.find(root, split_names)
    if options.target is not None and listing.classes is not None:
        listing.classes = listing.classes.against_the_rest(options.target)
    if options.region is not None and options.window is None:
        listing = _in_region(listing, Region.parse(options.region), root)
    pairs = [(item, name == "train") for item, name in _each(listing)]
    images = list(dict.fromkeys(item.image for item, _ in pairs))
    format.bands = _bands_read(bands, images, options, listing.faults)
    format.some_pixels = min(LARGEST_SHARE, max(LEAST_VALUES, MOST_VALUES // max(1, len(pairs))))
    inspections = inspect_items(pairs, listing.classes, format, on_decoded, on_progress)
    faults = [*listing.faults, *shared_contents(listing.splits), *_shared_stems([item for item, _ in pairs])]
    faults += [fault for inspection in inspections for fault in inspection.faults]
    if faults or listing.classes is None:
        raise DataFaults(faults)
    facts = {i.item.stem: i.facts for i in inspections if i.facts is not None}
    _require_one_scale(format, inspections)
    items = {name: tuple(some) for name, some in listing.splits.items()}
    draws, notes = None, list[str]()
    if isinstance(format, Windowed):
        items, draws, notes = format.settle(facts, split_names)
    data = DataFolder(root, listing.classes, items, facts, format=format, draws=draws)
    if split_names is not None and (empty := _unlabelled(data, split_names)):
        raise DataFaults(empty)
    noticed: dict[str, list[str]] = {}
    for inspection in inspections:
        for notice in inspection.notices:
            noticed.setdefault(notice, []).append(inspection.item.image.name)
    lines = [f"{notice}: {_counted(list(dict.fromkeys(names)))}" for notice, names in sorted(noticed.items())]
    remarks = format.remarks()
    return replace(
        data,
        notices=(
            *listing.notices,
            *notes,
            *systems_told(inspections),
            *lines,
            *remarks,
            *_unseen_classes(data, data.classes),
        ),
    )


def _in_region(listing: Listing, region: Region, root: Path) -> Listing:
    """What a region leaves: the images that it meets."""
    splits: dict[str, list[Item]] = {}
    faults, notices = list(listing.faults), list(listing.notices)
    for name, items in listing.splits.items():
        splits[name] = []
        for item in items:
            try:
                with open_raster(item.image) as raster:
                    kept = region.meets(raster)
            except FileProblem as problem:
                if problem.path == Path(region.text):
                    raise
                kept = True  # told when the image is read
            splits[name] += [item] if kept else []
        if items and not splits[name]:
            found_there = f"none of {len(items)}"
            faults.append(Fault(root, f"images of {name} that the region {region.text} meets", found_there))
        elif left := len(items) - len(splits[name]):
            notices.append(f"{left} image{'s' * (left > 1)} of {name} outside of the region: left out")
    return Listing(listing.classes, splits, faults, notices)


def _bands_read(
    chosen: Bands | str | None, images: Sequence[Path], options: DataOptions, faults: Sequence[Fault]
) -> Bands | None:
    """What images are read as: as told, or as the options and the files say."""
    if chosen is not None:
        return chosen if isinstance(chosen, Bands) else None
    bands, mixed = chosen_bands(image_infos(images), options)
    if mixed:
        raise DataFaults([*faults, *mixed[:MOST_NAMED]])
    return bands


def _require_one_scale(format: Format, inspections: Sequence[Inspection]) -> None:
    """Raises DataFaults where values of some images are of another unit than those of most."""
    if format.bands is None or format.bands.mean:  # those of a run: each image was compared with it
        return
    seen: dict[Path, list[BandFacts]] = {}  # of an image in windows one for each
    for inspection in inspections:
        if inspection.facts is not None and inspection.facts.bands is not None:
            seen.setdefault(inspection.item.image, []).append(inspection.facts.bands)
    faults = scale_faults(format.bands, [(path, BandFacts.together(some)) for path, some in seen.items()])
    if faults:
        raise DataFaults(faults)


_SPLIT_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _known(splits: Iterable[str], format: Format) -> tuple[str, ...]:
    """Names of splits, the usual ones first in their order; raises InvalidInput for one that cannot be."""
    names = set(splits)
    others = sorted(names - set(SPLITS))
    for name in others:
        if not format.any_split:
            raise InvalidInput("split", f"one of {', '.join(SPLITS)}", repr(name))
        if not _SPLIT_NAME.fullmatch(name):
            raise InvalidInput("split", "a name of letters, digits, - and _", repr(name))
    return (*(name for name in SPLITS if name in names), *others)


def _counted(names: Sequence[str]) -> str:
    """How many images, and which where they are few: "3 images (a.png, b.png, c.png)"."""
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} image{'s' if len(names) > 1 else ''} ({shown})"


def _each(listing: Listing) -> list[tuple[Item, str]]:
    """Every item once, with its split; one that stands in two splits, which is a fault, with the first."""
    pairs: dict[Item, str] = {}
    for name, items in listing.splits.items():
        for item in items:
            pairs.setdefault(item, name)
    return list(pairs.items())


def _shared_stems(items: Sequence[Item]) -> list[Fault]:
    """A stem stands for one item: sizes, counts and results are kept by it."""
    first: dict[str, Item] = {}
    return [
        Fault(item.image, f"a name that no other image has ({item.stem})", str(other.image))
        for item in items
        if (other := first.setdefault(item.stem, item)) is not item
    ]


def _unlabelled(data: DataFolder, splits: Sequence[str]) -> list[Fault]:
    """The splits in which every pixel is ignored: there is nothing to learn or to score."""
    faults = []
    for name in splits:
        if data.class_counts(name).sum() == 0:
            cause = _ignored_instead(data, name, data.classes.names)
            way_out = "; choose another split, such as val" if name == "test" else cause
            faults.append(Fault(data.path, f"labels in {name}", f"only ignored pixels{way_out}"))
    return faults


def _unseen_classes(data: DataFolder, classes: ClassTable) -> list[str]:
    lines = []
    for split in data.splits:
        counts = data.class_counts(split)
        absent = [name for name, count in zip(classes.names, counts, strict=True) if count == 0]
        if len(absent) == len(classes):
            lines.append(f"all pixels of {split} are ignored: it cannot be scored")
        elif absent:
            alone = len(absent) == len(classes) - 1
            cause = _ignored_instead(data, split, absent) if alone else ""
            lines.append(f"no pixel of {', '.join(absent)} in {split}{cause}")
    return lines


def require_something_to_learn(data: DataFolder) -> None:
    """Refuses data of several classes of which training sees only one.

    The split val is refused too where pixels of it are ignored: its other classes may be among these.

    Raises:
        DataFaults: with the likely cause.
    """
    faults = []
    for split in ("train", "val"):
        counts = data.class_counts(split)
        absent = [name for name, count in zip(data.classes.names, counts, strict=True) if count == 0]
        ignored = _ignored_instead(data, split, absent)
        if len(data.classes) > 1 and len(absent) >= len(data.classes) - 1 and (split == "train" or ignored):
            seen = next((name for name in data.classes.names if name not in absent), "no class")
            expected = f"pixels of two classes or more in {split}"
            faults.append(Fault(data.path, expected, f"only {seen}: nothing can be learned{ignored}"))
    if faults:
        raise DataFaults(faults)


def _ignored_instead(data: DataFolder, split: str, absent: Sequence[str]) -> str:
    """What stands where classes are absent: "; 255 covers 41 % and is ignored; did you mean class 1?"."""
    ignored, scored = data.ignored_pixels(split), int(data.class_counts(split).sum())
    if not ignored or not absent:
        return ""
    values = ", ".join(map(str, data.classes.ignored_values))
    share = 100 * ignored / (ignored + scored)
    shown = f"{share:.0f}" if share >= 1 else f"{share:.2g}"
    table = dict(zip(data.classes.names, data.classes.indices, strict=True))
    meant = " or ".join(f"class {table[name]} ({name})" for name in absent[:3])
    return f"; {values} covers {shown} % and is ignored; did you mean {meant}?"
