"""Foveation for segmentation of ultra-high resolution images (arXiv 2020), and of histology (MICCAI 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from experiment import Experiment, Options, merged, side

PAPER = "foveation2020"
MEANS = {"mean": "Ours-Mean", "mode": "Ours-Mode", "gumbel": "Ours-GSM"}
BASELINES = {"random": "Baseline-Random", "average": "Baseline-Average"}
STRIDE = "a prediction takes every 8th location (1/128), which the paper found to lose nothing (table B.5.1)"


@dataclass(frozen=True)
class Study:
    """A data set as the paper uses it.

    Attributes:
        images, locations: L and B: P = L x B patches a step.
        visits: of each image in an epoch, so that the iterations are the paper's.
        stride: between locations of a prediction, in pixels of the thumbnail.
        published: mIoU in % of patch 1 to 5, random, average, ensemble, mean, mode, gumbel.
    """

    key: str
    data: str
    network: str
    bank: tuple[int, ...]
    shrink: int
    epochs: int
    images: int
    locations: int
    visits: int
    published: tuple[float, ...]
    pretrained: bool = True
    crop: str | None = None
    note: str = ""

    def base(self) -> Options:
        given = {"data": {"crop": self.crop}} if self.crop else {}
        foveation = {
            "bank": list(self.bank), "shrink": self.shrink, "locations": self.locations,
            "visits": self.visits, "stride": 8, "reading": "published", "window": "uniform",
        }  # fmt: skip
        optimizer = {"name": "adam", "learning_rate": 2e-5, "schedule": "poly", "warmup": 0.0}
        flips = {"flip_horizontal": False, "flip_vertical": False}
        training = {"epochs": self.epochs, "batch_size": self.images, "validate_every": 10}
        return {
            **given,
            "sampler": {"name": "foveation", "size": side(self.bank[0])},
            "foveation": foveation,
            "network": {"name": self.network, "pretrained": self.pretrained, "antialias": False},
            "optimizer": optimizer,
            "augment": {**flips, "brightness": 0.0, "contrast": 0.0},
            "training": training,
        }


STUDIES = (
    Study(
        "deepglobe", "DeepGlobe", "upernet:resnet50", (500, 1000, 1500, 2000, 2500), 24, 50, 2, 4, 36,
        (73.8, 73.4, 56.4, 72.3, 71.3, 46.4, 73.5, 74.3, 74.0, 73.2, 73.8),
        note="the encoder of UPerNet is not said",
    ),
    Study(
        "cityscapes", "Cityscapes", "hrnetv2:w48", (512, 640, 768, 896, 1024), 16, 100, 2, 4, 4,
        (70.2, 70.6, 69.8, 68.0, 67.7, 50.3, 56.6, 72.5, 76.1, 70.5, 71.4),
        note="tables B.2.1 and B.5.1 give Ours-Mode 71.4 and Ours-GSM 70.5, table 2 the reverse",
    ),
    Study(
        "gleason2019", "Gleason 2019", "hrnetv2:w48", (1100, 2000, 2900, 3800, 4400), 44, 50, 1, 2, 8,
        (69.3, 70.1, 70.7, 67.3, 61.4, 64.9, 65.7, 71.0, 71.1, 69.5, 67.4), crop="4400x4400",
        note="the crop is that of MICCAI 2020, whose scores these are; arXiv 2020 writes 2448x2448, "
        "less than three of its five patches",
    ),
)  # fmt: skip
MICCAI = {
    "patch1": 0.520, "patch2": 0.525, "patch3": 0.530, "patch4": 0.505, "patch5": 0.460,
    "random": 0.487, "average": 0.493, "mean": 0.533,
}  # fmt: skip
"""Table 1 of MICCAI 2020: the same runs; its mean counts the absent grade 5 as a fourth class of IoU 0."""


def experiments() -> Iterator[Experiment]:
    for study in STUDIES:
        yield from table2(study)
    yield from downsampled()
    yield from fields_alone()
    yield from fields_reduced()


def table2(study: Study) -> Iterator[Experiment]:
    """Table 2; B.2, B.5.1 and the foveation maps of table 3 are of the same runs."""
    fixed = [f"runs/table2_{study.key}_patch{number}" for number in range(1, 6)]
    methods: list[tuple[str, str, Options]] = [
        (f"patch{number + 1}", f"Baseline-Patch {number + 1}", {"estimator": "fixed", "field": number})
        for number in range(len(study.bank))
    ]
    methods += [(name, title, {"estimator": name}) for name, title in BASELINES.items()]
    methods += [("ensemble", "Ensemble", {"estimator": "ensemble", "members": fixed})]
    methods += [(name, title, {"estimator": name}) for name, title in MEANS.items()]
    for (name, title, options), percent in zip(methods, study.published, strict=True):
        histology = MICCAI.get(name) if study.key == "gleason2019" else None
        also = "" if histology is None else f"; MICCAI 2020, table 1: {histology:.3f} of four classes"
        yield Experiment(
            PAPER, f"table2_{study.key}_{name}", f"Table 2: {study.key}, {title}", study.data,
            f"mIoU {percent / 100:.3f}{also}", merged(study.base(), {"foveation": options}),
            "; ".join(filter(None, (study.note, STRIDE))),
        )  # fmt: skip


def downsampled() -> Iterator[Experiment]:
    """MICCAI 2020, figure 2: whole images of 5000 x 5000, reduced."""
    base = STUDIES[2].base()
    for rate, pixels in ((0.03, 150), (0.06, 300), (0.12, 600), (0.22, 1100)):
        options = {key: value for key, value in base.items() if key not in ("data", "foveation")}
        options = merged(options, {"sampler": {"name": "uniform", "size": side(pixels)}})
        options = merged(options, {"training": {"batch_size": 2}})
        name, title = f"fig2_gleason2019_whole_{pixels:04}", f"MICCAI Fig. 2: whole images at {rate}"
        yield Experiment(PAPER, name, title, STUDIES[2].data, "", options)


def fields_alone() -> Iterator[Experiment]:
    """MICCAI 2020, figure 2: patches at full resolution."""
    base = STUDIES[2].base()
    base.pop("data")
    for pixels in (256, 512, 768):
        stride = min(8, pixels // STUDIES[2].shrink)
        fixed = {"estimator": "fixed", "field": 0, "bank": [pixels], "stride": stride}
        options = merged(base, {"sampler": {"size": side(pixels)}, "foveation": fixed})
        name, title = f"fig2_gleason2019_field_{pixels:04}", f"MICCAI Fig. 2: patches of {pixels}"
        yield Experiment(PAPER, name, title, STUDIES[2].data, "", options)


def fields_reduced() -> Iterator[Experiment]:
    """MICCAI 2020, figure 2: fields of view of five widths, all reduced to 1100 x 1100."""
    base = STUDIES[2].base()
    base.pop("data")
    for pixels in (1100, 2000, 3000, 4000, 5000):
        options = merged(base, {"foveation": {"estimator": "fixed", "field": 0, "bank": [pixels]}})
        name, title = f"fig2_gleason2019_reduced_{pixels}", f"MICCAI Fig. 2: patches of {pixels} at 1100"
        yield Experiment(PAPER, name, title, STUDIES[2].data, "", options)
