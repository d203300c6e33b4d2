"""A draft of ``classes.json`` and ``splits.json`` of images and masks that have none yet."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saccade.data.class_names import NamedClass, names_file, read_names
from saccade.data.classes import MAX_CLASSES, Colour, default_colours, read_classes
from saccade.data.colour_masks import code_of, codes_of, colour_of, read_colours
from saccade.data.folder import MASK_SUFFIXES, list_files, masks_by_image, masks_folder
from saccade.data.grouping import grouped_stems, notes_on, share_groups
from saccade.data.inspection import OnProgress, value_counts
from saccade.data.splits import Splits, read_splits
from saccade.data.vectors import VECTOR_SUFFIXES
from saccade.errors import DataFaults, Fault, FileProblem
from saccade.rasters import read_label_map
from saccade.rasters.suffixes import DATA_SUFFIXES, has_suffix
from saccade.runtime.files import finished_file, refuse_existing
from saccade.runtime.threads import in_order

CLASSES, SPLITS_FILE = "classes.json", "splits.json"
FEW_VALUES = 64
"""Masks with more values or colours, and no file that names them, are likely no masks."""


@dataclass(frozen=True)
class DraftClass:
    """A class that was found.

    Attributes:
        index: its value in masks.
        name, colour: of it.
        pixels: how many masks have of it; 0 where they were not counted.
        values: what polygons of it are called, where it is not the name.
        polygons: how many there are.
    """

    index: int
    name: str
    colour: Colour
    pixels: int = 0
    values: tuple[str, ...] = ()
    polygons: int = 0

    def row(self) -> dict[str, Any]:
        """Of ``classes.json``."""
        row = {"index": self.index, "name": self.name, "colour": list(self.colour)}
        return row if self.values in ((), (self.name,)) else row | {"values": list(self.values)}


@dataclass(frozen=True)
class Draft:
    """What a folder of images and masks needs to be a data folder.

    Attributes:
        root: the folder.
        kind: what the masks hold: "indices", "palette" or "colours"; or what the polygons are from.
        classes: in the order of their indices, the ignored one too.
        ignore_index: the value that counts nowhere; None without.
        splits: the stems of each split.
        grouped_by: what was kept together: "folder", "prefix", "none" or a pattern.
        groups: how many groups there are; as many as images for "none".
        seed: of the splits.
        keeps: files that are there already and stay as they are.
        notes: what a user should look at, one line each.
        labels: GeoJSON files to be written, made of a table of outlines.
        unlabelled: the class where no polygon is; None where there are masks.
        label_field: the attribute of polygons that names classes, where it has to be told.
    """

    root: Path
    kind: str
    classes: tuple[DraftClass, ...]
    ignore_index: int | None
    splits: Mapping[str, tuple[str, ...]]
    grouped_by: str
    groups: int
    seed: int
    keeps: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    labels: Mapping[Path, Any] = field(default_factory=dict, repr=False)
    unlabelled: str | None = None
    label_field: str | None = None

    def classes_json(self) -> dict[str, Any]:
        """What ``classes.json`` says."""
        around = {} if self.unlabelled is None else {"unlabelled": self.unlabelled}
        if self.label_field is not None:
            around["label_field"] = self.label_field
        rows = [c.row() for c in self.classes]
        return {"ignore_index": self.ignore_index, **around, "classes": rows}

    def splits_json(self) -> dict[str, Any]:
        """What ``splits.json`` says."""
        rule = f"by seed, grouped by {self.grouped_by}, about 70 : 15 : 15"
        if self.grouped_by == "the table":
            rule = "as the table says"
        return {"seed": self.seed, "rule": rule, **{name: list(some) for name, some in self.splits.items()}}

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        unit = "pixels" if self.unlabelled is None else "polygons"
        counted = {c.name: getattr(c, unit) for c in self.classes}
        return {
            "kind": "draft of a data folder", "path": str(self.root), "masks": self.kind,
            CLASSES: self.classes_json(), unit: counted, SPLITS_FILE: self.splits_json(),
            "grouped_by": self.grouped_by, "groups": self.groups, "keeps": list(self.keeps),
            "notes": list(self.notes),
        }  # fmt: skip

    def lines(self) -> Iterator[str]:
        """The same for people."""
        total = max(1, sum(c.pixels for c in self.classes))
        images = sum(map(len, self.splits.values()))
        masks = {"indices": "class indices", "palette": "indices with a palette", "colours": "colours"}
        of = f"masks of {masks[self.kind]}" if self.unlabelled is None else self.kind
        yield f"{self.root}: {images} image{'s' if images > 1 else ''} with {of}"
        width = max(len("class"), *(len(c.name) for c in self.classes))
        head = "    share" if self.unlabelled is None else " polygons"
        yield f"  index  {'class':<{width}}  {'colour':<13} {head}"
        for c in self.classes:
            ignored = "  (ignored)" if c.index == self.ignore_index else ""
            colour = ", ".join(map(str, c.colour))
            count = f"{100 * c.pixels / total:6.2f} %" if self.unlabelled is None else f"{c.polygons:>8,}"
            yield f"  {c.index:>5}  {c.name:<{width}}  {colour:<13}  {count}{ignored}"
        shown = ", ".join(f"{len(some)} {name}" for name, some in self.splits.items())
        how = {
            "none": "images shared out one by one",
            "folder": f"the {self.groups} folders kept whole",
            "prefix": f"names of one beginning kept together ({self.groups} groups)",
            "the table": "as the table says",
        }.get(self.grouped_by, f"{self.groups} groups by {self.grouped_by!r}")
        kept = " (as splits.json has them)" if SPLITS_FILE in self.keeps else f" (seed {self.seed}; {how})"
        yield f"  splits: {shown}{kept}"
        yield from (f"  note: {note}" for note in self.notes)

    def write(self, overwrite: bool = False) -> list[Path]:
        """Writes what is not kept, each file whole or not at all; returns what was written.

        Raises:
            FileProblem: for a file that is there, without ``overwrite``.
        """
        own = {CLASSES: self.classes_json(), SPLITS_FILE: self.splits_json()}
        contents = {**self.labels, **{self.root / n: c for n, c in own.items() if n not in self.keeps}}
        for path in contents:
            refuse_existing(path, overwrite)
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with finished_file(path, overwrite=overwrite) as temporary:
                text = json.dumps(content, indent=None if path in self.labels else 1, ensure_ascii=False)
                temporary.write_text(text + "\n", encoding="utf-8")
        return list(contents)


def draft_folder(
    root: Path | str,
    *,
    names: Path | str | None = None,
    group: str = "auto",
    seed: int = 0,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> Draft:
    """Looks at every mask of a folder with ``images/`` and ``masks/`` (or ``labels/``); writes nothing.

    Args:
        root: the folder.
        names: a file of class names: a line "name", "index name" or "red green blue name" each, or a table
            (CSV) with name, r, g, b; default one of :data:`NAME_FILES` in ``root``.
        group: what stays together in one split: auto, folder, prefix (of the name, before its last number),
            none, or a regular expression whose match (or first group) names the group of a stem.
        seed: another gives other splits.
        overwrite: draft anew what is there already; otherwise it is kept.
        on_progress: called with how many masks of how many are read.

    Raises:
        FileProblem: where no image has a mask, or the masks are none.
        DataFaults: with every mask that cannot be read.
        InvalidInput: for a pattern that is none, or one that no stem matches.

    Examples:
        >>> from saccade.data.draft import draft_folder
        >>> from saccade.testing import make_fake
        >>> root = make_fake("folder", "leaves", count=(6, 2, 2))
        >>> for name in ("classes.json", "splits.json"):
        ...     (root / name).unlink()
        >>> draft = draft_folder(root)
        >>> [c.index for c in draft.classes], {name: len(some) for name, some in draft.splits.items()}
        ([0, 1, 2, 255], {'train': 6, 'val': 2, 'test': 2})
        >>> [path.name for path in draft.write()]
        ['classes.json', 'splits.json']
    """
    root = Path(root)
    masks, notes = _pairs(root)
    keeps = both_there(root, overwrite)
    seen = _Seen.of([masks[stem] for stem in masks], on_progress)
    if CLASSES in keeps:
        classes, ignored = _kept_classes(root / CLASSES, seen)
    else:
        file = Path(names) if names is not None else names_file(root)
        named = {} if file is None else read_names(file)
        seen.require_few(masks_folder(root), MAX_CLASSES if named else FEW_VALUES)
        classes, ignored, more = _classes(seen, named, file)
        notes += more
    splits, by, count, more = draft_splits(root, keeps, list(masks), group, seed)
    notes += more
    return Draft(root, seen.kind, classes, ignored, splits, by, count, seed, keeps, tuple(notes))


def draft_splits(
    root: Path, keeps: Sequence[str], stems: list[str], group: str, seed: int
) -> tuple[Splits, str, int, list[str]]:
    """The splits that are there and stay, or new ones by groups; by what, of how many, and notes."""
    if SPLITS_FILE in keeps:
        splits, faults = read_splits(root / SPLITS_FILE)
        if faults:
            raise DataFaults(faults)
        return splits, "none", 0, []
    by, groups = grouped_stems(stems, group)
    shared = share_groups(groups, seed)
    return shared, by, len(groups), notes_on(shared, groups, group)


def both_there(root: Path, overwrite: bool) -> tuple[str, ...]:
    """The files of the two that are there and stay; raises FileProblem where nothing is left to draft."""
    keeps = tuple(n for n in (CLASSES, SPLITS_FILE) if not overwrite and (root / n).exists())
    if len(keeps) == 2:
        found, fix = "both are there", "look at it with saccade info, or draft anew with --overwrite"
        raise FileProblem(root, f"a folder without {CLASSES} and {SPLITS_FILE}", found, fix)
    return keeps


def _pairs(root: Path) -> tuple[dict[str, Path], list[str]]:
    """The mask of each stem that has an image, and notes about the others."""
    if not root.is_dir():
        raise FileProblem(
            root, "a folder of images and masks", "a file" if root.exists() else "no such folder"
        )
    place = masks_folder(root)
    missing = [folder for folder in (root / "images", place) if not folder.is_dir()]
    if missing:
        found = f"no folder {' and no folder '.join(folder.name for folder in missing)}"
        expected = "images/ and beside it masks/ or labels/ (masks or polygons), with files of the same names"
        raise FileProblem(root, expected, found, _renaming(root, missing))
    images, _ = list_files(root / "images")
    found_masks, _ = list_files(place)
    pictures = {s for s, some in images.items() if any(has_suffix(f, DATA_SUFFIXES) for f in some)}
    by_image = masks_by_image(sorted(pictures), found_masks)
    kept, faults = {}, []
    for stem, files in by_image.items():
        good = [file for file in files if file.suffix.lower() in MASK_SUFFIXES]
        if len(good) == 1:
            kept[stem] = good[0]
        elif good:
            faults.append(Fault(good[0], "one mask of an image", " and ".join(f.name for f in good)))
    if faults:
        raise DataFaults(faults)
    if not kept:
        expected = "masks named as the images, such as a.png or a_mask.png of a.jpg"
        raise FileProblem(place, expected, *_names_seen(pictures, found_masks))
    notes = []
    if without := sorted(pictures - set(kept)):
        shown = ", ".join(without[:3]) + (", ..." if len(without) > 3 else "")
        notes.append(f"left out, without a mask: {len(without)} of {len(pictures)} images ({shown})")
    return kept, notes


_MEANT: dict[str, tuple[str, ...]] = {
    "images": ("image", "img", "imgs", "photos", "pictures", "jpegimages", "raw", "x", "inputs"),
    "masks": (
        "mask", "label", "annotations", "annotation", "segmentation", "segmentations", "gt", "seg", "y",
        "groundtruth", "ground_truth", "targets", "masks_png", "segmentationclass",
    ),
}  # fmt: skip
"""What folders are called elsewhere."""


def _renaming(root: Path, missing: Sequence[Path]) -> str:
    """Which folders could be meant, as commands."""
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    commands = []
    for absent in missing:
        like = [
            f for f in folders if f.name.lower() in (*_MEANT[absent.name], absent.name) and f not in missing
        ]
        if absent.name == "masks" and not like:  # polygons may be called anything
            others = [f for f in folders if f.name != "images"]
            like = [f for f in others if any(has_suffix(p, VECTOR_SUFFIXES) for p in f.iterdir())]
            absent = root / "labels" if like else absent
        commands += [shlex.join(["mv", str(like[0]), str(absent)])] if like else []
    if commands:
        return "rename: " + " && ".join(commands)
    return f"put the pictures into {root / 'images'} and their masks into {root / 'masks'}"


def _names_seen(images: Iterable[str], masks: Mapping[str, list[Path]]) -> tuple[str, str]:
    picture = min(images, default=None)
    mask = min((file.name for files in masks.values() for file in files), default=None)
    if picture is None or mask is None:
        return f"no {'images' if picture is None else 'masks'}", "put them there"
    return f"images as {picture}, masks as {mask}", "rename the masks, and save JPEG masks as PNG"


# --- what the masks hold ------------------------------------------------------------------------------------


@dataclass
class _Seen:
    """How often each value of indices, or each colour code, occurs in all masks."""

    kind: str = "indices"
    counts: Counter[int] = field(default_factory=Counter)
    palette: dict[int, Colour] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Sequence[Path], on_progress: OnProgress | None) -> _Seen:
        seen, faults = cls(), []
        kinds: dict[str, Path] = {}
        indices: Counter[int] = Counter()
        colours: Counter[int] = Counter()
        with closing(in_order(_look, files)) as results:
            for done, (file, result) in enumerate(zip(files, results, strict=True), 1):
                if isinstance(result, Fault):
                    faults.append(result)
                else:
                    kind, counts, palette = result
                    kinds.setdefault(kind, file)
                    (colours if kind == "colours" else indices).update(counts)
                    seen.palette.update(palette)
                if on_progress is not None:
                    on_progress(done, len(files))
        if "colours" in kinds and len(kinds) > 1:
            grey = next(file for kind, file in kinds.items() if kind != "colours")
            expected = f"a mask in colours as {kinds['colours'].name}"
            faults.append(Fault(grey, expected, "one of indices; save all masks in one way"))
        if faults:
            raise DataFaults(faults)
        seen.kind = "colours" if colours else "palette" if "palette" in kinds else "indices"
        seen.counts = colours or indices
        return seen

    def require_few(self, root: Path, most: int) -> None:
        """Refuses what was likely drawn with smoothing, or is no mask."""
        if len(self.counts) > most:
            what = "colours" if self.kind == "colours" else "values"
            fix = "save masks as PNG, one colour or index a class, drawn without smoothing"
            fix += "; if they are so many classes (255 at most), give --names FILE"
            raise FileProblem(root, "masks of a few classes", f"{len(self.counts)} {what}", fix)


def _look(file: Path) -> tuple[str, dict[int, int], dict[int, Colour]] | Fault:
    """What one mask holds: kind, how often each value or colour occurs, colours of its palette."""
    try:
        pixels = read_colours(file)
        if pixels is not None and not (pixels[..., :1] == pixels).all():
            codes, times = np.unique(codes_of(pixels), return_counts=True)
            if len(codes) > MAX_CLASSES:
                fix = "save masks as PNG, drawn without smoothing"
                raise FileProblem(file, f"at most {MAX_CLASSES} colours", f"{len(codes)}", fix)
            return "colours", dict(zip(codes.tolist(), times.tolist(), strict=True)), {}
        values = read_label_map(file) if pixels is None else pixels[..., 0]
    except FileProblem as problem:
        return Fault(
            problem.path, problem.expected, f"{problem.got}" + (f"; {problem.fix}" if problem.fix else "")
        )
    counts = value_counts(np.ascontiguousarray(values))
    counted = {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    palette = _palette_of(file, counted) if pixels is None else {}
    return ("palette" if palette else "indices"), counted, palette


def _palette_of(file: Path, values: Iterable[int]) -> dict[int, Colour]:
    """Colours of the values in a palette PNG; none where it is another file."""
    if file.suffix.lower() != ".png":
        return {}
    with Image.open(file) as image:
        numbers = image.getpalette() if image.mode == "P" else None
    triples: NDArray[np.int64] = np.array(numbers or [], np.int64).reshape(-1, 3)
    return {v: tuple(map(int, triples[v])) for v in values if v < len(triples)}  # type: ignore[misc]


def _classes(
    seen: _Seen, named: dict[str, NamedClass], file: Path | None
) -> tuple[tuple[DraftClass, ...], int | None, list[str]]:
    """Classes, the ignored value, and notes, from what was counted and what has a name."""
    rows = list(named.values())
    if seen.kind == "colours":
        return _from_colours(seen, rows, file)
    values = sorted(seen.counts)
    by_index = {row.index: row for row in rows if row.index is not None}
    if not by_index:  # plain lines name the indices in order
        by_index = dict(enumerate(rows))
    ignored = 255 if _is_ignored(values, by_index) else None
    binary = values in ([0, 255], [255], [0, 1]) and not rows
    notes = [f"value 255 is taken for ignored pixels; if it is a class, give it a name in {CLASSES} and "
             '"ignore_index": null'] if ignored is not None else []  # fmt: skip
    if unnamed := [v for v in values if v not in by_index and v != ignored and rows]:
        notes.append(f"{file}: no name for the value{'s' if len(unnamed) > 1 else ''} {_short(unnamed)}")
    if not rows:
        notes.append(f"names are made up: change them in {CLASSES}, or give --names FILE")
    everything = sorted({*values, *by_index})
    fallback = default_colours(len(everything))
    classes = []
    for number, value in enumerate(everything):
        row = by_index.get(value)
        name = row.name if row else "ignored" if value == ignored else _made_up(value, values, binary)
        colour = (row.colour if row else None) or seen.palette.get(value) or (
            (0, 0, 0) if value == 0 else (255, 255, 255) if value == ignored else fallback[number]
        )  # fmt: skip
        classes.append(DraftClass(value, name, colour, seen.counts.get(value, 0)))
    return tuple(classes), ignored, notes


def _is_ignored(values: list[int], by_index: Mapping[int, NamedClass]) -> bool:
    """255 beside other classes than 0 alone, without a name: by custom, what counts nowhere."""
    others = [v for v in values if v != 255]
    return 255 in values and 255 not in by_index and len(others) > 1 and max(others) < 200


def _made_up(value: int, values: list[int], binary: bool) -> str:
    if value == 0:
        return "background"
    return "foreground" if binary or len(values) == 1 else f"class_{value}"


def _from_colours(
    seen: _Seen, rows: list[NamedClass], file: Path | None
) -> tuple[tuple[DraftClass, ...], int | None, list[str]]:
    """Classes of colours: those of the file of names in its order, else the black one first, then the most
    frequent."""
    by_code = {code_of(row.colour): row for row in rows if row.colour is not None}
    notes = []
    strange = [code for code in seen.counts if code not in by_code]
    if rows and not by_code:
        notes.append(f"{file}: names without colours cannot be given to colour masks; name them in {CLASSES}")
    elif rows and strange:
        shown = ", ".join(str(list(colour_of(code))) for code in strange[:3])
        notes.append(f"{file}: no name for the colour{'s' if len(strange) > 1 else ''} {shown}")
    if not by_code:
        notes.append(f"names are made up: change them in {CLASSES}, or give --names FILE")
    order = [*by_code, *sorted(strange, key=lambda code: (code != 0, -seen.counts[code], code))]
    classes = [
        DraftClass(
            index, by_code[code].name if code in by_code else "background" if code == 0 else f"class_{index}",
            colour_of(code), seen.counts.get(code, 0),
        )
        for index, code in enumerate(order)
    ]  # fmt: skip
    return tuple(classes), None, notes


def _short(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")


def _kept_classes(path: Path, seen: _Seen) -> tuple[tuple[DraftClass, ...], int | None]:
    """As the file says, for a folder that lacks splits alone."""
    table, faults = read_classes(path)
    if table is None:
        raise DataFaults(faults)
    rows = zip(table.indices, table.names, table.colours, strict=True)
    in_colours = seen.kind == "colours"
    classes = tuple(
        DraftClass(index, name, colour, seen.counts.get(code_of(colour) if in_colours else index, 0))
        for index, name, colour in rows
    )
    return classes, table.file_ignore_index
