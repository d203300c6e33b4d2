"""Examples of a comparison: the images with the largest gains and the largest losses, side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from saccade.data.cache import Sample
from saccade.evaluation.comparison.results import Comparison, Point
from saccade.metrics import iou
from saccade.report import figures
from saccade.report.comparison_words import OTHER_BUDGET, arm_name, sized
from saccade.report.examples import WIDTH, Looked, fitted
from saccade.report.look import look_at
from saccade.report.markup import Figure, figure, figure_html, text
from saccade.report.palette import class_palette, hex_colour
from saccade.training import load_run
from saccade.training.devices import torch_device


@dataclass(frozen=True)
class Difference:
    """Of one image between an arm and the reference.

    Attributes:
        stem: of the image.
        gain: of its mean IoU over the classes that it truly has, mean over the seeds.
        rank: "gain" or "loss".
    """

    stem: str
    gain: float
    rank: str


def best_arm(compared: Comparison) -> str | None:
    """The arm that gains most over the reference, of those that see no more pixels where there are any.

    Arms that see the labels are left out.
    """
    gains: dict[str, float] = {}
    larger: set[str] = set()
    for point in compared.points.values():
        found, other = compared.gain(point), compared.at(compared.reference, point.size)
        if found is None or other is None or point.arm.name in compared.sees_labels:
            continue
        gains[point.arm.name] = gains.get(point.arm.name, 0.0) + found.value
        if point.pixels > OTHER_BUDGET * other.pixels:
            larger.add(point.arm.name)
    return max(gains, key=lambda name: (name not in larger, gains[name]), default=None)


def differences(point: Point, other: Point, *, most: int = 2) -> list[Difference]:
    """The images with the largest gains, then those with the largest losses; an image stands once."""
    gains = np.nan_to_num(_by_image(point) - _by_image(other))
    order = np.argsort(-gains, kind="stable").tolist()
    stems = [record.stem for record in point.evaluations[0].records]
    up = [Difference(stems[i], float(gains[i]), "gain") for i in order[:most] if gains[i] > 0]
    down = [Difference(stems[i], float(gains[i]), "loss") for i in order[::-1][:most] if gains[i] < 0]
    return [*up, *down]


def examples(compared: Comparison) -> str:
    """For the best arm, at its smallest and its largest size: pictures beside the reference's."""
    name = best_arm(compared)
    if name is None:
        return ""
    own = [point for point in compared.points.values() if point.arm.name == name]
    pairs = [(point, other) for point in own if (other := compared.at(compared.reference, point.size))]
    parts = [_at_size(compared, *pair) for pair in pairs[:: max(1, len(pairs) - 1)]]
    return f"<h2>Largest gains and largest losses of single images</h2>{_legend(compared)}{''.join(parts)}"


def _at_size(compared: Comparison, point: Point, other: Point) -> str:
    setting = compared.setting
    items = {item.stem: item for item in setting.data.split(setting.split)}
    shown = differences(point, other)
    samples = {one.stem: setting.cache.get(setting.data, items[one.stem]) for one in shown}
    looked = {p.arm.name: _look(compared, p, samples) for p in (other, point)}
    parts = []
    for one in shown:
        head = f"{one.rank} of {100 * abs(one.gain):.1f} points: {one.stem}, {sized(point.size)}"
        pictures = _pictures(compared, [(name, found[one.stem]) for name, found in looked.items()])
        inner = "".join(figure_html(picture) for picture in pictures)
        parts.append(
            f'<section class="example"><h3>{text(head)}</h3><div class="pictures">{inner}</div></section>'
        )
    return "".join(parts)


def _look(compared: Comparison, point: Point, samples: dict[str, Sample]) -> dict[str, Looked]:
    """What the first seed of a point said of images."""
    folder = next(
        one.folder for one in compared.outcomes
        if one.evaluation is not None and (one.case.arm, one.case.size) == (point.arm, point.size)
    )  # fmt: skip
    device = torch_device(compared.setting.device)
    segmenter = load_run(folder).segmenter.to(device).eval()
    with torch.no_grad():
        return {stem: look_at(segmenter, sample, device) for stem, sample in samples.items()}


def _pictures(compared: Comparison, looked: list[tuple[str, Looked]]) -> list[Figure]:
    first = looked[0][1]
    image = figures.shrink(first.image, WIDTH)
    size, palette = (image.shape[0], image.shape[1]), _palette(compared)
    rarity = np.argsort(-compared.shares, kind="stable")
    truth = fitted(first.truth, rarity, size)
    shown = [
        figure("image", "image", f"{first.stem}: the photograph", image),
        figure("truth", "truth", f"{first.stem}: true classes", figures.overlay(image, truth, palette)),
    ]
    for name, found in looked:
        said = fitted(found.prediction, rarity, size)
        wrong = ((found.truth != found.prediction) & (found.truth != 255)).mean()
        starred = arm_name(compared, name)
        shown += [
            figure("prediction", f"{starred}: prediction ({wrong:.2%} of pixels wrong)",
                   f"{found.stem}: classes that {name} predicts", figures.overlay(image, said, palette)),
            figure("samples", f"{starred}: where its samples lie", f"{found.stem}: samples of {name}",
                   figures.samples_on(image, found.grids.reshape(-1, *found.grids.shape[2:]))),
        ]  # fmt: skip
    return shown


def _by_image(point: Point) -> np.ndarray:
    """Mean IoU of each image over the classes that it truly has, mean over the seeds.

    A few wrong pixels of a class that is not there would else cost a whole class of the mean.
    """
    scores = [[_of_true_classes(record.confusion) for record in one.records] for one in point.evaluations]
    return np.array(scores).mean(0)


def _of_true_classes(confusion: torch.Tensor) -> float:
    there = confusion.sum(1) > 0
    return float(iou(confusion)[there].mean()) if there.any() else math.nan


def _palette(compared: Comparison) -> np.ndarray:
    own = np.asarray(compared.setting.data.classes.colours, np.uint8)
    return class_palette(compared.shares, own)


def _legend(compared: Comparison) -> str:
    colours = _palette(compared)
    items = " ".join(
        f'<span class="swatch" style="background:{hex_colour(colour)}"></span>{text(name)}'
        for name, colour in zip(compared.classes, colours, strict=True)
    )
    return f"<p>{items}</p>"
