"""Folders of images and masks: how files are paired, and our own layout of them."""

from __future__ import annotations

import difflib
import hashlib
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saccade.data.classes import read_classes
from saccade.data.colour_masks import ColourTable, mask_values, read_mask
from saccade.data.dataset import Format, Item, Listing
from saccade.data.splits import SPLITS, Splits, composed, read_splits, wanted_splits
from saccade.errors import Fault, FileProblem
from saccade.rasters import Raster
from saccade.rasters.labels import open_mask
from saccade.rasters.part import PartRaster
from saccade.rasters.suffixes import DATA_SUFFIXES, OWN_SUFFIXES, has_suffix

PARTS = ("images", "masks", "classes.json", "splits.json")


MASKS = ("masks", "labels")
"""Folders that masks may lie in; the first that is there."""
MASK_ENDINGS = tuple(
    f"{mark}{word}" for mark in "_-" for word in ("mask", "masks", "label", "labels", "gt", "seg")
)
"""What a mask may have behind the stem of its image: leaf_1_mask.png of leaf_1.jpg."""


def masks_folder(root: Path) -> Path:
    """Where the masks of a data folder are; ``masks`` where there are none."""
    return next((root / name for name in MASKS if (root / name).is_dir()), root / MASKS[0])


def is_data_folder(path: Path) -> bool:
    """True for a folder that holds at least one of the parts of a data folder."""
    return path.is_dir() and any((path / part).exists() for part in (*PARTS, *MASKS))


MOST_NAMED = 20
"""Faults of one kind that are named one by one."""


def files(folder: Path, pattern: str) -> list[Path]:
    """The files of a pattern, in order; hidden ones (as macOS leaves them in archives) are left out."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith(".") and path.is_file())


def match(
    format: Format,
    images: Mapping[str, Path],
    masks: Mapping[str, Path],
    mask_of: Callable[[str], str],
    image_of: Callable[[str], str],
) -> tuple[dict[str, Item], list[Fault]]:
    """The item of each stem that has an image and a mask, and a fault for each that has only one.

    Args:
        format: the data set.
        images, masks: by stem.
        mask_of: the file that is missing beside an image, in words, of its stem.
        image_of: the same of a mask.
    """
    items = {stem: Item(stem, images[stem], masks[stem]) for stem in images if stem in masks}
    without = [(images[stem], f"its annotation {mask_of(stem)}") for stem in images if stem not in masks]
    orphans = [(masks[stem], f"its image {image_of(stem)}") for stem in masks if stem not in images]
    return items, [*limited(format, without), *limited(format, orphans)]


def limited(format: Format, missing: Iterable[tuple[Path, str]]) -> list[Fault]:
    """A fault for each (file, what belongs to it and is not there); one for all beyond the first twenty."""
    pairs = list(missing)
    faults = [Fault(path, expected, "no such file") for path, expected in pairs[:MOST_NAMED]]
    if len(pairs) > MOST_NAMED:
        path, expected = pairs[MOST_NAMED]
        faults.append(format.missing(path, expected, f"{len(pairs) - MOST_NAMED} more files without"))
    return faults


def incomplete(counts: Mapping[str, int], whole: Mapping[str, int]) -> list[str]:
    """A notice for each split that has another number of images than the published set."""
    return [
        f"{counts[name]} images in {name}; the published set has {number}"
        for name, number in whole.items()
        if name in counts and counts[name] != number
    ]


MASK_SUFFIXES = (".png", ".tif", ".tiff")

FilesByStem = dict[str, list[Path]]


def list_files(folder: Path) -> tuple[FilesByStem, list[Fault]]:
    """The files of a folder and of those in it, by their path below it without suffix, hidden ones left out.

    Names are in composed form (NFC): file systems of macOS give them decomposed.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        return {}, [Fault(folder, "a folder", found)]
    files: FilesByStem = {}
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        if not any(part.startswith(".") for part in below.parts) and path.is_file():
            files.setdefault(composed(below.with_suffix("").as_posix()), []).append(path)
    return files, []


def pair_files(root: Path, splits: Splits) -> tuple[dict[str, Item], list[Fault], list[str]]:
    """The item of each stem that has one, the faults of the others, and notices about further files."""
    place = masks_folder(root)
    images, image_faults = list_files(root / "images")
    masks, mask_faults = list_files(place)
    faults = [*image_faults, *mask_faults]
    listed = list(dict.fromkeys(stem for stems in splits.values() for stem in stems))
    masks = masks_by_image(listed, masks)
    suffixes = (*DATA_SUFFIXES, *OWN_SUFFIXES)
    items: dict[str, Item] = {}
    for stem in listed:
        if not (image_faults or mask_faults) and stem not in images and stem not in masks:
            faults.append(_unknown_stem(root, place, stem, images))
            continue
        image = None if image_faults else _one_file(root / "images", stem, images, suffixes, faults)
        mask = None if mask_faults else _one_file(place, stem, masks, MASK_SUFFIXES, faults)
        if image is not None and mask is not None:
            items[stem] = Item(stem, image, mask)
    return items, faults, _leftovers(images, listed)


def masks_by_image(stems: Iterable[str], masks: FilesByStem) -> FilesByStem:
    """The files of masks by the stems of their images: of the same name, else with "_mask" or the like
    behind it."""
    by_stem: FilesByStem = {}
    for stem in stems:
        here = masks.get(stem) or [file for end in MASK_ENDINGS for file in masks.get(stem + end, [])]
        if here:
            by_stem[stem] = here
    return by_stem


