"""What the page of a run is made from: its history, its examples, its maps."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from saccade.data.classes import classes_from_dict
from saccade.errors import FileProblem, SaccadeError
from saccade.evaluation import Evaluation, LabelledImage, load_evaluation
from saccade.evaluation.results import own_file
from saccade.figures import class_palette, hex_colour, ramp
from saccade.rasters.bands import Bands
from saccade.rasters.picture import picture_of
from saccade.report.charts import Line
from saccade.report.examples import Example, SegmentedSample, choose, draw, load_examples
from saccade.report.html import Figure, figure
from saccade.runtime.reading import MOST_TEXT, read_json_value, read_text, within
from saccade.segmenter import Segmenter
from saccade.training.config import read_yaml
from saccade.training.run_folder import open_config


def draw_examples(
    segmenter: Segmenter,
    evaluation: Evaluation,
    sample_of: Callable[[str], LabelledImage],
    *,
    own_colours: NDArray[np.uint8] | None = None,
    device: torch.device | str = "cpu",
    **how_many: Any,
) -> tuple[Example, ...]:
    """Predict and draw the worst, the median and the best images of an evaluation.

    Args:
        segmenter: that was evaluated.
        evaluation: of it.
        sample_of: the labelled image of a stem.
        own_colours: (K, 3) of the classes.
        device: where the network runs.
        how_many: ``worst``, ``median``, ``best``; see :func:`saccade.report.examples.choose`.

    Examples:
        >>> import saccade
        >>> from saccade.networks import build_network
        >>> sampler, network = saccade.UniformSampler((8, 12)), build_network("small:4", classes=3)
        >>> segmenter = saccade.Segmenter(sampler, network)
        >>> from saccade.data import SampleCache, open_data
        >>> from saccade.testing import make_fake
        >>> data = open_data(make_fake("folder", "leaves"))
        >>> cache = SampleCache()
        >>> from saccade.evaluation import evaluate
        >>> from saccade.report import draw_examples
        >>> samples = {sample.stem: sample for sample in cache.iterate(data, data.split("test"))}
        >>> evaluation = evaluate(segmenter, samples.values(), data.classes)
        >>> examples = draw_examples(segmenter, evaluation, samples.get, worst=1, median=0, best=1)
        >>> [example.rank for example in examples], len(examples[0].figures)
        (['worst', 'best'], 7)
    """
    scores = {record.stem: record.miou for record in evaluation.records}
    class_pixels = evaluation.confusion.sum(1).numpy()
    palette = class_palette(class_pixels, own_colours)
    segmenter.to(device)
    examples = []
    for stem, rank in choose(scores, **how_many).items():
        segmented = segment_sample(segmenter, sample_of(stem), device)
        score = scores[stem] if math.isfinite(scores[stem]) else None
        examples.append(
            Example(
                stem, rank, score, draw(segmented, evaluation.classes, palette, class_pixels),
                tuple(map(hex_colour, palette)),
            )
        )  # fmt: skip
    return tuple(examples)


def segment_sample(
    segmenter: Segmenter, sample: LabelledImage, device: torch.device | str = "cpu"
) -> SegmentedSample:
    """Segments one labelled image and keeps what is drawn of it.

    Examples:
        >>> import saccade
        >>> from saccade.networks import build_network
        >>> sampler, network = saccade.UniformSampler((8, 12)), build_network("small:4", classes=3)
        >>> segmenter = saccade.Segmenter(sampler, network)
        >>> from saccade.data import SampleCache, open_data
        >>> from saccade.testing import make_fake
        >>> data = open_data(make_fake("folder", "leaves"))
        >>> cache = SampleCache()
        >>> from saccade.report import segment_sample
        >>> segmented = segment_sample(segmenter, cache.get(data, data.split("test")[0]))
        >>> segmented.prediction.shape, segmented.grids.shape
        ((16, 24), (1, 8, 12, 2))
    """
    segmented = segmenter.segment(sample.pyramid.to(device), sample.labels.to(device))
    density = segmented.density
    return SegmentedSample(
        stem=sample.stem,
        image=_picture(sample, segmenter.drawing),
        truth=sample.labels[0].numpy(),
        prediction=segmented.labels.cpu().numpy(),
        grids=segmented.glimpses.grids.cpu().numpy(),
        density=None if density is None else density.cpu().numpy(),
    )


def _picture(sample: LabelledImage, bands: Bands | None) -> NDArray[np.uint8]:
    """(H, W, 3) of the image as it is drawn."""
    pixels = sample.pyramid.level(0)[0].permute(1, 2, 0).contiguous().numpy()
    return pixels if bands is None else picture_of(pixels, bands)


SCORE = "val_iou_"
LOSSES = {
    "train_loss": "loss",
    "train_segmentation_loss": "segmentation",
    "train_sampler_loss": "sampler",
}


@dataclass(frozen=True)
class History:
    """Columns of numbers of one length, one row an epoch; None where a cell is empty.

    Attributes:
        columns: "epoch", "train_loss", "val_miou", "val_iou_<class>", ...
    """

    columns: dict[str, tuple[float | None, ...]]

    @property
    def epochs(self) -> Sequence[float]:
        """Epochs, counted from 1 as people do."""
        return [epoch + 1 for epoch in self.columns.get("epoch", ()) if epoch is not None]

    def losses(self) -> list[Line]:
        """The losses that were written."""
        return [line for column, name in LOSSES.items() if (line := self._line(column, name)).points]

    def scores(self) -> list[Line]:
        """Validation mIoU, then the IoU of each class."""
        classes = [column for column in self.columns if column.startswith(SCORE)]
        return [self._line("val_miou", "mIoU"), *(self._line(c, c.removeprefix(SCORE)) for c in classes)]

    def best(self) -> tuple[int, float] | None:
        """(epoch, mIoU) of the best validation; None where there was none."""
        return max(
            ((int(x), y) for x, y in self._line("val_miou", "").points),
            key=lambda pair: pair[1],
            default=None,
        )

    def _line(self, column: str, name: str) -> Line:
        return Line(name, self.epochs, self.columns.get(column, (None,) * len(self.epochs)))


def read_history(path: Path) -> History:
    """The metrics.csv of a run; no columns where there is no file yet.

    Raises:
        FileProblem: when a cell is not a number, or the epochs are missing.
    """
    if not path.is_file():
        return History({})
    text = read_text(path, "a table of numbers", MOST_TEXT)
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        names = [name for name in (rows[0] if rows else {}) if name]
        columns = {name: tuple(_number(row[name]) for row in rows) for name in names}
    except csv.Error as error:
        raise FileProblem(path, "a table of numbers", f"a broken one ({error})") from error
    except ValueError as error:
        raise FileProblem(path, "numbers", str(error).rpartition(": ")[2][:80]) from error
    if rows and (None in columns.get("epoch", (None,))):
        raise FileProblem(path, "an epoch in every row", "none")
    return History(columns)


def _number(cell: str | None) -> float | None:
    value = float(cell) if cell else math.nan
    return value if math.isfinite(value) else None


WIDTH = 660


def map_picture(values: NDArray[np.floating], width: int = WIDTH) -> NDArray[np.uint8]:
    """Values (h, w) from 0 (dark) to 1 (light) as a picture (rows, width, 3) uint8."""
    rows = max(1, round(width * values.shape[0] / values.shape[1]))
    return np.asarray(Image.fromarray(ramp(values)).resize((width, rows), Image.Resampling.NEAREST))


@dataclass(frozen=True)
class MapFigures:
    """What a sampler shows of its training: a title, what light and dark mean, and the pictures."""

    title: str
    note: str
    figures: tuple[Figure, ...]


def training_figures(root: Path) -> MapFigures | None:
    """What the sampler of a run kept of its training; None where it kept nothing, or is not known here."""
    try:
        recipe = open_config(root)[0].recipe
    except SaccadeError:
        return None
    maps = recipe.training_maps(root)
    if maps is None:
        return None
    figures = [
        figure(field_map.name, field_map.caption, field_map.description, map_picture(field_map.values))
        for field_map in maps.maps
    ]
    return MapFigures(maps.title, maps.note, tuple(figures))


FIGURES, PAGE = "figures", "report.html"
SPLITS = ("test", "val", "train")
"""Whose evaluation is shown, the first that there is."""


@dataclass(frozen=True)
class RunReport:
    """Everything on the page of a run.

    Attributes:
        name: of the run.
        config: its options, by section.
        environment: versions, device, commit.
        history: of its training.
        evaluation: of its best weights; None before it was evaluated.
        split: "test", "val" or "train": what was evaluated on.
        examples: in the order in which they are shown.
        maps: of what the sampler did over the training; None where a run has none.
        own_colours: (K, 3) the classes' own colours; None where they are not known.

    Examples:
        >>> from saccade.report import RunReport, run_page
        >>> "<h1>coffee leaves</h1>" in run_page(RunReport("coffee leaves"))
        True
    """

    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    history: History = field(default_factory=lambda: History({}))
    evaluation: Evaluation | None = None
    split: str = "test"
    examples: tuple[Example, ...] = ()
    own_colours: NDArray[np.uint8] | None = None
    maps: MapFigures | None = None


def read_run(root: Path, evaluation: Evaluation | None = None) -> RunReport:
    """A run folder; what is not there yet is left out of the page.

    Raises:
        FileProblem: when ``root`` is no run folder, or a file of it is damaged.

    Examples:
        >>> from pathlib import Path
        >>> from saccade.data import open_data
        >>> from saccade.report import read_run
        >>> from saccade.testing import make_fake
        >>> from saccade.training import read_config, train
        >>> options = ["network.name=small:4", "sampler.size=8x12", "training.epochs=1"]
        >>> data = open_data(make_fake("folder", "leaves", size=(16, 24)))
        >>> _ = train(data, "run", read_config(overrides=options), device="cpu")
        >>> report = read_run(Path("run"))
        >>> report.name, report.history.epochs, report.evaluation is None
        ('run', [1.0], True)
    """
    config_file = root / "config.yaml"
    if not config_file.is_file():
        found = "no config.yaml in it" if root.is_dir() else "no such folder"
        raise FileProblem(root, "a run folder made by saccade train", found)
    config = read_yaml(within(root, config_file))
    environment_file = root / "environment.json"
    known = environment_file.is_file()
    if evaluation is None:
        evaluated = [split for split in SPLITS if own_file(root, split).is_file()]
        split = evaluated[0] if evaluated else "test"
        evaluation = load_evaluation(within(root, own_file(root, split))) if evaluated else None
    else:
        split = evaluation.subject.split if evaluation.subject else "test"
    return RunReport(
        name=root.resolve().name,
        config=config,
        environment=_environment(within(root, environment_file)) if known else {},
        history=read_history(within(root, root / "metrics.csv")),
        evaluation=evaluation,
        split=split,
        examples=load_examples(within(root, root / FIGURES)),
        maps=training_figures(root),
        own_colours=_colours(config),
    )


def _environment(path: Path) -> dict[str, Any]:
    content = read_json_value(path, "a readable file of options", "train the run anew")
    if not isinstance(content, dict):
        raise FileProblem(path, "names and values", type(content).__name__, "train the run anew")
    return content


def _colours(config: Mapping[str, Any]) -> NDArray[np.uint8] | None:
    """Colours of the scored classes, in the order of their ids, from the ``classes`` that a run keeps."""
    listed = config.get("classes")
    if not isinstance(listed, dict):
        return None
    try:
        colours = classes_from_dict(listed).colours
    except SaccadeError:
        return None
    return np.array(colours, np.uint8) if all(row.get("colour") for row in listed["classes"]) else None
