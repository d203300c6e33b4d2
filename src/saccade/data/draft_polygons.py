"""A draft of ``classes.json`` and ``splits.json`` of images and polygons, and of tables of outlines."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from saccade.data.annotation_tables import Outlines, read_table, read_tool_json
from saccade.data.class_names import NamedClass, names_file, read_names
from saccade.data.classes import MAX_CLASSES, Colour, default_colours, read_classes
from saccade.data.coco import CocoFile, is_coco
from saccade.data.draft import CLASSES, SPLITS_FILE, Draft, DraftClass, both_there, draft_splits
from saccade.data.folder import files, list_files
from saccade.data.inspection import OnProgress
from saccade.data.label_drawing import open_vectors
from saccade.data.label_rule import ANY, FIELDS, LabelRule, as_text, read_label_rule
from saccade.data.slides import label_files
from saccade.data.splits import SPLITS, Splits, composed
from saccade.data.vector_folder import LABELS, VectorFolder, labels_folder
from saccade.data.vectors import JSON_SUFFIXES, VECTOR_SUFFIXES, JsonVectors, Vectors
from saccade.errors import DataFaults, FileProblem, nearest_name
from saccade.rasters.suffixes import DATA_SUFFIXES, has_suffix
from saccade.runtime.reading import parse_json

TABLES = ("annotations.csv", "labels.csv", "annotations.tsv", "regions.csv")
"""Names of tables that are looked for first, in the folder itself; then any other."""
TOOL_FOLDERS = ("images", "annotations", "json")
"""Where the JSON files of annotation tools are looked for, besides the folder itself."""
BACKGROUND = "background"


def holds_polygons(root: Path) -> bool:
    """Whether a folder holds polygons in place of masks: vector files, or a table of outlines."""
    if not root.is_dir() or (root / "masks").is_dir():
        return False
    if _slides(root) or VectorFolder.recognises(root) or _flat(root):
        return True
    return (root / "images").is_dir() and (_outlines_file(root) is not None or _loose_coco(root) is not None)


def draft_polygons(
    root: Path | str,
    *,
    names: Path | str | None = None,
    group: str = "auto",
    seed: int = 0,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
    label_field: str | None = None,
) -> Draft:
    """Looks at every vector file of a folder, or at its table of outlines; writes nothing.

    What is read: ``images/`` beside ``labels/`` (or ``annotations/``) with GeoJSON, QuPath's GeoJSON,
    GeoPackage, Shapefile, FlatGeobuf or COCO JSON; ``slides/`` beside ``annotations/``; ``images/`` with a
    table (CSV with WKT, points or boxes), a VIA project or export, or LabelMe's JSON files, of which
    :meth:`saccade.data.draft.Draft.write` makes ``labels/NAME.geojson``.

    Args:
        root, names, group, seed, overwrite: as for :func:`saccade.data.draft.draft_folder`.
        on_progress: called with how many files of how many are read.
        label_field: the attribute of vector files that names classes; default the first of
            :data:`saccade.data.label_rule.FIELDS` that is there, else the only one of texts.

    Raises:
        FileProblem: for a table or file that cannot be read, or without polygons; for images and polygons in
            one folder, with the commands that part them.

    Examples:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from saccade.data.draft_polygons import draft_polygons
        >>> for name in "abcd":
        ...     Path("trees/images").mkdir(parents=True, exist_ok=True)
        ...     Image.new("RGB", (40, 30)).save(f"trees/images/{name}.jpg")
        >>> rows = [f"{name}.jpg,oak,2,3,20,18" for name in "abcd"]
        >>> table = "\\n".join(["image,class,xmin,ymin,xmax,ymax", *rows])
        >>> _ = Path("trees/annotations.csv").write_text(table)
        >>> draft = draft_polygons("trees")
        >>> [(c.name, c.polygons) for c in draft.classes]
        [('background', 0), ('oak', 4)]
        >>> [path.name for path in draft.write()][:2]
        ['a.geojson', 'b.geojson']
    """
    root = Path(root)
    keeps = both_there(root, overwrite)
    if _flat(root):
        raise _parted(root)
    notes: list[str] = []
    labels: dict[Path, Any] = {}
    told: Mapping[str, str] = {}
    if (source := _outlines_file(root)) is not None and not _slides(root) and labels_folder(root) is None:
        outlines = _read_outlines(source)
        stems, labels, told, more = _placed(outlines, root)
        notes += more
        kind, label_field = f"{outlines.kind} ({source.name})", None
        counts, colours = _counted(name for _, name in _each(labels.values())), {}
    elif labels_folder(root) is None and (coco := _loose_coco(root)) is not None:
        place = shlex.quote(str(root / LABELS[0]))
        fix = f"mkdir -p {place} && mv {shlex.quote(str(coco))} {place}"
        raise FileProblem(root, "images/ and beside it labels/", f"COCO JSON as {coco.name}", fix)
    else:
        stems, vectors, more = _pairs(root)
        notes += more
        kind = "polygons"
        rule = _kept_rule(root) if CLASSES in keeps else None
        if rule is not None:
            label_field = rule.label_field
        found = list(_attributes(vectors, label_field, on_progress))
        counts = sum((_counted(values) for _, values, _ in found), Counter())
        colours = {name: colour for _, _, some in found for name, colour in some.items()}
        used = {name for name, _, _ in found}
        label_field = next(iter(used - {None, *FIELDS}), None)
    if not counts:
        raise FileProblem(root, "polygons", "none in any file")
    made: dict[str, Any] = {"labels": labels, "unlabelled": BACKGROUND, "label_field": label_field}
    if CLASSES in keeps:
        classes, ignored = _kept_classes(root, counts)
        notes.append(f"{CLASSES} is there and stays as it is")
    else:
        file = Path(names) if names is not None else names_file(root)
        classes, ignored, more = _classes(counts, colours, {} if file is None else read_names(file))
        notes += more
    if SPLITS_FILE not in keeps and set(told.values()) >= {"train", "val"}:
        splits, more = _splits_of_table(stems, told)
        by, count = "the table", len(stems)
    else:
        splits, by, count, more = draft_splits(root, keeps, stems, group, seed)
    notes += more
    return Draft(root, kind, classes, ignored, splits, by, count, seed, keeps, tuple(notes), **made)


def _splits_of_table(stems: Sequence[str], told: Mapping[str, str]) -> tuple[Splits, list[str]]:
    """What a table says of its images, and a note about those of which it says nothing."""
    splits = {name: tuple(stem for stem in stems if told.get(stem) == name) for name in SPLITS}
    without = sum(stem not in told for stem in stems)
    notes = [f"in no split of the table: {without} images"] if without else []
    return {name: some for name, some in splits.items() if some}, notes


# --- what lies in the folder --------------------------------------------------------------------------------


def _slides(root: Path) -> bool:
    return (root / "slides").is_dir() and (root / "annotations").is_dir()


def _outlines_file(root: Path) -> Path | None:
    """The table of outlines, or the folder that holds the files of an annotation tool; None without."""
    tables = [root / name for name in TABLES if (root / name).is_file()]
    tables += [p for p in files(root, "*") if p.suffix.lower() in (".csv", ".tsv") and _has_outlines(p)]
    if tables:
        return tables[0]
    for path in files(root, "*.json"):
        if path.name not in (CLASSES, SPLITS_FILE) and _is_tool_json(path):
            return path
    for name in TOOL_FOLDERS:
        first = next(iter(files(root / name, "*.json")), None) if (root / name).is_dir() else None
        if first is not None and _is_tool_json(first):
            return root / name
    return None


def _loose_coco(root: Path) -> Path | None:
    """A COCO file in the folder itself."""
    found = (p for p in files(root, "*.json") if p.name not in (CLASSES, SPLITS_FILE))
    return next((path for path in found if is_coco(parse_json(path, "a JSON object")[0])), None)


def _has_outlines(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8-sig") as file:
            head = file.readline(4096).casefold()
    except (OSError, UnicodeDecodeError):
        return False
    marks = ("wkt", "polygon", "geometry", "points", "segmentation", "xmin", "x_min", "bbox", "region_shape")
    return any(mark in head for mark in marks)


def _is_tool_json(path: Path) -> bool:
    try:
        return read_tool_json(path) is not None
    except FileProblem:
        return True  # one that is damaged is told when it is read


def _flat(root: Path) -> bool:
    """Images and vector files side by side in the folder itself."""
    if (root / "images").is_dir() or (root / "slides").is_dir():
        return False
    found = files(root, "*")
    pictures = {p.stem for p in found if has_suffix(p, DATA_SUFFIXES)}
    return bool(pictures) and (
        any(p.suffix.lower() in VECTOR_SUFFIXES and p.stem in pictures for p in found)
        or _outlines_file(root) is not None
    )


def _parted(root: Path) -> FileProblem:
    """Images and labels in one folder: the commands that part them, which only a user should run."""
    found = files(root, "*")
    kinds = sorted({p.suffix for p in found if has_suffix(p, DATA_SUFFIXES)})
    pictures = {p.stem for p in found if has_suffix(p, DATA_SUFFIXES)}
    vectors = sorted({p.suffix for p in found if p.suffix.lower() in VECTOR_SUFFIXES and p.stem in pictures})
    here = shlex.quote(str(root))
    commands = [f"mkdir {here}/images" + (f" {here}/labels" if vectors else "")]
    commands += [f"mv {here}/*{kind} {here}/images" for kind in kinds]
    commands += [f"mv {here}/*{kind} {here}/labels" for kind in vectors]
    expected = "images/ and beside it labels/ (or a table)"
    return FileProblem(root, expected, "both in one folder", " && ".join(commands))


def _pairs(root: Path) -> tuple[list[str], list[Path], list[str]]:
    """Stems of the images that have labels, the vector files, and notes."""
    if _slides(root):
        place, pictures = root / "annotations", {path.stem for path in (root / "slides").iterdir()}
    else:
        place = labels_folder(root) or root / LABELS[0]
        listed, _ = list_files(root / "images")
        pictures = {s for s, some in listed.items() if any(has_suffix(p, DATA_SUFFIXES) for p in some)}
    listed, _ = list_files(place)
    vectors = {
        stem: path
        for stem, some in listed.items()
        for path in label_files(some)
        if path.suffix.lower() in VECTOR_SUFFIXES
    }
    if not vectors:
        found = "rasters" if any(listed.values()) else "no files"
        raise FileProblem(place, "polygons (GeoJSON, GeoPackage, Shapefile, COCO JSON)", found)
    if len(vectors) == 1 and not set(vectors) & pictures:
        return sorted(pictures), list(vectors.values()), []
    both = sorted(pictures & set(vectors))
    if not both:
        expected = f"files named as the images, such as {min(pictures, default='a')}.geojson"
        raise FileProblem(place, expected, min(vectors.values()).name)
    notes = []
    if without := sorted(pictures - set(vectors)):
        notes.append(
            f"left out, without labels: {len(without)} of {len(pictures)} images ({without[0]}, ...)"
        )
    return both, [vectors[stem] for stem in both], notes


def _read_outlines(source: Path) -> Outlines:
    if source.is_file():
        found = read_tool_json(source) if source.suffix.lower() == ".json" else read_table(source)
        assert found is not None
        return found
    parts = [one for path in files(source, "*.json") if (one := read_tool_json(path)) is not None]
    objects = {name: some for part in parts for name, some in part.objects.items()}
    return Outlines(source, parts[0].kind, objects, skipped=sum(part.skipped for part in parts))


def _placed(outlines: Outlines, root: Path) -> tuple[list[str], dict[Path, Any], dict[str, str], list[str]]:
    """Stems of the images that a table names, the GeoJSON of each, their splits, and notes."""
    listed, faults = list_files(root / "images")
    if faults:
        raise DataFaults(faults)
    meant: dict[str, set[str]] = {}
    for stem, some in listed.items():
        for path in some:
            if has_suffix(path, DATA_SUFFIXES):
                for name in (f"{stem}{path.suffix}", stem, path.name, path.stem):
                    meant.setdefault(name, set()).add(stem)
    # Of images of one name in several folders the name alone says nothing.
    by_name = {name: next(iter(stems)) for name, stems in meant.items() if len(stems) == 1}
    labels: dict[Path, Any] = {}
    told: dict[str, str] = {}
    strange: list[str] = []
    for image, objects in outlines.objects.items():
        posix = PurePosixPath(composed(image.replace("\\", "/")))
        tails = ["/".join(posix.parts[start:]) for start in range(len(posix.parts))]
        found = next((by_name[tail] for tail in tails if tail in by_name), None)
        if found is None:
            strange.append(image)
            continue
        features = [
            {"type": "Feature", "properties": {"class": named}, "geometry": geometry}
            for named, geometry in objects
        ]
        path = root / LABELS[0] / f"{found}.geojson"
        labels.setdefault(path, {"type": "FeatureCollection", "features": []})["features"] += features
        if image in outlines.splits:
            told[found] = outlines.splits[image]
    if not labels:
        expected = f"names of images in {root / 'images'}"
        raise FileProblem(outlines.source, expected, f"{min(strange, default='no image')}")
    notes = []
    if strange:
        notes.append(f"left out: {len(strange)} images of {outlines.source.name} that are not in images/ "
                     f"({strange[0]}{', ...' if len(strange) > 1 else ''})")  # fmt: skip
    stems = [path.relative_to(root / LABELS[0]).with_suffix("").as_posix() for path in labels]
    pictures = set(by_name.values())
    if without := pictures - set(stems):
        shown = min(without) + (", ..." if len(without) > 1 else "")
        notes.append(f"left out, not in {outlines.source.name}: {len(without)} images ({shown}); if nothing "
                     "is on them, give each a line with the name alone")  # fmt: skip
    if outlines.skipped:
        notes.append(f"left out: {outlines.skipped} points, lines or boxes without an area")
    return sorted(stems), labels, told, notes


# --- which classes there are --------------------------------------------------------------------------------


def _each(collections: Iterable[Any]) -> Iterator[tuple[Any, str | None]]:
    for collection in collections:
        for feature in collection["features"]:
            yield feature, feature["properties"]["class"]


def _counted(names: Iterable[Any]) -> Counter[str | None]:
    return Counter(as_text(name) for name in names)


def _attributes(
    paths: Sequence[Path], label_field: str | None, on_progress: OnProgress | None
) -> Iterator[tuple[str | None, list[Any], dict[str, Colour]]]:
    """Of each file the attribute that names classes, its value of each polygon, and QuPath's colours."""
    for done, path in enumerate(paths, 1):
        file = open_vectors(path)
        if isinstance(file, CocoFile):
            yield None, [v for vectors in file.objects.values() for v in vectors.values("category")], {}
        else:
            name = _field_of(file, label_field)
            values = [None] * len(file.numbers) if name is None else file.values(name)
            colours = _qupath_colours(path) if path.suffix.lower() in JSON_SUFFIXES else {}
            yield name, values, colours
        if on_progress is not None:
            on_progress(done, len(paths))


