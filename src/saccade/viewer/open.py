"""A gallery of what the command line names: images, folders of them, a data set, an evaluated run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from saccade.data.classes import ClassTable, read_classes
from saccade.data.open import recognised
from saccade.data.options import DataOptions
from saccade.errors import DataFaults, FileProblem, UsageError
from saccade.inference.files import Job, ListedJob, list_jobs
from saccade.rasters.decoders import is_zarr
from saccade.viewer.gallery import Files, Gallery, Opened, file_entry

EXTRAS = ("density", "uncertainty", "samples", "scores")
"""What predict writes beside labels that can lie over the image."""

LABEL_SUFFIXES = (".png", ".tif", ".tiff", ".ome.tif", ".zarr", ".bmp", ".gif")


@dataclass(frozen=True)
class Overlays:
    """What the user named to lie over the images: files for one, folders of ``labels`` and ``truth`` for
    many."""

    labels: Path | None = None
    truth: Path | None = None
    uncertainty: Path | None = None
    density: Path | None = None
    samples: Path | None = None

    def of(self, image: Path) -> Files:
        """The files over an image.

        Raises:
            FileProblem: something that was named does not exist.
        """
        predicted = self._predicted(image)
        scores = (
            self.samples if self.samples is not None and self.samples.suffix == ".npz" else predicted.scores
        )
        return Files(
            labels=predicted.labels,
            truth=_named(self.truth, image),
            density=_existing(self.density) or predicted.density,
            uncertainty=_existing(self.uncertainty) or predicted.uncertainty,
            samples=_existing(self.samples) or predicted.samples,
            scores=scores,
        )

    def _predicted(self, image: Path) -> Files:
        if self.labels is None or not _is_folder(self.labels):
            return Files(labels=_existing(self.labels))
        for path in ListedJob(image, self.labels).possible:
            if path.exists():
                beside = {name: Job(image, path).extra(name) for name in EXTRAS}
                return Files(path, **{name: file if file.exists() else None for name, file in beside.items()})
        return Files(labels=_named(self.labels, image))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not is_zarr(path)


def is_run(path: Path) -> bool:
    """Whether a folder looks like a run's."""
    return (path / "config.yaml").is_file()


def _existing(path: Path | None) -> Path | None:
    if path is not None and not path.exists():
        raise FileProblem(path, "a file that lies over the image", "no such file")
    return path


def _named(path: Path | None, image: Path) -> Path | None:
    """A file, or that of a folder with the name of the image and any ending; None where the folder has
    none."""
    if path is None or not _is_folder(path):
        return _existing(path)
    stem = image.name.removesuffix(image.suffix)
    for suffix in LABEL_SUFFIXES:
        if (file := path / f"{stem}{suffix}").exists():
            return file
    return None


def open_gallery(
    paths: Sequence[Path],
    over: Overlays,
    *,
    classes: Path | None = None,
    value_range: tuple[float, float] | None = None,
    data: Path | None = None,
    split: str | None = None,
    device: str = "auto",
) -> Gallery:
    """What ``saccade view PATH...`` shows: images and what lies ``over`` them, or one data set, or one
    evaluated run (whose ``data`` may have moved, on one ``split``, predicted on a ``device``).

    Raises:
        FileProblem: a path is nothing that can be shown; with one image, also where it cannot be opened.
        UsageError: files over the image, and several images.
    """
    folders = [path for path in paths if _is_folder(path) and (is_run(path) or recognised(path))]
    if folders and len(paths) > 1:
        raise UsageError(f"{folders[0]} is shown alone: name one run or data set, or images")
    if folders:
        return _own_gallery(folders[0], over, classes, value_range, data, split, device)
    table = None if classes is None else class_table(classes)
    images = [job.image for job in list_jobs(list(paths), Path("nowhere/to/be/found"))]
    single = [path for path in (over.labels, over.truth) if path is not None and not _is_folder(path)]
    single += [path for path in (over.uncertainty, over.density, over.samples) if path is not None]
    if len(images) > 1 and single:
        raise UsageError(
            f"{single[0]} lies over one image, and there are {len(images)}: name a folder of them"
        )
    names = _names(images)
    entries = [
        file_entry(name, image, over.of(image), table, value_range)
        for name, image in zip(names, images, strict=True)
    ]
    if len(entries) == 1:
        entries = [replace(entries[0], open=_Once(entries[0].open))]  # its faults are told here
    return Gallery.sorted(entries, names[0] if len(names) == 1 else f"{len(names)} images", "")


def _own_gallery(
    folder: Path,
    over: Overlays,
    classes: Path | None,
    value_range: tuple[float, float] | None,
    data: Path | None,
    split: str | None,
    device: str,
) -> Gallery:
    """Of a run or a data set, which have truth and classes of their own."""
    from saccade.viewer.data import data_gallery, run_gallery  # networks and all

    if is_run(folder):
        if over != Overlays() or classes is not None:
            raise UsageError(f"{folder} predicts by itself; name its data set to lay other labels over that")
        return run_gallery(folder, source=data, split=split, device=device)
    if replace(over, labels=None) != Overlays() or classes is not None:
        raise UsageError(f"{folder} has truth and classes of its own; only --labels may lie over it")
    if over.labels is not None and not _is_folder(over.labels):
        raise UsageError(
            f"{over.labels} lies over one image, and {folder} is a data set: name a folder of them"
        )
    return data_gallery(folder, DataOptions(value_range=value_range), over.of)


class _Once:
    """Opens at once, and hands that out at the first call."""

    def __init__(self, open_: Callable[[], Opened]) -> None:
        self._open, self._opened = open_, [open_()]

    def __call__(self) -> Opened:
        return self._opened.pop() if self._opened else self._open()


def _names(images: Sequence[Path]) -> list[str]:
    """The names of files; with their folders where two are the same."""
    names = [image.name for image in images]
    return names if len(set(names)) == len(names) else [str(image) for image in images]


def class_table(path: Path) -> ClassTable:
    """The classes of a ``classes.json``, or of the folder (a data set, a run) that it lies in.

    Raises:
        FileProblem: there are none.
        DataFaults: what is there is damaged.
    """
    if is_run(path):
        from saccade.training.run_folder import open_config

        return open_config(path)[1]
    file = path / "classes.json" if path.is_dir() else path
    if not file.is_file():
        raise FileProblem(path, "classes.json, or a folder that holds one", "none")
    table, faults = read_classes(file)
    if table is None:
        raise DataFaults(faults)
    return table
