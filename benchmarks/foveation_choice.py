"""A network for each field of view, and a choice that is taught what each costs: does it pay?

    python benchmarks/foveation.py DATA RUNS --reading aligned --epochs 12 \\
        --variants fixed0,fixed1,fixed2,fixed3,fixed4
    python benchmarks/foveation_choice.py DATA RUNS [--seed 0] [--json FILE]

The fixed baselines stay as they are. At every location of the training images the loss of each of them is
measured, and a net that looks at an overview learns the expected regret: what its choice costs above the best
field. The weights with the least regret on the validation images count. Beside the learned choice stand each
field everywhere and the oracle. So nothing is lost by sharing one network over the fields, and nothing by
losses that change in training: what is left is whether the choice can be learned.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saccade.data import DataFolder, SampleCache, open_data
from saccade.data.cache import Sample
from saccade.grids import uniform_grid
from saccade.lab.studies.field_oracle import IGNORED, fed_with
from saccade.metrics import confusion_matrix, iou, miou
from saccade.networks import build_network
from saccade.samplers.foveation import ROWS_AT_ONCE, FoveatedImage
from saccade.samplers.foveation_choice import expected_regret
from saccade.segmenter import Segmenter
from saccade.training import load_run
from saccade.warp import sample as sample_at

FIELDS = 5
SHRINK = 16
"""Pixels of the image that a pixel of the overview stands for, along an axis."""
STEPS, BATCH, LOOK = 600, 4, 50


@dataclass(frozen=True)
class Measured:
    """An image: its overview (3, h, w), the loss of each field at every location (D, R, C), weighed by class
    and not, and where the locations lie on the overview (1, R, C, 2)."""

    overview: Tensor
    losses: Tensor
    plain: Tensor
    places: Tensor
    images: list[FoveatedImage]
    rows: list[Tensor]


class Chosen(FoveatedImage):
    """An image with a given field at every location, of rows (D, C, h, w, K) that were scored before."""

    def __init__(self, image: FoveatedImage, rows: list[Tensor], choice: Tensor) -> None:
        super().__init__(image.sampler, image.image, image.foveation)
        self.rows, self.choice = rows, choice

    def row(self, number: int) -> Tensor:
        scores = self.rows[number].float()
        return scores[self.choice[number], torch.arange(scores.shape[1])]


@torch.no_grad()
def measured(segmenters: list[Segmenter], sample: Sample, weights: Tensor) -> Measured:
    """What every field costs at every location of an image."""
    images = [fed_with(segmenter, field, sample) for field, segmenter in enumerate(segmenters)]
    lattice, sampler = images[0].foveation.lattice, images[0].sampler
    rows, weighed, plain = [], [], []
    for number in range(lattice.shape[0]):
        scores = torch.stack([image.row(number) for image in images])
        places = lattice.places[number]
        smallest = torch.zeros(len(places), dtype=torch.int64)
        grids, inside = sampler.fields_at(places, sample.size, smallest)
        truth = sample_at(sample.labels, grids[:, 0], mode="nearest").long()
        truth = truth.masked_fill(~inside[:, 0], IGNORED)
        counted = truth != IGNORED
        target = truth.where(counted, torch.zeros_like(truth))
        picked = scores.gather(-1, target[None, ..., None].expand(*scores.shape[:-1], 1))[..., 0]
        losses = -picked.clamp_min(1e-12).log()
        weighed.append((losses * weights[target] * counted).flatten(2).mean(2))
        plain.append((losses * counted).flatten(2).mean(2))
        rows.append(scores.half())
    size = tuple(-(-side // SHRINK) for side in sample.size)
    pixels = sample_at(sample.pyramid, uniform_grid(size), antialias=True)
    overview = segmenters[0].normalise(pixels, [sample.pyramid])[0].contiguous()
    y, x = (
        (torch.from_numpy(lattice.numbers(axis)).float() + 0.5) / lattice.thumbnail[axis] * 2 - 1
        for axis in (0, 1)
    )
    places = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)[None]
    return Measured(overview, torch.stack(weighed, 1), torch.stack(plain, 1), places, images, rows)


def at_places(answer: Tensor, image: Measured) -> Tensor:
    """(D, h, w) of the overview to (D, R, C) at the locations."""
    return F.grid_sample(answer[None], image.places, align_corners=False, padding_mode="border")[0]


@torch.no_grad()
def choice_of(net: nn.Module, image: Measured) -> Tensor:
    """(R, C) the field that is chosen at each location."""
    return at_places(net(image.overview[None])[0].float(), image).argmax(0)


def regret(images: list[Measured], choice: Callable[[Measured], Tensor]) -> float:
    """The mean loss above that of the best field."""
    excess = [image.losses.gather(0, choice(image)[None])[0] - image.losses.min(0).values for image in images]
    return float(torch.cat([one.flatten() for one in excess]).mean())


def learned(train: list[Measured], val: list[Measured], name: str, seed: int) -> tuple[nn.Module, list[dict]]:
    """The net with the least regret on the validation images, and its way there."""
    torch.manual_seed(seed)
    net = build_network(name, FIELDS)
    optimizer = torch.optim.AdamW(net.parameters(), 4e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, STEPS)
    best, way = (float("inf"), net.state_dict()), []
    for step in range(1, STEPS + 1):
        net.train()
        losses = []
        flips = [(torch.rand(2) < 0.5).tolist() for _ in range(BATCH)]
        drawn = [train[number] for number in torch.randint(len(train), (BATCH,)).tolist()]
        light = [(1 + 0.2 * torch.randn(3, 1, 1), 0.2 * torch.randn(3, 1, 1)) for _ in drawn]
        axes = [[axis + 1 for axis, flip in enumerate(both) if flip] for both in flips]
        seen = [one.overview.flip(turn) * a + b for one, turn, (a, b) in zip(drawn, axes, light, strict=True)]
        for answer, image, turn in zip(net(torch.stack(seen)).float(), drawn, axes, strict=True):
            here = at_places(answer.flip(turn), image).log_softmax(0).flatten(1).T
            losses.append(expected_regret(here, image.losses.flatten(1).T))
        optimizer.zero_grad()
        torch.stack(losses).mean().backward()
        optimizer.step()
        schedule.step()
        if step % LOOK == 0:
            net.eval()
            both = [regret(images, lambda image: choice_of(net, image)) for images in (train, val)]
            way.append({"step": step, "train_regret": both[0], "val_regret": both[1]})
            print(way[-1], flush=True)
            if both[1] < best[0]:
                best = both[1], {key: value.clone() for key, value in net.state_dict().items()}
    net.load_state_dict(best[1])
    return net.eval(), way


def scores(net: nn.Module, images: list[Measured], samples: list[Sample], names: tuple[str, ...]) -> dict:
    """mIoU at full resolution of the learned choice, the oracle's, and each field everywhere."""
    counts: dict[str, Tensor] = {}
    picks = torch.zeros(FIELDS)
    for image, sample in zip(images, samples, strict=True):
        chosen = choice_of(net, image)
        picks += torch.bincount(chosen.flatten(), minlength=FIELDS)
        ways = {"learned": chosen, "oracle": image.plain.argmin(0)}
        ways |= {f"field{field}": torch.full_like(chosen, field) for field in range(FIELDS)}
        for name, choice in ways.items():
            strips = Chosen(image.images[0], image.rows, choice).strips(ROWS_AT_ONCE)
            predicted = torch.from_numpy(np.concatenate([strip.labels for strip in strips]))[None]
            found = confusion_matrix(predicted, sample.labels, len(names), IGNORED)
            counts[name] = counts.get(name, 0) + found
    table = {name: {"miou": float(miou(count)), "iou": iou(count).tolist()} for name, count in counts.items()}
    return {"picks": (picks / picks.sum()).tolist(), **table}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, help="of benchmarks/foveation.py")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--net", default="small:8", help="that chooses, by its name")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cache = SampleCache()
    data: DataFolder = open_data(options.data, on_decoded=cache.keep)
    loaded = [load_run(options.runs / f"fixed{n}_aligned_s{options.seed}") for n in range(FIELDS)]
    segmenters = [run.segmenter for run in loaded]
    weights = torch.tensor(loaded[0].config.loss.class_weights)
    samples = {split: list(cache.iterate(data, data.split(split))) for split in ("train", "val", "test")}
    images = {split: [measured(segmenters, one, weights) for one in some] for split, some in samples.items()}
    alone = {
        split: [
            regret(some, lambda image, n=n: torch.full_like(image.losses[0], n).long()) for n in range(FIELDS)
        ]
        for split, some in images.items()
    }
    net, way = learned(images["train"], images["val"], options.net, options.seed)
    found: dict[str, Any] = {"seed": options.seed, "regret_of_each_field": alone, "way": way}
    for split in ("val", "test"):
        found[split] = scores(net, images[split], samples[split], data.classes.names)
        print(split, json.dumps(found[split]), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