MOST_NAMES = 64
"""An attribute with more texts than these is hardly one of classes."""


def _field_of(file: Vectors, label_field: str | None) -> str | None:
    """The attribute that names classes; None where there are none, and so one class alone."""
    folded = {name.casefold(): name for name in reversed(file.fields)}
    if label_field is not None:
        if label_field.casefold() in folded:
            return folded[label_field.casefold()]
        has = ", ".join(file.fields[:8]) or "no attributes"
        raise FileProblem(
            file.path, f"the attribute {label_field!r}", has, nearest_name(label_field, file.fields)
        )
    if name := next((folded[wanted] for wanted in FIELDS if wanted in folded), None):
        return name
    texts = [name for name in file.fields if _may_name_classes(file.values(name))]
    if len(texts) == 1:
        return texts[0]
    if not file.fields or (isinstance(file, JsonVectors) and not texts):
        return None
    fix = "say which: --field NAME"
    raise FileProblem(file.path, "an attribute that names classes", ", ".join(file.fields[:8]), fix)


def _may_name_classes(values: Sequence[Any]) -> bool:
    """Texts, of which some are the same."""
    told = [value for value in values if value is not None]
    if not told or not all(isinstance(value, str) for value in told):
        return False
    return len(set(told)) <= min(MOST_NAMES, len(told))


