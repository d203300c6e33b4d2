"""The arms of the foveation studies: each field of view alone, blends, and what is learned."""

from __future__ import annotations

from collections.abc import Sequence

from saccade.evaluation.comparison.arms import Arm, Outcome, Setting, named_size
from saccade.evaluation.studies.blocks import Block, Cell, Table
from saccade.evaluation.studies.parts import compared, gain_text
from saccade.evaluation.studies.study import Study
from saccade.training.foveation_setup import default_bank

FOVEATION = ("sampler.name=foveation",)


def bank_of(setting: Setting) -> tuple[int, ...]:
    """The setting's bank, or the default one of its smallest patch."""
    given = setting.base.foveation.bank
    return given or default_bank(setting.sizes[0], list(setting.data.sizes("train")))


def overview_of(setting: Setting) -> tuple[str, ...]:
    """The setting's overview, or where that leaves gaps between patches, one of two pixels in each."""
    most = max(1, min(min(size) for size in setting.sizes) // 2)
    return () if setting.base.foveation.shrink <= most else (f"foveation.shrink={most}",)


def arms(setting: Setting) -> Sequence[Arm]:
    """The baselines and estimators of arXiv 2020, Table 2, but for the ensemble, which needs other runs."""
    bank = bank_of(setting)
    shared = (*FOVEATION, f"foveation.bank={list(bank)}", *overview_of(setting))
    fixed = [
        Arm(f"fixed{n}", (*shared, "foveation.estimator=fixed", f"foveation.field={n}"))
        for n in range(len(bank))
    ]
    others = ("random", "average", "mean", "mode", "gumbel")
    return [*fixed, *(Arm(name, (*shared, f"foveation.estimator={name}")) for name in others)]


def measure(setting: Setting, outcomes: Sequence[Outcome]) -> Sequence[Block]:
    """What choosing or blending gains over the best field of view alone, which differs from the first."""
    found = compared(setting, outcomes)
    rows: list[list[Cell]] = []
    for size in setting.sizes:
        points = [point for arm in found.arms if (point := found.at(arm, size)) is not None]
        alone = [point for point in points if point.arm.name.startswith("fixed")]
        if not alone:
            continue
        best = max(alone, key=lambda point: float(point.iou.values[-1]))
        rows += [
            [f"{point.arm.name}, {named_size(size)}", float(point.iou.values[-1]), best.arm.name,
             gain_text(point.iou.gain(best.iou))]
            for point in points if point not in alone
        ]  # fmt: skip
    head = ("way, size of the patch", "mIoU", "best field alone", "gain over it, points")
    note = "The best field was chosen on the same images, which favours it a little."
    return [Table("Does it beat the best field of view alone?", head, rows, note)] if rows else []


def field_arms(setting: Setting) -> Sequence[Arm]:
    """A network for each field of view alone, which predicts all of what it sees (arXiv 2020, 3.1)."""
    return [
        Arm(
            f"width-{width}",
            (*FOVEATION, f"foveation.bank=[{width}]", "foveation.estimator=fixed", *overview_of(setting)),
            float(width),
        )
        for width in bank_of(setting)
    ]


TABLE = Study(
    name="foveation",
    title="Foveation",
    question="Does choosing or blending fields of view, place by place, beat each of them alone?",
    source="arXiv 2020, Table 2",
    arms=arms,
    measure=measure,
)

FIELDS = Study(
    name="fields-of-view",
    title="Field of view against resolution",
    question="At a fixed number of pixels a patch, how wide should it look, class by class?",
    source="arXiv 2020, 3.1 and Fig. 2; MICCAI 2020, 2.1",
    arms=field_arms,
    value_name="width of the field of view, pixels",
    log_value=True,
)
