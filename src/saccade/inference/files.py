"""Which files are predicted, and what each output is called."""

from __future__ import annotations

import codecs
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from saccade.errors import FileProblem, SaccadeError, UsageError, nearest_name
from saccade.rasters import Raster, open_raster
from saccade.rasters.decoders import is_zarr
from saccade.rasters.open import split_image_number
from saccade.rasters.stac import asset_of, is_item
from saccade.rasters.suffixes import IMAGE_SUFFIXES, OWN_SUFFIXES, PHOTO_SUFFIXES, has_suffix
from saccade.rasters.writer import LARGEST_PNG, unfinished
from saccade.runtime.addresses import Address, path_of, require_local
from saccade.runtime.files import claim_file, claimed, writing
from saccade.runtime.trust import trust

EXTRAS = ("scores", "density", "samples", "overlay", "polygons", "uncertainty", "table")
ZONES = "zones"
"""The extra of areas by zone, which comes with a file of zones."""
KINDS = {"polygons": (".geojson", ".gpkg", ".fgb"), "table": (".csv", ".parquet")}
"""Extras that can be written in several formats, the usual one first."""
TABLES = ("classes", "objects")
"""The files of the extra "table"."""
PICTURES = ("samples", "overlay")
LARGEST_SMALL = 1 << 24
"""Pixels of a TIFF whose labels are a PNG, where it says nothing that a PNG could not keep."""

_LABELS = (".png", ".tif", ".ome.tif", ".zarr")
_RASTER = (".ome.tif", ".ome.tiff", ".ome.zarr", ".zarr", ".tif", ".png")


