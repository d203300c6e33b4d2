"""Learning to downsample for segmentation of ultra-high resolution images (ICLR 2022)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from experiment import Experiment, Options, merged, side

PAPER = "iclr2022"
TRAINING: Options = {
    "network": {"name": "hrnetv2:w48", "pretrained": True, "antialias": False},
    "loss": {"segmentation": "focal"},
    "optimizer": {"name": "adam", "learning_rate": 1e-3, "schedule": "step", "warmup": 0.0},
    "augment": {"flip_vertical": False, "brightness": 0.0, "contrast": 0.0},
}
ATTRACTION: Options = {
    "sampler": {"net": None, "grid": "attraction", "floor": 0.0, "cover": False, "edge_weights": "equal"}
}
JOINT: Options = {"loss": {"edge": "mse", "edge_weight": 100.0, "through_grid": True}}
UNIFORM: Options = {"sampler": {"name": "uniform"}}
BLURS = range(1, 22, 2)
FIGURE_ONLY = ""
GAIN = "3 to 10 points of mIoU over uniform"


@dataclass(frozen=True)
class Study:
    """A data set as the paper uses it; radius and density belong to the size of the main figures."""

    key: str
    data: str
    size: str
    epochs: int
    batch: int
    radius: int
    curve: tuple[str, ...]
    density: str | None = None
    options: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = ()

    def base(self, size: str, epochs: int | None = None) -> Options:
        steps = epochs or self.epochs
        given = {section: dict(values) for section, values in self.options}
        schedule = {"training": {"epochs": steps, "batch_size": self.batch}}
        decay = {"optimizer": {"step_epochs": max(1, steps // 3)}}
        return merged(TRAINING, schedule, decay, {"sampler": {"size": size}}, given)

    def learned(self, size: str) -> Options:
        """Radius and density grow with the size."""
        short, long = map(int, size.split("x"))
        radius = max(1, round(self.radius * short / int(self.size.split("x")[0])))
        sampler: dict[str, Any] = {"name": "deformation", "radius": radius}
        if self.density:
            sampler["density"] = sampler["thumbnail"] = f"{short // 4}x{long // 4}"
        return merged(ATTRACTION, {"sampler": sampler})


CITYSCAPES = Study(
    "cityscapes", "Cityscapes", "64x128", 125, 4, 15, ("16x32", "32x64", "64x128", "128x256", "256x512")
)
DEEPGLOBE = Study(
    "deepglobe", "DeepGlobe", "300x300", 200, 4, 30, ("75x75", "150x150", "300x300", "600x600", "950x950")
)
HISTOLOGY = Study(
    "histology", "PCa-Histo (not public) or other slides", "80x800", 250, 2, 10,
    ("20x200", "40x400", "80x800", "160x1600"), density="1/4",
    options=(("sampler", (("fit", True),)),),
)  # fmt: skip
STUDIES = (CITYSCAPES, DEEPGLOBE, HISTOLOGY)
CURVES = {"cityscapes": "fig7a", "deepglobe": "fig7b", "histology": "fig10"}
CLAIMS = {
    "cityscapes": "the curve: uniform needs 50 % more pixels for the same mIoU",
    "deepglobe": "the curve: uniform with 10 times the pixels stays below",
    "histology": "",
}
SIZES_OURS = "the sizes of this curve are ours: the text does not name them"


def experiments() -> Iterator[Experiment]:
    for study in STUDIES:
        yield from main_figure(study)
        yield from single_loss(study)
        yield from optimal_edge(study)
        yield from curve(study)
    yield from stages()
    yield from square_crops()


def main_figure(study: Study) -> Iterator[Experiment]:
    """Figures 5, 6 and 13, which show the same runs."""
    base = study.base(study.size)
    for name, what, options, published in (
        ("uniform", "uniform", UNIFORM, FIGURE_ONLY),
        ("ours", "ours", merged(study.learned(study.size), JOINT), GAIN),
    ):
        title = f"Fig. 5, 6, 13: {study.key} at {study.size}, {what}"
        yield Experiment(
            PAPER, f"fig5_{study.key}_{name}", title, study.data, published, merged(base, options)
        )


def single_loss(study: Study) -> Iterator[Experiment]:
    """Figure 14; its other bars are those of figure 5."""
    options = merged(study.base(study.size), study.learned(study.size), {"training": {"variant": "single"}})
    published = "below uniform" if study is CITYSCAPES else "above uniform, below ours"
    title = f"Fig. 14: {study.key}, segmentation loss alone"
    yield Experiment(PAPER, f"fig14_{study.key}_single", title, study.data, published, options)


def optimal_edge(study: Study) -> Iterator[Experiment]:
    """Figure 17: eleven blurs, of which the best is the baseline "optimal edge" of every figure."""
    for blur in BLURS:
        learned = study.learned(study.size)["sampler"]
        learned.pop("thumbnail", None)
        sampler = {**learned, "name": "oracle", "blur": float(blur)}
        options = merged(study.base(study.size), {"sampler": sampler})
        title = f"Fig. 17: {study.key}, simulated optimal edge, blur {blur}"
        note = "sees the labels; blur as standard deviation in pixels of the density"
        name = f"fig17_{study.key}_edge_{blur:02}"
        yield Experiment(PAPER, name, title, study.data, FIGURE_ONLY, options, note)


def curve(study: Study) -> Iterator[Experiment]:
    """Cost against quality."""
    figure = CURVES[study.key]
    for size in study.curve:
        if size == study.size:
            continue
        for name, options in (("uniform", UNIFORM), ("ours", merged(study.learned(size), JOINT))):
            title = f"Fig. {figure.removeprefix('fig')}: {study.key} at {size}, {name}"
            rows = "x".join(f"{int(part):03}" for part in size.split("x"))
            published = CLAIMS[study.key] if name == "ours" else FIGURE_ONLY
            if size == "40x400":
                published = "uniform needs 325 % more pixels for the same mIoU"
            yield Experiment(
                PAPER, f"{figure}_{study.key}_{rows}_{name}", title, study.data, published,
                merged(study.base(size), options), SIZES_OURS,
            )  # fmt: skip


def stages() -> Iterator[Experiment]:
    """Figure 15: the density net alone first."""
    study = CITYSCAPES
    for variant, published in (
        ("staged", "mIoU 6 points below uniform"),
        ("staged_joint", "mIoU close to uniform"),
    ):
        options = merged(study.base(study.size), study.learned(study.size), JOINT)
        training = {"variant": variant, "first_stage_epochs": study.epochs}
        loss = {"through_grid": variant == "staged_joint"}
        options = merged(options, {"training": training, "loss": loss})
        note = "the length of the first stage is ours: the paper does not give it"
        title = f"Fig. 15: cityscapes at 64x128, {variant.replace('_', ', then ')}"
        yield Experiment(PAPER, f"fig15_cityscapes_{variant}", title, study.data, published, options, note)


def square_crops() -> Iterator[Experiment]:
    """Table 2: the largest square, PSPNet, 1000 epochs; "optimal edge" is table 3 of ICCV 2019."""
    figures = {64: (0.29, 0.35), 128: (0.40, 0.45), 256: (0.54, 0.55)}
    for pixels, (uniform, ours) in figures.items():
        size = side(pixels)
        crop: Options = {"data": {"crop": "square"}, "network": {"name": "pspnet:resnet50"}}
        base = merged(CITYSCAPES.base(size, 1000), crop)
        learned = merged(CITYSCAPES.learned(size), JOINT)
        for name, options, miou in (("uniform", UNIFORM, uniform), ("ours", learned, ours)):
            title = f"Table 2: cityscapes, square crop, {pixels}, {name}"
            yield Experiment(
                PAPER, f"table2_cityscapes_{pixels:03}_{name}", title, CITYSCAPES.data, f"mIoU {miou:.2f}",
                merged(base, options),
            )  # fmt: skip
