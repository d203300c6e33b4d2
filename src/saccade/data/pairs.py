"""Which files belong together: each stem of the splits with its one image and its one mask."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from saccade.data.dataset import Item
from saccade.data.splitsfile import Splits
from saccade.errors import Fault

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
MASK_SUFFIXES = (".png", ".tif", ".tiff")

FilesByStem = dict[str, list[Path]]


def list_files(folder: Path) -> tuple[FilesByStem, list[Fault]]:
    """The files of a folder by stem, hidden ones left out."""
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        return {}, [Fault(folder, "a folder", found)]
    files: FilesByStem = {}
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and path.is_file():
            files.setdefault(path.stem, []).append(path)
    return files, []


def pair_files(root: Path, splits: Splits) -> tuple[dict[str, Item], list[Fault], list[str]]:
    """The item of each stem that has one, the faults of the others, and notices about further files."""
    images, image_faults = list_files(root / "images")
    masks, mask_faults = list_files(root / "masks")
    faults = [*image_faults, *mask_faults]
    wanted = list(dict.fromkeys(stem for stems in splits.values() for stem in stems))
    items: dict[str, Item] = {}
    for stem in wanted:
        image = None if image_faults else _one_file(root / "images", stem, images, IMAGE_SUFFIXES, faults)
        mask = None if mask_faults else _one_file(root / "masks", stem, masks, MASK_SUFFIXES, faults)
        if image is not None and mask is not None:
            items[stem] = Item(stem, image, mask)
    return items, faults, _leftovers(images, wanted)


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
    elif Path(stem).suffix.lower() in IMAGE_SUFFIXES and Path(stem).stem in files:
        faults.append(Fault(folder / stem, "a stem without extension in splits.json", repr(stem)))
    else:
        faults.append(Fault(folder / f"{stem}.*", f"a file of this stem ({kinds})", "no such file"))
    return None


def _leftovers(images: FilesByStem, wanted: Iterable[str]) -> list[str]:
    unused = len(set(images) - set(wanted))
    return [f"{unused} image{'s are' if unused > 1 else ' is'} in no split"] if unused else []


def shared_contents(splits: Mapping[str, Iterable[Item]]) -> list[Fault]:
    """Images of different splits whose files are byte for byte the same: a test image that was trained on."""
    by_length: dict[int, list[tuple[str, Item]]] = {}
    for split, items in splits.items():
        for item in items:
            if item.image.is_file():
                by_length.setdefault(item.image.stat().st_size, []).append((split, item))
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
        if home != split and other.stem != item.stem:
            found = f"the same bytes as {other.image.name} of {home}"
            faults.append(Fault(item.image, f"an image of {split} that is in no other split", found))
    return faults