@dataclass(frozen=True)
class Job:
    """One image to predict.

    Attributes:
        image: its path.
        labels: where its labels go; the name says the format.
        extras: what else is written of it, any of :data:`EXTRAS`.
        kinds: suffixes of extras that are not written in their usual format, of :data:`KINDS`.

    Examples:
        >>> from pathlib import Path
        >>> from saccade.inference import Job
        >>> job = Job(Path("slide.svs"), Path("labels/slide.ome.tif"), extras=("polygons",))
        >>> [path.name for path in job.outputs]
        ['slide_polygons.geojson', 'slide.ome.tif']
    """

    image: Path
    labels: Path
    extras: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """The name of the labels without their extension."""
        return _stem(self.labels)

    @property
    def suffix(self) -> str:
        """The extension of the labels: .png, .tif, .ome.tif or .zarr."""
        return self.labels.name[len(self.stem) :]

    def extra(self, name: str) -> Path:
        """Where something beside the labels goes: STEM_NAME and an extension.

        Pictures are PNG, polygons GeoJSON, tables ("classes", "objects", "zones") CSV, if ``kinds`` does not
        say otherwise. Scores and density are NPZ and PNG beside labels in PNG, else rasters in the format of
        the labels, as uncertainty always is.
        """
        raster = self.suffix if self.suffix != ".png" else {"scores": ".npz"}.get(name, ".png")
        suffixes = {
            "polygons": self._kind("polygons"),
            **dict.fromkeys(PICTURES, ".png"),
            **dict.fromkeys((*TABLES, ZONES), self._kind("table")),
        }
        suffix = suffixes.get(name, raster)
        return self.labels.with_name(f"{self.stem}_{name}{suffix}")

    def _kind(self, extra: str) -> str:
        """The suffix of an extra of :data:`KINDS`."""
        return next((kind for kind in self.kinds if kind in KINDS[extra]), KINDS[extra][0])

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Every file that is written, the labels last."""
        files = (name for extra in self.extras for name in (TABLES if extra == "table" else (extra,)))
        return (*map(self.extra, files), self.labels)

    @property
    def is_done(self) -> bool:
        """Whether all of it is there."""
        return all(os.path.exists(path) for path in self.outputs)

    def for_raster(self, raster: Raster) -> Job:
        """The job, once its image is open."""
        return self


@dataclass(frozen=True)
class ListedJob:
    """One image to predict into a folder, whose format is known once the image is open.

    What asks for the labels' name before that opens the image for it.

    Attributes:
        image: its path.
        folder: where its labels go.
        extras, kinds: what else is written of it, and how, as of a :class:`Job`.

    Examples:
        >>> from saccade.data import open_data
        >>> from saccade.testing import make_fake
        >>> data = open_data(make_fake("folder", "leaves"))
        >>> from pathlib import Path
        >>> from saccade.inference import ListedJob
        >>> job = ListedJob(Path("leaves/images/image_000000.png"), Path("labels"), extras=("scores",))
        >>> [path.name for path in job.outputs], job.is_done
        (['image_000000_scores.npz', 'image_000000.png'], False)
    """

    image: Path
    folder: Path
    extras: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def for_raster(self, raster: Raster) -> Job:
        """The job, once its image is open."""
        return self._job(labels_suffix(raster))

    @cached_property
    def possible(self) -> tuple[Path, ...]:
        """Every file that might be written, whatever the image turns out to be."""
        return tuple(path for suffix in _LABELS for path in self._job(suffix).outputs)

    @cached_property
    def named(self) -> Job:
        """The job by the image's header; with PNG labels where it cannot be opened, which is said later."""
        try:
            with open_raster(self.image) as raster:
                return self.for_raster(raster)
        except SaccadeError:
            return self._job(".png")

    @property
    def labels(self) -> Path:
        """Where its labels go."""
        return self.named.labels

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Every file that is written, the labels last."""
        return self.named.outputs

    @property
    def existing(self) -> tuple[Path, ...]:
        """The outputs that are there already; the image is opened only where there may be one."""
        if not any(os.path.exists(path) for path in self.possible):
            return ()
        return tuple(path for path in self.outputs if os.path.exists(path))

    @property
    def is_done(self) -> bool:
        """Whether all of it is there."""
        return len(self.existing) > 0 and self.named.is_done

    def _job(self, suffix: str) -> Job:
        return Job(self.image, self.folder / f"{_stem(self.image)}{suffix}", self.extras, self.kinds)


def claim_of(job: Job | ListedJob) -> Path:
    """A name for the outputs of a job, whatever their format, that two programs agree upon."""
    folder = job.folder if isinstance(job, ListedJob) else job.labels.parent
    return folder / _stem(job.image)


def list_jobs(
    inputs: Sequence[Path], out: Path, extras: Sequence[str] = (), kinds: Sequence[str] = ()
) -> list[ListedJob]:
    """A job for every image: files as they are named, folders by what they hold, ``.txt`` files by their
    lines, STAC items by their assets. No image is opened, unless two might be written to one file.

    Raises:
        FileProblem: for an input that does not exist, a folder without images, or an ``out`` that is a file.
        UsageError: when two outputs would have one name, or an output would lie among the inputs.

    Examples:
        >>> from saccade.data import open_data
        >>> from saccade.testing import make_fake
        >>> data = open_data(make_fake("folder", "leaves"))
        >>> from pathlib import Path
        >>> from saccade.inference import list_jobs
        >>> jobs = list_jobs([Path("leaves/images")], Path("labels"))
        >>> len(jobs), jobs[0].image.name, jobs[0].labels.name
        (7, 'image_000000.png', 'image_000000.png')
    """
    require_local(out, "the folder for the labels")
    if out.exists() and not out.is_dir():
        raise FileProblem(out, "a folder for the labels", "a file", "name the folder last")
    if is_zarr(out):
        raise FileProblem(out, "a folder for the labels", "a Zarr image", "name the folder last")
    for path in inputs:
        if _kind(path) == "folder" and path.resolve() == out.resolve():
            raise UsageError(f"the labels would lie among the images of {path}; choose another output folder")
    images = dict.fromkeys(image for path in inputs for image in _images(path))
    jobs = [ListedJob(image, out, tuple(extras), tuple(kinds)) for image in images]
    _require_own_names(jobs)
    return jobs


def _require_own_names(jobs: Sequence[ListedJob]) -> None:
    """Refuses two files of one name, and an output that would replace an image."""
    owners: dict[Path, Path] = {}
    images = {_real(job.image) for job in jobs}
    uses = Counter(path for job in jobs for path in set(job.possible))
    for job in jobs:
        if not any(uses[path] > 1 or _real(path) in images for path in job.possible):
            continue
        for path in job.outputs:
            if path in owners:
                both = f"{owners[path]} and {job.image}"
                raise UsageError(f"{both} would both be written to {path}; predict them into two folders")
            if _real(path) in images:
                raise UsageError(f"{path} would replace an image; choose another output folder")
            owners[path] = job.image


def _real(path: Path) -> str:
    try:
        return os.path.realpath(split_image_number(path)[0])
    except (OSError, ValueError):
        return str(path)


def labels_suffix(raster: Raster) -> str:
    """The one rule of the labels' format, that of the input: .zarr, .tif (a map, as COG), .ome.tif; .png for
    photographs and what is small and has neither scale nor place."""
    pixels = raster.size[0] * raster.size[1]
    if raster.info.folder:
        return ".zarr"
    if raster.crs is not None or raster.transform is not None:
        return ".tif"
    is_photo = raster.path.suffix.lower() in PHOTO_SUFFIXES
    plain = raster.pixel_size is None and len(raster.levels) == 1
    if (is_photo and pixels <= LARGEST_PNG) or (plain and pixels <= LARGEST_SMALL):
        return ".png"
    return ".ome.tif"


def still_to_do(jobs: Sequence[ListedJob], *, resume: bool, overwrite: bool) -> list[ListedJob]:
    """The jobs that are left: with ``resume`` those that are not done, with ``overwrite`` all.

    Raises:
        FileProblem: when an output exists and neither says what to do with it.

    Examples:
        >>> from saccade.data import open_data
        >>> from saccade.testing import make_fake
        >>> data = open_data(make_fake("folder", "leaves"))
        >>> from pathlib import Path
        >>> from saccade.inference import list_jobs, make_folder, still_to_do
        >>> jobs = list_jobs([Path("leaves/images")], Path("labels"))
        >>> make_folder(Path("labels"))
        >>> _ = Path("labels/image_000003.png").write_bytes(b"")
        >>> len(still_to_do(jobs, resume=True, overwrite=False))
        6
    """
    if resume:
        return [job for job in jobs if not job.is_done]
    existing = [] if overwrite else [path for job in jobs for path in job.existing]
    if existing:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        fix = "use --resume to do only the others, --overwrite, or another folder"
        raise FileProblem(existing[0], "a new file", f"one that exists{more}", fix)
    return list(jobs)


def remove_left(jobs: Iterable[ListedJob]) -> None:
    """Removes what programs left that were killed when the outputs of these jobs were complete."""
    hidden: dict[Path, set[str]] = {}
    for job in jobs:
        if job.folder not in hidden:
            with suppress(OSError):
                hidden[job.folder] = {name for name in os.listdir(job.folder) if name.startswith(".")}
        names = hidden.get(job.folder)
        if not names:
            continue
        held = claim_file(claim_of(job))
        if names.isdisjoint((held.name, *(unfinished(path).name for path in job.outputs))):
            continue
        with suppress(SaccadeError), claimed(claim_of(job), job.image):  # unless somebody does it anew
            remove_unfinished(job)


def remove_unfinished(job: Job | ListedJob) -> None:
    """Removes what a killed program left of the outputs of a job that is done, and that nobody else is at."""
    for folder in map(unfinished, job.outputs):
        shutil.rmtree(folder, ignore_errors=True)


def make_folder(out: Path) -> None:
    """Makes the output folder and its parents; raises FileProblem where the system refuses.

    Examples:
        >>> from pathlib import Path
        >>> from saccade.inference import make_folder
        >>> make_folder(Path("out/labels"))
        >>> Path("out/labels").is_dir()
        True
    """
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)


def _stem(path: Path) -> str:
    """The name without its extension; "file.tif#2" gives "file_2"."""
    path, number = split_image_number(path)
    suffix = next((s for s in _RASTER if path.name.lower().endswith(s)), path.suffix)
    stem = path.name[: len(path.name) - len(suffix)] or path.stem
    return stem if number is None else f"{stem}_{number}"


def _kind(path: Path) -> Literal["zarr", "folder", "file", "missing"]:
    """What lies there; links, pipes and what may not be looked at are files, whose fault is told in turn."""
    path, _ = split_image_number(path)
    if isinstance(path, Address):
        return "file"
    try:
        if path.is_dir():
            return "zarr" if is_zarr(path) else "folder"
        return "file" if os.path.lexists(path) else "missing"
    except (OSError, ValueError):
        return "file"


def _images(path: Path) -> Iterable[Path]:
    if is_item(path):
        return [asset_of(path)]
    kind = _kind(path)
    if kind == "file" and path.suffix.lower() == ".txt" and path.is_file():
        return _listed(path)
    if kind == "folder":
        images = sorted(p for p in _entries(path) if _is_image(p))
        if not images:
            folders = [entry for entry in sorted(_entries(path)) if _kind(entry) == "folder"]
            below = [folder for folder in folders if any(map(_is_image, _entries(folder)))]
            if below:
                near = next((folder for folder in below if folder.name == "images"), below[0])
                raise FileProblem(path, "images in it", "none, but folders", f"did you mean {near}?")
            more = f"; {lines[0]}" if (lines := left_out([path])) else ""
            kinds = " ".join((*IMAGE_SUFFIXES, *OWN_SUFFIXES))
            raise FileProblem(path, f"images ({kinds}) in it", f"none{more}")
        return images
    if kind == "missing":
        raise FileProblem(path, "an image or a folder of images", "no such file or folder")
    return [path]


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, but for hidden names."""
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise FileProblem(folder, "a folder that may be read", error.strerror or str(error)) from None


