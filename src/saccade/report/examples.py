"""Examples of what a run does to images: chosen by score, drawn, kept in the run's figures folder."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade import figures
from saccade.errors import FileProblem
from saccade.report.html import KINDS, Figure, figure
from saccade.runtime.reading import inside, read_bytes, read_json_value, within

FOLDER, INDEX = "examples", "examples.json"
MOST_PICTURE = 1 << 26
"""Bytes of one picture of a page."""
WIDTH, ZOOM = 660, 2


@dataclass(frozen=True)
class SegmentedSample:
    """One image and everything that is drawn of it.

    Attributes:
        stem: name of the image.
        image: (H, W, 3) uint8.
        truth, prediction: (H, W) uint8 class ids, 255 ignored in the truth.
        grids: (V, h, w, 2) sample positions (x, y) in [-1, 1].
        density: (h_a, w_a) >= 0; None where the sampler predicts none.

    Examples:
        >>> import numpy as np
        >>> from saccade.report import SegmentedSample
        >>> image = np.full((40, 60, 3), 127, np.uint8)
        >>> truth = np.zeros((40, 60), np.uint8)
        >>> truth[10:20, 10:20] = 1
        >>> sample = SegmentedSample("leaf", image, truth, np.zeros_like(truth), np.zeros((1, 4, 6, 2)))
        >>> sample.grids.shape, sample.density is None
        ((1, 4, 6, 2), True)
    """

    stem: str
    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    prediction: NDArray[np.uint8]
    grids: NDArray[np.floating]
    density: NDArray[np.floating] | None = None


@dataclass(frozen=True)
class Example:
    """A drawn example.

    Attributes:
        stem: name of the image.
        rank: why it is shown ("worst", "median", "best").
        score: mean IoU of this image; None where it has no value.
        figures: in the order in which they are shown.
        colours: "#rrggbb" of each class in them; none where they are of before 0.2.

    Examples:
        >>> import numpy as np
        >>> from saccade.report import Example
        >>> from saccade.report.html import figure
        >>> picture = figure("image", "the photograph", "a grey leaf", np.full((4, 6, 3), 127, np.uint8))
        >>> example = Example("leaf", "worst", 0.25, (picture,))
        >>> example.rank, example.figures[0].kind
        ('worst', 'jpeg')
    """

    stem: str
    rank: str
    score: float | None
    figures: tuple[Figure, ...]
    colours: tuple[str, ...] = ()


def choose(scores: Mapping[str, float], *, worst: int = 3, median: int = 1, best: int = 2) -> dict[str, str]:
    """Which images to show: stem to rank, the worst first, then those around the median, then the best.

    Args:
        scores: of each image, by stem; those that are nan are not shown.
        worst, median, best: how many of each; with few images, the worst go first and none is shown twice.

    Examples:
        >>> from saccade.report import choose
        >>> choose({"a": 0.9, "b": 0.2, "c": 0.5}, worst=1, median=1, best=1)
        {'b': 'worst', 'c': 'median', 'a': 'best'}
    """
    order = sorted((score, stem) for stem, score in scores.items() if not math.isnan(score))
    stems = [stem for _, stem in order]
    middle = max(0, (len(stems) - median) // 2)
    chosen: dict[str, str] = {}
    for rank, group in (
        ("worst", stems[:worst]),
        ("median", stems[middle : middle + median]),
        ("best", stems[::-1][:best]),
    ):
        for stem in group:
            chosen.setdefault(stem, rank)
    return chosen


def draw(
    segmented: SegmentedSample,
    names: Sequence[str],
    palette: NDArray[np.uint8],
    class_pixels: NDArray[np.floating],
) -> tuple[Figure, ...]:
    """The pictures of one image, at most 660 pixels wide, and a close-up of where it errs most.

    Args:
        segmented: the image.
        names: of the K classes.
        palette: (K, 3) colours of the classes.
        class_pixels: (K,) of each class in the data; rare classes are drawn over others, and weigh more.

    Examples:
        >>> import numpy as np
        >>> from saccade.report import SegmentedSample, draw
        >>> image = np.full((40, 60, 3), 127, np.uint8)
        >>> truth = np.zeros((40, 60), np.uint8)
        >>> truth[10:20, 10:20] = 1
        >>> sample = SegmentedSample("leaf", image, truth, np.zeros_like(truth), np.zeros((1, 4, 6, 2)))
        >>> palette = np.array([[0, 0, 0], [255, 0, 0]], np.uint8)
        >>> figures = draw(sample, ("soil", "leaf"), palette, np.array([2300, 100]))
        >>> [shown.name for shown in figures]
        ['image', 'truth', 'prediction', 'errors', 'samples', 'close-truth', 'close-prediction']
    """
    rarity = np.argsort(-np.asarray(class_pixels), kind="stable")
    image = figures.shrink(segmented.image, WIDTH)
    size = image.shape[:2]
    truth, pred = (fitted(labels, rarity, size) for labels in (segmented.truth, segmented.prediction))
    stem, wrong = segmented.stem, (segmented.truth != segmented.prediction) & (segmented.truth != 255)
    samples = " x ".join(map(str, segmented.grids.shape[1:3]))
    shown = [
        figure("image", "image", f"{stem}: the photograph", image),
        figure("truth", "truth", f"{stem}: true classes, {_spoken(segmented.truth, names)}",
               figures.overlay(image, truth, palette)),
        figure("prediction", "prediction",
               f"{stem}: predicted classes, {_spoken(segmented.prediction, names)}",
               figures.overlay(image, pred, palette)),
        figure("errors", f"errors: orange missed, striped blue invented ({wrong.mean():.2%} of pixels)",
               f"{stem}: pixels that are wrong, {wrong.mean():.2%}",
               figures.error_picture(image, truth, pred, int(rarity[0]))),
    ]  # fmt: skip
    if segmented.density is not None:
        picture = figures.density_picture(segmented.density, size)
        alt = f"{stem}: density, brightest {_place(segmented.density)}"
        shown.append(figure("density", "predicted density, light where samples should lie", alt, picture))
    dots = figures.samples_on(image, segmented.grids.reshape(-1, *segmented.grids.shape[2:]))
    shown.append(figure("samples", f"where the {samples} samples lie", f"{stem}: sample positions", dots))
    rare = 1 / np.maximum(np.asarray(class_pixels, np.float64), 1)
    return (*shown, *_close_up(segmented, rare))


def _close_up(segmented: SegmentedSample, weights: NDArray[np.floating]) -> list[Figure]:
    """The window of the heaviest errors, of the image's own shape, enlarged to the width of the others."""
    height, width = segmented.truth.shape
    window = max(1, round(height / width * WIDTH / ZOOM)), WIDTH // ZOOM
    top, bottom, left, right = figures.worst_window(segmented.truth, segmented.prediction, window, weights)
    part = np.s_[top:bottom, left:right]
    where = f"rows {top}-{bottom - 1}, columns {left}-{right - 1}"
    shown = []
    for name, labels in (("truth", segmented.truth), ("prediction", segmented.prediction)):
        caption = f"close-up of the worst errors, {name} ({where})"
        alt = f"{segmented.stem}: outlines of the {name}, enlarged, {where}"
        picture = figures.outlined(segmented.image[part], labels[part], zoom=ZOOM)
        shown.append(figure(f"close-{name}", caption, alt, picture))
    return shown


