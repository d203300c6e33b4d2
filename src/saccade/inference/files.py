"""Which files are predicted, and what each answer is called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from saccade.errors import FileProblem, InvalidInput, UsageError, nearest_name

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
EXTRAS = ("scores", "density", "samples", "overlay")


@dataclass(frozen=True)
class Job:
    """One image to predict.

    Attributes:
        image: its path.
        labels: where its labels go.
    """

    image: Path
    labels: Path

    def extra(self, name: str, suffix: str) -> Path:
        """Where something beside the labels goes: STEM_NAME.SUFFIX."""
        return self.labels.with_name(f"{self.labels.stem}_{name}{suffix}")


def list_jobs(inputs: Sequence[Path], out: Path) -> list[Job]:
    """A job for every image: files as they are named, folders by what they hold.

    Raises:
        FileProblem: for an input that does not exist, or a folder without images.
        UsageError: when two images would give the same output, or the output folder is an input.
    """
    images = [image for given in inputs for image in _images(given)]
    jobs = [Job(image, out / f"{image.stem}.png") for image in images]
    taken: dict[Path, Path] = {}
    for job in jobs:
        if job.labels in taken and taken[job.labels] != job.image:
            both = f"{taken[job.labels]} and {job.image}"
            raise UsageError(f"{both} would both be written to {job.labels}; predict them into two folders")
        if job.labels.resolve() == job.image.resolve():
            raise UsageError(f"the labels of {job.image} would replace it; choose another output folder")
        taken[job.labels] = job.image
    return list({job.labels: job for job in jobs}.values())


def _images(given: Path) -> Iterable[Path]:
    if given.is_dir():
        found = sorted(p for p in given.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
        if not found:
            raise FileProblem(given, f"images ({' '.join(IMAGE_SUFFIXES)}) in it", "none")
        return found
    if not given.exists():
        raise FileProblem(given, "an image or a folder of images", "no such file or folder")
    return [given]


def parse_extras(text: str) -> tuple[str, ...]:
    """The names in ``--save labels,density``; labels are always saved.

    Raises:
        InvalidInput: for a name that there is not, with the nearest.
    """
    allowed = ("labels", *EXTRAS)
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in allowed:
            raise InvalidInput(
                "--save", "any of " + ", ".join(allowed), repr(name), nearest_name(name, allowed)
            )
    return tuple(name for name in EXTRAS if name in names)
