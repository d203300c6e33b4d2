"""Efficient segmentation: learning downsampling near semantic boundaries (ICCV 2019)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from experiment import Experiment, Options, merged, side

PAPER = "iccv2019"
BATCH = {16: 128, 32: 128, 64: 128, 128: 32, 160: 24, 192: 24, 224: 24, 256: 24, 512: 12}
TARGETS = ("car", "motorbicycle", "bicycle", "person", "rider", "truck", "bus", "tricycle")
U_NET = "which U-Net is not said: by its operations (1.24e9 at 64) one smaller than that of 2015"
AUGMENTED = "how strong the noise and the changes of light are is not said"
THUMBNAIL = "the thumbnail's size is read off the operations that the table adds for it"


@dataclass(frozen=True)
class Study:
    """A table: its network and schedule, and the published (baseline, ours) of each size.

    Attributes:
        thumbnails: the smallest and the largest; between them the thumbnail is as large as the view.
    """

    table: str
    data: str
    network: str
    learning_rate: float
    epochs: int
    published: dict[int, tuple[str, str]]
    pretrained: bool = False
    thumbnails: tuple[int, int] = (32, 32)
    targets: tuple[str, ...] | None = None
    note: str = ""

    def base(self, pixels: int) -> Options:
        network = {"name": self.network, "pretrained": self.pretrained, "antialias": False}
        rate = {"name": "adam", "learning_rate": self.learning_rate, "warmup": 0.0, "schedule": "step"}
        decay = {"step_epochs": 1, "step_factor": round(0.01 ** (1 / self.epochs), 6)}
        return {
            "data": {"crop": "random_square"},
            "sampler": {"size": side(pixels)},
            "network": network,
            "optimizer": {**rate, **decay},
            "augment": {"flip_vertical": False, "salt_and_pepper": 0.01},
            "training": {"epochs": self.epochs, "batch_size": BATCH[pixels]},
        }

    def ours(self, pixels: int) -> Options:
        smallest, largest = self.thumbnails
        sampler = {"name": "boundary", "thumbnail": side(min(max(pixels, smallest), largest))}
        boundary = {"smoothness": 1.0, "tensor": "8x8", "width": 256, "classes": self.targets}
        boundary = {key: value for key, value in boundary.items() if value is not None}
        first = {"training": {"first_stage_epochs": self.epochs}}
        return merged(self.base(pixels), {"sampler": sampler, "boundary": boundary}, first)


def both(**by_size: tuple[float, float]) -> dict[int, tuple[str, str]]:
    return {int(key[1:]): (f"mIoU {a:.2f}", f"mIoU {b:.2f}") for key, (a, b) in by_size.items()}


def targeted(**by_size: tuple[float, float, float, float]) -> dict[int, tuple[str, str]]:
    """(baseline all, baseline targets, ours all, ours targets)."""
    text = "mIoU {:.2f} (target classes {:.2f})"
    return {int(k[1:]): (text.format(v[0], v[1]), text.format(v[2], v[3])) for k, v in by_size.items()}


STUDIES = (
    Study(
        "table2_apolloscape", "ApolloScape", "unet:original", 1e-5, 33, targets=TARGETS,
        note=U_NET, published=targeted(
            s32=(0.19, 0.19, 0.24, 0.24), s64=(0.25, 0.25, 0.28, 0.28), s128=(0.32, 0.32, 0.36, 0.36),
            s256=(0.40, 0.40, 0.44, 0.44), s512=(0.44, 0.44, 0.47, 0.47),
        ),
    ),
    Study(
        "table3_cityscapes_pspnet", "Cityscapes", "pspnet:resnet50", 1e-4, 1000, pretrained=True,
        note="schedule ours: the paper took the default of a public program",
        published=both(s64=(0.29, 0.32), s128=(0.40, 0.43), s256=(0.54, 0.54)),
    ),
    Study(
        "table3_cityscapes_deeplab", "Cityscapes", "deeplabv3plus:tu-xception65/8", 1e-4, 1000,
        pretrained=True, note="schedule ours: the paper took the default of a public program",
        published=both(s160=(0.54, 0.58), s192=(0.61, 0.62), s224=(0.62, 0.65)),
    ),
    Study(
        "table4_synthia", "Synthia", "unet:original", 1e-4, 500, thumbnails=(32, 256),
        note=f"{U_NET}; which classes are targets is not said: all here; {THUMBNAIL}", published=targeted(
            s32=(0.65, 0.58, 0.67, 0.61), s64=(0.76, 0.71, 0.77, 0.73), s128=(0.84, 0.81, 0.86, 0.83),
            s256=(0.91, 0.89, 0.92, 0.91),
        ),
    ),
    Study(
        "table5_supervisely", "Supervisely Person", "unet:original", 1e-4, 1000, thumbnails=(32, 128),
        note=f"{U_NET}; {THUMBNAIL}",
        published=both(
            s16=(0.69, 0.73), s32=(0.76, 0.76), s64=(0.80, 0.83), s128=(0.85, 0.87), s256=(0.89, 0.90)
        ),
    ),
)  # fmt: skip


def experiments() -> Iterator[Experiment]:
    """Figures 8 to 14 show the same runs."""
    for study in STUDIES:
        title = study.table.replace("_", ": ", 1).replace("table", "Table ").replace("_", ", ")
        for pixels, (baseline, ours) in study.published.items():
            note = f"{study.note}; {AUGMENTED}"
            uniform = merged(study.base(pixels), {"sampler": {"name": "uniform"}})
            for name, published, options in (
                ("uniform", baseline, uniform),
                ("ours", ours, study.ours(pixels)),
            ):
                yield Experiment(
                    PAPER, f"{study.table}_{pixels:03}_{name}", f"{title}, {pixels}, {name}", study.data,
                    published, options, note,
                )  # fmt: skip