def _kept_rule(root: Path) -> LabelRule:
    """As the ``classes.json`` that is there says."""
    table, faults = read_classes(root / CLASSES)
    if table is None:
        raise DataFaults(faults)
    rule, faults = read_label_rule(root / CLASSES, table, zero=_slides(root))
    if faults:
        raise DataFaults(faults)
    return rule


def _kept_classes(root: Path, counts: Mapping[str | None, int]) -> tuple[tuple[DraftClass, ...], int | None]:
    rule = _kept_rule(root)
    table = rule.classes
    by_index: Counter[int | None] = Counter()
    for name, count in counts.items():
        by_index[rule.index_of(name)] += count
    rows = zip(table.indices, table.names, table.colours, strict=True)
    classes = tuple(DraftClass(i, name, colour, polygons=by_index[i]) for i, name, colour in rows)
    return classes, table.file_ignore_index


def _qupath_colours(path: Path) -> dict[str, Colour]:
    """Of the classifications in QuPath's GeoJSON: "color" as three numbers, or "colorRGB" as one."""
    value, _ = parse_json(path, "a JSON object")
    features = value.get("features") if isinstance(value, dict) else value
    found: dict[str, Colour] = {}
    for feature in features if isinstance(features, list) else []:
        properties = feature.get("properties") if isinstance(feature, dict) else None
        named = properties.get("classification") if isinstance(properties, dict) else None
        if not isinstance(named, dict) or not isinstance(named.get("name"), str):
            continue
        colour, number = named.get("color"), named.get("colorRGB")
        if isinstance(number, int):
            colour = [(number >> shift) & 255 for shift in (16, 8, 0)]
        if isinstance(colour, list) and len(colour) == 3 and all(isinstance(v, int) for v in colour):
            found[named["name"]] = (colour[0] & 255, colour[1] & 255, colour[2] & 255)
    return found


