"""How well does a model do at another size of the view than the one it was trained at?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.data.cache import Sample
from saccade.evaluation.comparison.arms import Arm, Outcome, Setting, Size, named_size
from saccade.evaluation.studies.blocks import Block, Cell, Table, Text
from saccade.evaluation.studies.parts import DEFORMATION, UNIFORM, Counts, scored
from saccade.evaluation.studies.study import Study
from saccade.metrics import confusion_matrix
from saccade.segmenter import Segmenter
from saccade.training import load_run
from saccade.training.devices import torch_device


def arms(setting: Setting) -> Sequence[Arm]:
    return [UNIFORM, DEFORMATION]


def measure(setting: Setting, outcomes: Sequence[Outcome]) -> Sequence[Block]:
    """Of the first seed of every arm and size."""
    shown = wanted_sizes(setting)
    first: dict[tuple[str, Size], Outcome] = {}
    for one in outcomes:
        if one.evaluation is not None:
            first.setdefault((one.case.arm.name, one.case.size), one)
    rows: list[list[Cell]] = []
    for (arm, size), one in first.items():
        segmenter = load_run(one.folder).segmenter.to(torch_device(setting.device)).eval()
        found = scored(setting, _counts(setting, segmenter, shown))
        rows.append([f"{arm}, trained at {named_size(size)}", *(float(each.values[-1]) for each in found)])
    head = ("model", *(f"at {named_size(size)}" for size in shown))
    return [Table("mIoU of a model at sizes that it was not trained at", head, rows), Text(NOTE)]


NOTE = (
    "A row is one trained model (the first seed); where the size is its own, the score is that of the tables "
    "below. The density net sees its own overview whatever the size of the view."
)


def wanted_sizes(setting: Setting) -> list[Size]:
    """The sizes of training, and half and twice of each side."""
    found = set(setting.sizes)
    for rows, columns in setting.sizes:
        found |= {(max(1, rows // 2), max(1, columns // 2)), (2 * rows, 2 * columns)}
    return sorted(found, key=lambda size: (size[0] * size[1], size))


def _counts(setting: Setting, segmenter: Segmenter, sizes: Sequence[Size]) -> Counts:
    classes, device = len(setting.data.classes), torch_device(setting.device)

    @torch.no_grad()
    def counts(sample: Sample) -> list[Tensor]:
        labels = [sample.labels.to(device)] if segmenter.sampler.sees_labels else None
        pyramid = sample.pyramid.to(device)
        said = [segmenter.predict(pyramid, labels, size=size).cpu() for size in sizes]
        return [confusion_matrix(one, sample.labels, classes) for one in said]

    return counts


OTHER_SIZES = Study(
    name="other-sizes",
    title="Other sizes than trained",
    question="How well does a model do at another size of the view than the one it was trained at?",
    source="ICCV 2019 and ICLR 2022 train a model a size",
    arms=arms,
    measure=measure,
)