def _is_image(path: Path) -> bool:
    return has_suffix(path, IMAGE_SUFFIXES) and _kind(path) in ("file", "zarr")


_BESIDE = (".aux.xml", ".ovr", ".msk", ".tfw", ".tifw", ".jgw", ".jpgw", ".pgw", ".pngw", ".wld", ".prj")
"""Files that belong to an image beside them."""


def _belongs_to_image(path: Path) -> bool:
    """World files and the like, and the folder of tiles of an MRXS slide."""
    return path.name.lower().endswith(_BESIDE) or path.with_name(path.name + ".mrxs").exists()


def left_out(inputs: Sequence[Path]) -> tuple[str, ...]:
    """A line for each folder among ``inputs`` that holds something besides the images that are predicted."""
    lines = []
    for folder in inputs:
        if _kind(folder) != "folder":
            continue
        others = [path for path in _entries(folder) if not _is_image(path)]
        others = [path for path in others if not _belongs_to_image(path)]
        counts = Counter(
            "folder" if _kind(path) == "folder" else path.suffix.lower() or "no extension" for path in others
        )
        if counts:
            kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
            lines.append(f"{folder}: {counts.total()} left out that are no images by their names ({kinds})")
    return tuple(lines)


def _listed(listing: Path) -> list[Path]:
    """One path a line, relative to the list; a path that does not exist is said when its turn comes."""
    try:
        lines = _lines(listing.read_bytes())
    except OSError as error:
        raise FileProblem(
            listing, "a list of images, one path a line", error.strerror or str(error)
        ) from None
    paths = [_path_of(line, listing) for line in lines if line and not line.startswith("#")]
    if not paths:
        raise FileProblem(listing, "a list of images, one path a line", "no path in it")
    return paths