def _classes(
    counts: Counter[str | None], colours: Mapping[str, Colour], named: Mapping[str, NamedClass]
) -> tuple[tuple[DraftClass, ...], int | None, list[str]]:
    """Background first, then the classes as a file of names has them, then by name; what is to be ignored
    last."""
    notes = [f"where no polygon is counts as {BACKGROUND!r}; where the images are not drawn in full, set "
             f'"unlabelled": "ignore" in {CLASSES}']  # fmt: skip
    ignored = {name for name in counts if name is not None and name.rstrip().endswith("*")}  # as in QuPath
    nameless = counts[None]
    known = [name for name in counts if name is not None and name not in ignored]
    around = [name for name in known if name.casefold() == BACKGROUND]
    rest = [name for name in known if name not in around]
    order = [name for name in named if name.casefold() != BACKGROUND]
    order += sorted(name for name in rest if name not in named)
    if len(order) > MAX_CLASSES - 1:
        raise FileProblem(Path(CLASSES), f"at most {MAX_CLASSES - 1} classes", f"{len(order)}")
    fallback = default_colours(len(order) + 2)
    values: tuple[str, ...] = (BACKGROUND, *(name for name in around if name != BACKGROUND))
    row = named.get(BACKGROUND)
    black: Colour = (0, 0, 0)
    classes = [DraftClass(0, BACKGROUND, (row.colour if row else None) or black, values=values,
                          polygons=sum(counts[name] for name in around))]  # fmt: skip
    if not order and nameless:
        classes.append(DraftClass(1, "foreground", fallback[1], values=(ANY,), polygons=nameless))
        notes.append(f"no polygon has a class: all are 'foreground'; change the name in {CLASSES}")
        return tuple(classes), None, notes
    for index, name in enumerate(order, 1):
        row = named.get(name)
        colour = (row.colour if row else None) or colours.get(name) or fallback[index]
        classes.append(DraftClass(index, name, colour, polygons=counts[name]))
    if not ignored and not nameless:
        return tuple(classes), None, notes
    left = sum(counts[name] for name in ignored) + nameless
    values = (*sorted(ignored), *([ANY] if nameless else []))
    what = " and ".join([*sorted(ignored), *(["those without a class"] if nameless else [])])
    notes.append(f"{left} polygons are ignored in training and scores ({what})")
    classes.append(DraftClass(255, "ignored", (255, 255, 255), values=values, polygons=left))
    return tuple(classes), 255, notes