def _unknown_stem(root: Path, masks: Path, stem: str, images: FilesByStem) -> Fault:
    """One fault for a stem that has neither image nor mask."""
    if has_suffix(Path(stem), (*DATA_SUFFIXES, *MASK_SUFFIXES)) and Path(stem).stem in images:
        return Fault(root / "images" / stem, "a stem without extension in splits.json", repr(stem))
    close = difflib.get_close_matches(stem[:200], images, n=1)
    near = f"; did you mean {close[0]!r}?" if close else ""
    where = f"images/{stem}.* and {masks.name}/{stem}.*"
    return Fault(root / "splits.json", f"stems of images, such as of {where}", f"no such file{near}")


def _one_file(
    folder: Path, stem: str, files: FilesByStem, suffixes: tuple[str, ...], faults: list[Fault]
) -> Path | None:
    here = files.get(stem, [])
    good = [path for path in here if path.suffix.lower() in suffixes]
    if len(good) == 1:
        return good[0]
    kinds = ", ".join(suffix.lstrip(".") for suffix in suffixes)
    if good:
        names = " and ".join(path.name for path in good)
        faults.append(Fault(folder / stem, "one file with this stem", names))
    elif here:
        faults.append(Fault(here[0], f"one of the formats {kinds}", f"a {here[0].suffix or 'bare'} file"))
    elif has_suffix(Path(stem), DATA_SUFFIXES) and Path(stem).stem in files:
        faults.append(Fault(folder / stem, "a stem without extension in splits.json", repr(stem)))
    else:
        faults.append(Fault(folder / f"{stem}.*", f"a file of this stem ({kinds})", "no such file"))
    return None


def _leftovers(images: FilesByStem, listed: Iterable[str]) -> list[str]:
    unused = len(set(images) - set(listed))
    return [f"{unused} image{'s are' if unused > 1 else ' is'} in no split"] if unused else []


def shared_contents(splits: Mapping[str, Iterable[Item]]) -> list[Fault]:
    """Images of different splits whose files are byte for byte the same: a test image that was trained on."""
    by_length: dict[int, list[tuple[str, Item]]] = {}
    for split, items in splits.items():
        for item in items:
            if item.image.is_file():
                same_size = by_length.setdefault(item.image.stat().st_size, [])
                if all((split, item.image) != (name, other.image) for name, other in same_size[-1:]):
                    same_size.append((split, item))
    faults = []
    for length, group in by_length.items():
        if length and len({split for split, _ in group}) > 1 and len({item.stem for _, item in group}) > 1:
            faults += _same_bytes(group)
    return faults


def _same_bytes(group: list[tuple[str, Item]]) -> list[Fault]:
    first: dict[bytes, tuple[str, Item]] = {}
    faults = []
    for split, item in group:
        with item.image.open("rb") as file:
            digest = hashlib.file_digest(file, "blake2b").digest()
        home, other = first.setdefault(digest, (split, item))
        if home != split and other.stem != item.stem and other.image != item.image:
            found = f"the same bytes as {other.image.name} of {home}"
            faults.append(Fault(item.image, f"an image of {split} that is in no other split", found))
    return faults


def _with_way_out(root: Path, fault: Fault) -> Fault:
    """Of a classes.json or splits.json that is not there: what writes one."""
    missing = fault.found == "no such file" and fault.path.parent == root
    command = shlex.join(["saccade", "init", str(root)])
    return replace(fault, found=f"no such file; '{command}' writes it") if missing else fault


class FolderFormat(Format):
    """The data folder of docs/data.md."""

    name = "folder"
    title = "a data folder"
    looks_for = ", ".join(f"{part}/" if "." not in part else part for part in PARTS)
    any_split = True
    windowed = True

    _colours: ColourTable | None = None

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return is_data_folder(root)

    def find(self, root: Path, splits: tuple[str, ...] | None) -> Listing:
        classes, faults = read_classes(root / "classes.json")
        if classes is not None:
            instead = classes.file_ignore_index
            ignored = instead if classes.negative_ignore is None else classes.negative_ignore
            self.ignored = {"ignored": ignored, "instead": instead}
        self._colours = ColourTable.read(root / "classes.json")
        others = tuple(name for name in splits or () if name not in SPLITS)
        in_windows = self.options.window is not None
        stems, split_faults = read_splits(root / "splits.json", (*SPLITS, *others), shared=in_windows)
        faults = [_with_way_out(root, fault) for fault in [*faults, *split_faults]]
        trained_on = set(stems.get("train", ()))
        shared = {name: len(trained_on & set(stems.get(name, ()))) for name in others}
        if splits is not None:
            stems, missing = wanted_splits(stems, splits, root / "splits.json")
            faults += [] if split_faults else missing
        items, pair_faults, notices = pair_files(root, stems)
        listed = {name: tuple(items[s] for s in stems[name] if s in items) for name in stems}
        notices = notices if splits is None else []
        notices += [f"{n} images of {name} are in train too" for name, n in shared.items() if n]
        return Listing(classes, listed, [*faults, *pair_faults], notices)

    def values(self, item: Item) -> NDArray[np.integer]:
        return read_mask(item.mask, self._colours, **self.ignored)

    def open_labels(self, path: Path) -> Raster:
        return open_mask(path)

    def check_labels(self, item: Item, raster: Raster, labels: Raster) -> None:
        if labels.size != raster.size:
            expected = f"the size of its image, {raster.size[0]} x {raster.size[1]} (rows x columns)"
            raise FileProblem(item.mask, expected, f"{labels.size[0]} x {labels.size[1]}")

    def values_in(self, item: Item, part: PartRaster, labels: Raster) -> NDArray[np.integer]:
        return mask_values(labels, self._colours, item.window, **self.ignored)