def _lines(data: bytes) -> list[str]:
    """The lines of a text in UTF-8 or UTF-16, with or without a mark; other bytes stay as in file names."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16", errors="replace")
    else:
        text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8", errors="surrogateescape")
    return [line.strip() for line in text.replace("\r", "\n").split("\n")]


def _path_of(line: str, listing: Path) -> Path:
    """The path that a line names: as it stands, else without quotes, else in Latin-1 as Windows writes it."""
    if "://" in line and isinstance(named := path_of(line), Address):
        if not trust().outside:
            fix = "if you trust whoever made the list, allow it with --allow-outside"
            raise FileProblem(listing, "a list of files that are here", f"the address {named}", fix)
        return named
    folder, names = listing.parent, [line]
    if len(line) > 2 and line[0] == line[-1] and line[0] in "\"'":
        names.append(line[1:-1])
    names += [name.encode(errors="surrogateescape").decode("cp1252", errors="replace") for name in names]
    paths = [folder / name for name in names]
    return next(
        (path for path in paths if _kind(path) != "missing"), paths[1] if line != names[1] else paths[0]
    )


def parse_extras(text: str) -> tuple[str, ...]:
    """The names in ``--save labels,density``; labels are always saved. A format behind a name,
    ``polygons.gpkg``, is told by :func:`parse_kinds`.

    Raises:
        UsageError: for a name that there is not, with the nearest.

    Examples:
        >>> from saccade.inference import parse_extras
        >>> parse_extras("labels,overlay,scores")
        ('scores', 'overlay')
    """
    allowed = ("labels", *EXTRAS)
    names = [name.partition(".")[0] for name in _words(text)]
    for name in names:
        if name not in allowed:
            raise UsageError(
                f"--save knows {', '.join(allowed)}, not {name!r}; {nearest_name(name, allowed)}"
            )
    return tuple(name for name in EXTRAS if name in names)


def _words(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def parse_kinds(text: str) -> tuple[str, ...]:
    """The formats in ``--save polygons.gpkg,table.parquet``, as suffixes.

    Raises:
        UsageError: for a format that there is not.

    Examples:
        >>> from saccade.inference.files import parse_kinds
        >>> parse_kinds("labels,polygons.gpkg,table")
        ('.gpkg',)
    """
    kinds = []
    for word in _words(text):
        name, dot, kind = word.partition(".")
        known = KINDS.get(name, ())
        if dot and f".{kind.lower()}" not in known:
            ways = ", ".join(f"{name}{suffix}" for suffix in known)
            raise UsageError(
                f"--save {word}: " + (f"there are {ways}" if known else f"{name} has one format")
            )
        if dot:
            kinds.append(f".{kind.lower()}")
    return tuple(kinds)