def fitted(labels: NDArray[np.uint8], rarity: NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Labels shrunk so that small objects stay, then brought to the exact size of the shrunken image."""
    small = figures.shrink_labels(labels, size[1], rarity)
    rows = np.minimum(np.arange(size[0]) * small.shape[0] // size[0], small.shape[0] - 1)
    columns = np.minimum(np.arange(size[1]) * small.shape[1] // size[1], small.shape[1] - 1)
    return small[rows[:, None], columns]


def _spoken(labels: NDArray[np.uint8], names: Sequence[str]) -> str:
    counts = np.bincount(labels.ravel(), minlength=256)
    parts = [f"{name} {counts[k] / labels.size:.1%}" for k, name in enumerate(names) if counts[k]]
    return ", ".join(parts) or "none"


def _place(density: NDArray[np.floating]) -> str:
    row, column = np.unravel_index(int(density.argmax()), density.shape)
    vertical = ("at the top", "in the middle", "at the bottom")[int(3 * row // density.shape[0])]
    return f"{vertical} {('left', 'centre', 'right')[int(3 * column // density.shape[1])]}"


def save_examples(examples: Iterable[Example], folder: Path) -> None:
    """Write the figures of examples and what they show to ``folder``/examples, in place of what was there.

    Examples:
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from saccade.report import Example, save_examples
        >>> from saccade.report.html import figure
        >>> picture = figure("image", "the photograph", "a grey leaf", np.full((4, 6, 3), 127, np.uint8))
        >>> example = Example("leaf", "worst", 0.25, (picture,))
        >>> save_examples([example], Path("figures"))
        >>> sorted(path.name for path in Path("figures/examples").iterdir())
        ['01_leaf_image.jpeg', 'examples.json']
    """
    # a link to another folder would be emptied
    place = within(folder.parent, folder / FOLDER)
    if place.is_dir():
        shutil.rmtree(place)
    place.mkdir(parents=True)
    index = []
    for number, example in enumerate(examples, 1):
        rows = []
        for shown in example.figures:
            file = f"{number:02}_{_safe(example.stem)}_{shown.name}.{shown.kind}"
            (place / file).write_bytes(shown.data)
            rows.append({"file": file, "name": shown.name, "caption": shown.caption, "alt": shown.alt})
        about = {"stem": example.stem, "rank": example.rank, "score": example.score, "figures": rows}
        index.append(about | ({"colours": example.colours} if example.colours else {}))
    (place / INDEX).write_text(json.dumps(index, indent=1, allow_nan=False), encoding="utf-8")


def load_examples(folder: Path) -> tuple[Example, ...]:
    """What :func:`save_examples` wrote; none where it never did.

    Raises:
        FileProblem: when the folder is damaged.

    Examples:
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from saccade.report import Example, load_examples, save_examples
        >>> from saccade.report.html import figure
        >>> picture = figure("image", "the photograph", "a grey leaf", np.full((4, 6, 3), 127, np.uint8))
        >>> example = Example("leaf", "worst", 0.25, (picture,))
        >>> save_examples([example], Path("figures"))
        >>> load_examples(Path("figures")) == (example,)
        True
    """
    index = folder / FOLDER / INDEX
    if not index.is_file():
        return ()
    try:
        rows = read_json_value(within(folder, index), _EXPECTED, _FIX)
        return tuple(_example(index, row) for row in rows)
    except FileProblem as problem:
        raise FileProblem(problem.path, problem.expected, problem.got, _FIX) from problem
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileProblem(index, _EXPECTED, "a damaged folder", _FIX) from error


_EXPECTED, _FIX = "the examples of a run", "evaluate the run again"


def _example(index: Path, row: Mapping[str, Any]) -> Example:
    score = None if row["score"] is None else float(row["score"])
    shown = tuple(_figure(index, entry) for entry in row["figures"])
    return Example(str(row["stem"]), str(row["rank"]), score, shown, _colours(row.get("colours", ())))


_COLOUR = re.compile("#[0-9a-f]{6}")


def _colours(listed: Sequence[Any]) -> tuple[str, ...]:
    """As a page writes them into its styles; raises ValueError for anything else."""
    if not all(_COLOUR.fullmatch(str(colour)) for colour in listed):
        raise ValueError("colours that are none")
    return tuple(map(str, listed))


def _figure(index: Path, row: Mapping[str, Any]) -> Figure:
    file = inside(index.parent, str(row["file"]), index)
    kind = file.suffix[1:]
    if kind not in KINDS:
        raise FileProblem(index, f"pictures of the kinds {', '.join(KINDS)}", repr(file.name)[:80], _FIX)
    data = read_bytes(file, "a picture", MOST_PICTURE)
    return Figure(str(row["name"]), str(row["caption"]), str(row["alt"]), kind, data)


def _safe(stem: str) -> str:
    return re.sub(r"[^\w-]+", "-", stem)[:80]
