"""Which files are predicted, and what each answer is called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from saccade.errors import FileProblem, UsageError, nearest_name
from saccade.rasters.outputs import writing

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
EXTRAS = ("scores", "density", "samples", "overlay")


@dataclass(frozen=True)
class Job:
    """One image to predict.

    Attributes:
        image: its path.
        labels: where its labels go.
        extras: what else is written of it, any of :data:`EXTRAS`.
    """

    image: Path
    labels: Path
    extras: tuple[str, ...] = ()

    def extra(self, name: str) -> Path:
        """Where something beside the labels goes: STEM_NAME.png, or .npz for scores."""
        return self.labels.with_name(f"{self.labels.stem}_{name}{'.npz' if name == 'scores' else '.png'}")

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Every file that is written, the labels last."""
        return (*(self.extra(name) for name in self.extras), self.labels)

    @property
    def is_done(self) -> bool:
        """Whether all of it is there."""
        return all(path.is_file() for path in self.outputs)


def list_jobs(inputs: Sequence[Path], out: Path, extras: Sequence[str] = ()) -> list[Job]:
    """A job for every image: files as they are named, folders by what they hold.

    Raises:
        FileProblem: for an input that does not exist, a folder without images, or an ``out`` that is a file.
        UsageError: when two outputs would have one name, or an output would lie among the inputs.
    """
    if out.exists() and not out.is_dir():
        raise FileProblem(out, "a folder for the labels", "a file", "name the folder last")
    for given in inputs:
        if given.is_dir() and given.resolve() == out.resolve():
            raise UsageError(
                f"the labels would lie among the images of {given}; choose another output folder"
            )
    images = dict.fromkeys(image for given in inputs for image in _images(given))
    jobs = [Job(image, out / f"{image.stem}.png", tuple(extras)) for image in images]
    _require_own_names(jobs)
    return jobs


def _require_own_names(jobs: Sequence[Job]) -> None:
    """Refuses two files of one name, and an output that would replace an image."""
    taken: dict[Path, Path] = {}
    images = {job.image.resolve() for job in jobs}
    for job in jobs:
        for path in job.outputs:
            if path in taken:
                both = f"{taken[path]} and {job.image}"
                raise UsageError(f"{both} would both be written to {path}; predict them into two folders")
            if path.resolve() in images:
                raise UsageError(f"{path} would replace an image; choose another output folder")
            taken[path] = job.image


def still_to_do(jobs: Sequence[Job], *, resume: bool, overwrite: bool) -> list[Job]:
    """The jobs that are left: with ``resume`` those that are not done, with ``overwrite`` all.

    Raises:
        FileProblem: when an output exists and neither says what to do with it.
    """
    if resume:
        return [job for job in jobs if not job.is_done]
    existing = [path for job in jobs for path in job.outputs if path.exists()]
    if existing and not overwrite:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        fix = "use --resume to do only the others, --overwrite, or another folder"
        raise FileProblem(existing[0], "a new file", f"one that exists{more}", fix)
    return list(jobs)


def make_folder(out: Path) -> None:
    """Makes the output folder and its parents; raises FileProblem where the system refuses."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)


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
        UsageError: for a name that there is not, with the nearest.
    """
    allowed = ("labels", *EXTRAS)
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in allowed:
            raise UsageError(
                f"--save knows {', '.join(allowed)}, not {name!r}; {nearest_name(name, allowed)}"
            )
    return tuple(name for name in EXTRAS if name in names)
