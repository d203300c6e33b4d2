"""Checks a GPU against the CPU, and times it: operators, samplers, training, prediction.

    python benchmarks/gpu.py [--json FILE]       every check and every timing on the GPU
    python benchmarks/gpu.py --quick             small sizes, a small network
    python benchmarks/gpu.py --device cpu        the tensor code that a GPU runs, against the kernels

Not named cuda.py: that would hide NVIDIA's package of the name from PyTorch, in every benchmark here.
Exit code 0: all checks passed; 1: one failed; 2: there is no such device.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

import saccade
from harness import Case, Outcome, current_commit, measure, show, surroundings
from operators_warp import deformed, photograph, regions
from saccade import grids
from saccade.data import SampleCache, open_data
from saccade.data.scenes import make_scenes
from saccade.networks import build_network
from saccade.runtime.devices import lightning_device
from saccade.segmenter import Segmenter
from saccade.training import loop, read_config
from saccade.training.task import SegmentationTask, on_the_side
from saccade.warp import Pyramid
from saccade.warp.device_halvings import halvings_on_device
from saccade.warp.device_sampling import averaged_on_device, bilinear_on_device, nearest_on_device
from saccade.warp.device_unwarping import unwarp_labels_on_device, unwarp_on_device

SAMPLERS = {
    "uniform": [],
    "oracle": [],
    "deformation": [],
    "deformation, attraction": ["sampler.grid=attraction", "sampler.net=null", "loss.through_grid=true"],
    "boundary": [],
    "foveation": ["foveation.bank=[12, 20]", "foveation.shrink=4", "sampler.size=8x8"],
}
LABELS_APART = 1e-4
"""Share of the pixels whose scores may be equal but for rounding."""
OVERHEAD = 0.05
"""What sampling and unwarping may add to the network's time, with HRNetV2-W48."""

Operator = tuple[Callable[..., Tensor], Callable[..., Tensor], tuple[Tensor, ...], float]


@dataclass(frozen=True)
class Check:
    """One comparison: the largest difference (or share of pixels) found, and what is allowed."""

    name: str
    found: float
    allowed: float
    error: str = ""

    @property
    def passed(self) -> bool:
        return not self.error and self.found <= self.allowed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu (default cuda)")
    parser.add_argument("--quick", action="store_true", help="small sizes, a small network, few steps")
    parser.add_argument("--json", type=Path, help="where figures are written")
    args = parser.parse_args()
    if args.device != "cpu" and not torch.cuda.is_available():
        print(f"no CUDA device: PyTorch {torch.__version__} finds none; --device cpu checks the tensor code")
        return 2
    device, console = torch.device(args.device), Console()
    found = [*operator_checks(device, args.quick)]
    with tempfile.TemporaryDirectory() as folder:
        console.print(f"{len(found)} checks of operators done; samplers, training, prediction", style="dim")
        found += program_checks(device, Path(folder))
    show_checks(found, console)
    peaks = device_peaks(device)
    outcomes = timings(device, args.quick, peaks, console)
    steps = training_times(device, args.quick)
    show(outcomes, console)
    for name, value in steps.items():
        console.print(f"{name}: {value:.4g}")
    where = surroundings(peaks)
    where["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else where["device"]
    if args.json is not None:
        text = {
            "measured_on": where, "commit": current_commit(), "quick": args.quick, "device": str(device),
            "checks": [{**asdict(one), "passed": one.passed} for one in found],
            "timings": [asdict(one) for one in outcomes], "training": steps,
        }  # fmt: skip
        args.json.write_text(json.dumps(text, indent=1) + "\n")
    failed = [one.name for one in found if not one.passed]
    console.print(
        f"{len(found) - len(failed)} of {len(found)} checks passed" + "".join(f"\n  {n}" for n in failed)
    )
    return 1 if failed else 0


def operators(device: torch.device, quick: bool) -> dict[str, Operator]:
    """What the device runs, what the CPU's kernels run, arguments, and how far apart they may be."""
    cells, size = ((16, 32), (128, 256)) if quick else ((64, 128), (1024, 2048))
    place, on_cpu = (0, size[0], 0, size[1]), device.type == "cpu"
    grid, image = deformed(cells), photograph(*size)
    floats, scores = image.float() / 255, regions(19, cells)
    noise = torch.rand(1, 1, *cells, generator=torch.Generator().manual_seed(0))
    labels = scores.argmax(1)
    half = 0.8 * grid

    def pair(ours: Callable[..., Tensor], kernels: Callable[..., Tensor]) -> tuple[Any, Any]:
        return (ours if on_cpu else kernels), kernels

    def averaged(i: Tensor, g: Tensor) -> Tensor:
        base = i.permute(0, 2, 3, 1)
        return averaged_on_device(base, halvings_on_device(base), g)

    def unwarped(linear: bool) -> tuple[Any, Any]:
        mode = "linear" if linear else "nearest"
        return pair(
            lambda v, g: unwarp_on_device(v, g, size, place, linear=linear),
            lambda v, g: saccade.unwarp(v, g.detach(), size, mode=mode),
        )

    def labelled(linear: bool) -> tuple[Any, Any]:
        mode = "linear" if linear else "nearest"
        return pair(
            lambda v, g: unwarp_labels_on_device(v, g, size, place, linear=linear),
            lambda v, g: saccade.unwarp_labels(v, g, size, mode=mode),
        )

    def same(function: Callable[..., Tensor]) -> tuple[Any, Any]:
        return function, function

    pixels = pair(lambda i, g: bilinear_on_device(i.permute(0, 2, 3, 1), g), saccade.sample)
    nearest = pair(nearest_on_device, lambda i, g: saccade.sample(i, g, mode="nearest"))
    means = pair(averaged, lambda i, g: saccade.sample(i, g, antialias=True))
    levels = pair(lambda i: halvings_on_device(i.permute(0, 2, 3, 1)), lambda i: Pyramid.of(i).rest)
    return {
        "pyramid of bytes": (*levels, (image,), 0.0),
        "pyramid of floats": (*levels, (floats,), 1e-6),
        "sample, bilinear": (*pixels, (floats, grid), 1e-5),
        "sample, anti-aliased": (*means, (floats, grid), 1e-5),
        "sample, nearest": (*nearest, (image, grid), 0.0),
        "unwarp, linear": (*unwarped(True), (scores[:, :3], grid), 1e-5),
        "unwarp, linear, margin": (*unwarped(True), (scores[:, :3], half), 1e-5),
        "unwarp, nearest": (*unwarped(False), (scores[:, :3], grid), 0.0),
        "unwarp_labels, linear": (*labelled(True), (scores, grid), 0.0),
        "unwarp_labels, linear, half precision": (*labelled(True), (scores.half(), grid), 0.0),
        "unwarp_labels, linear, margin": (*labelled(True), (scores, half), 0.0),
        "unwarp_labels, nearest": (*labelled(False), (scores, grid), 0.0),
        "attraction_grid": (*same(saccade.attraction_grid), (noise,), 1e-4),
        "elastic_grid": (*same(saccade.elastic_grid), (noise,), 1e-3),
        "edge_density": (*same(lambda m: saccade.edge_density(m, (12, 24))), (labels,), 1e-5),
        "boundary_grid": (*same(lambda m: saccade.boundary_grid(m, (12, 24))), (labels,), 1e-3),
        "footprints": (*same(lambda g: grids.footprints(g, size)), (grid,), 1e-3),
        "unfold_grid": (*same(lambda g: grids.unfold_grid(g.flip(2))), (grid,), 1e-5),
    }  # fmt: skip


def operator_checks(device: torch.device, quick: bool) -> Iterator[Check]:
    """Values and gradients of each operator; gradients relative to the largest."""
    for name, (ours, kernels, arguments, allowed) in operators(device, quick).items():
        try:
            found, gradients = answer(ours, [one.to(device) for one in arguments])
            expected, wanted = answer(kernels, list(arguments))
            if found.device.type != device.type:
                yield Check(name, 0.0, allowed, f"the answer is on {found.device}")
                continue
            found = found.cpu()
            apart = (found.double() - expected.double()).abs().max().item()
            if "labels" in name:
                # On another processor sums of equal terms may round otherwise where two scores are equal.
                apart = (found != expected).double().mean().item()
                allowed = 0.0 if device.type == "cpu" else LABELS_APART
            yield Check(name, apart, allowed)
            for number, (one, other) in enumerate(zip(gradients, wanted, strict=True)):
                scale = max(other.abs().max().item(), 1e-12)
                gap = (one.cpu() - other).abs().max().item() / scale
                yield Check(f"{name}, gradient {number}", gap, 1e-3)
        except Exception as error:
            yield Check(name, 0.0, allowed, f"{type(error).__name__}: {error}"[:200])


def answer(function: Callable[..., Tensor], arguments: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    leaves = [
        one.detach().requires_grad_() if one.dtype in (torch.float32, torch.float64) else one
        for one in arguments
    ]
    out = function(*leaves)
    if not out.requires_grad:
        return out, []
    weights = torch.rand(out.shape, generator=torch.Generator().manual_seed(1)).to(out.device)
    (out * weights).sum().backward()
    return out.detach(), [leaf.grad for leaf in leaves if leaf.grad is not None]


def program_checks(device: torch.device, folder: Path) -> Iterator[Check]:
    """A step of training with each sampler; a training, and its predictions, whole and in tiles."""
    scenes = make_scenes(folder / "scenes", count=(4, 2, 1), size=(48, 64), seed=1)
    for name, options in SAMPLERS.items():
        try:
            task, batch = made(scenes, [f"sampler.name={name.split(',')[0]}", "sampler.size=8x12", *options])
            (loss, wanted), (found, gradients) = (
                step(task, batch, torch.device("cpu")),
                step(task, batch, device),
            )
            yield Check(f"training step, {name}: loss", abs(found - loss) / abs(loss), 1e-3)
            apart = (gradients - wanted).norm() / wanted.norm().clamp_min(1e-12)
            yield Check(f"training step, {name}: gradient", apart.item(), 1e-2)
            yield from segment_checks(name, task.segmenter, batch[0], device)
        except Exception as error:
            yield Check(f"sampler {name}", 0.0, 0.0, f"{type(error).__name__}: {error}"[:200])
    try:
        yield from run_checks(device, scenes, folder)
    except Exception as error:
        yield Check("training and prediction", 0.0, 0.0, f"{type(error).__name__}: {error}"[:200])


def made(scenes: Path, options: list[str]) -> tuple[SegmentationTask, list[Any]]:
    """What is trained, in float32, and a batch of two."""
    common = ["network.name=small:8", "training.batch_size=2"]
    data = open_data(scenes)
    job = loop.Job(
        data, Path(), loop.resolve(read_config(overrides=[*common, *options]), data), goes_on=False
    )
    task, samples, _, _ = loop._made(job, lightning_device("cpu"), SampleCache())
    return task, [samples["train"][0], samples["train"][1]]


def step(task: SegmentationTask, batch: list[Any], device: torch.device) -> tuple[float, Tensor]:
    with on_the_side(task, device):
        torch.manual_seed(0)
        loss = task.training_step(batch, 0)
        loss.backward()
        each = [one.grad.flatten().cpu() for one in task.parameters() if one.grad is not None]
        return loss.item(), torch.cat(each)


def segment_checks(name: str, segmenter: Segmenter, sample: Any, device: torch.device) -> Iterator[Check]:
    labels = sample.labels if segmenter.sampler.sees_labels else None
    segmenter.eval()
    expected = segmenter.segment(sample.pyramid, labels).labels
    found = segmenter.to(device).segment(sample.pyramid.to(device), labels).labels.cpu()
    segmenter.cpu()
    # Untrained scores lie close together, and a sampler's own grid moves by rounding: a few pixels change.
    yield Check(f"segment, {name}", (found != expected).double().mean().item(), 0.005)


def run_checks(device: torch.device, scenes: Path, folder: Path) -> Iterator[Check]:
    """Trains on the device, predicts on it and on the CPU."""
    options = ["sampler.size=16x24", "network.name=small:8", "training.epochs=2", "training.batch_size=2"]
    run = folder / "run"
    loop.train(open_data(scenes), run, read_config(overrides=options), device=str(device))
    images = scenes / "images"
    for way in ({"mode": "whole"}, {"mode": "tiles", "tile": (24, 32)}):
        labels: list[list[Any]] = []
        for place in ("cpu", str(device)):
            out = folder / f"out_{way['mode']}_{len(labels)}"
            saccade.predict(run, images, out, device=place, progress=False, **way)
            labels.append([read_labels(file) for file in sorted(out.glob("*.png"))])
        apart = [(one != other).mean() for one, other in zip(*labels, strict=True)]
        yield Check(f"trained on {device}, predicted, {way['mode']}", float(np.mean(apart)), 0.005)


def read_labels(file: Path) -> Any:
    from PIL import Image

    with Image.open(file) as image:
        return np.asarray(image)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def times_of(device: torch.device, call: Callable[[], object]) -> list[float]:
    """Seconds of eight calls after two."""
    times = []
    for _ in range(10):
        wait(device)
        begun = time.perf_counter()
        call()
        wait(device)
        times.append(time.perf_counter() - begun)
    return times[2:]


def device_peaks(device: torch.device) -> dict[str, float]:
    """MB that a copy writes, and GFLOP of a float32 product, in a second: of this card."""
    block = torch.zeros(1 << 26, dtype=torch.uint8, device=device)
    target, matrix = (
        torch.empty_like(block),
        torch.rand(2048 if device.type == "cuda" else 512, 2048, device=device),
    )

    copied = min(times_of(device, lambda: target.copy_(block)))
    flop = 2 * matrix.shape[0] ** 2 * matrix.shape[1] / 1e9
    return {
        "mb_per_second": block.numel() / 1e6 / copied,
        "gflop_per_second": flop / min(times_of(device, lambda: matrix @ matrix.T)),
    }


def resized_labels(scores: Tensor, size: tuple[int, int]) -> Tensor:
    return interpolate(scores, size, mode="bilinear", align_corners=True).argmax(1)


def timings(device: torch.device, quick: bool, peaks: dict[str, float], console: Console) -> list[Outcome]:
    sizes = [((64, 128), (1024, 2048), 19), ((300, 300), (2448, 2448), 7)]
    cases = []
    for cells, size, classes in [((16, 32), (128, 256), 5)] if quick else sizes:
        scores, grid = regions(classes, cells).to(device), deformed(cells).to(device)
        image = photograph(*size).float().to(device)
        pyramid = Pyramid.of(image)
        name, place = f"{cells[0]}x{cells[1]}, {size[0]}x{size[1]}, K = {classes}", (0, size[0], 0, size[1])
        cases += [
            Case(
                f"unwarp_labels {name}",
                synced(device, partial(unwarp_labels_on_device, scores, grid, size, place, linear=True)),
                "interpolate + argmax",
                synced(device, partial(resized_labels, scores, size)),
                f"{size[0] * size[1] / 1e6:.3g} MB written", None,
            ),
            Case(
                f"sample, anti-aliased {name}",
                synced(device, lambda q=pyramid, g=grid: averaged_on_device(q.base, q.rest, g)),
                "grid_sample",
                synced(device, lambda i=image, g=grid: grid_sample(i, g, align_corners=True)),
                f"{12 * cells[0] * cells[1] / 1e6:.3g} MB written", None,
            ),
        ]  # fmt: skip
    outcomes = [measure(case, 5, peaks, current_commit()) for case in cases]
    for one in outcomes:
        if one.name.startswith("unwarp_labels"):
            rate = float(one.limit.split()[0]) / 1e3 / one.ours
            console.print(
                f"{one.name}: {rate:.3g} GB/s; a copy here writes {peaks['mb_per_second'] / 1e3:.3g} GB/s"
            )
    return outcomes


def synced(device: torch.device, call: Callable[[], object]) -> Callable[[], object]:
    def run() -> None:
        call()
        wait(device)

    return run


def training_times(device: torch.device, quick: bool) -> dict[str, float]:
    """Seconds of a step at 64x128, and what sampling and unwarping add to a prediction of 1024x2048."""
    network_name, size, side = (
        ("small:8", (16, 32), (128, 256)) if quick else ("hrnetv2:w48", (64, 128), (1024, 2048))
    )
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        scenes = make_scenes(
            Path(folder) / "scenes", count=(4, 2, 1), size=(side[0] // 2, side[1] // 2), seed=1
        )
        for sampler in ("uniform", "deformation"):
            options = [
                f"sampler.name={sampler}",
                f"sampler.size={size[0]}x{size[1]}",
                f"network.name={network_name}",
            ]
            task, batch = made(scenes, [*options, "network.pretrained=false"] if not quick else options)
            with on_the_side(task, device):
                steps = times_of(
                    device, lambda task=task, batch=batch: task.training_step(batch, 0).backward()
                )
                found[f"training step, {network_name}, {sampler}, seconds"] = statistics.median(steps)
    torch.manual_seed(0)
    network = build_network(network_name, 19) if quick else build_network(network_name, 19, pretrained=False)
    image = Pyramid.of(photograph(*side).to(device))
    for name, sampler in (
        ("uniform", saccade.UniformSampler(size)),
        ("deformation", saccade.DeformationSampler(size)),
    ):
        segmenter = Segmenter(sampler, network, classes=19).to(device).eval()
        pixels = torch.rand(1, 3, *size, device=device)
        with torch.no_grad():
            alone = statistics.median(times_of(device, lambda s=segmenter, x=pixels: s.score(x)))
            whole = statistics.median(times_of(device, lambda s=segmenter: s.segment(image)))
        found[f"prediction, {network_name}, {name}, seconds"] = whole
        found[f"prediction, {network_name}, {name}, added to the network (wanted {OVERHEAD})"] = (
            whole / alone - 1
        )
    return found


def show_checks(checks: list[Check], console: Console) -> None:
    table = Table(title="the device against the CPU")
    for column in ("check", "apart", "allowed", ""):
        table.add_column(column, justify="left" if column in ("check", "") else "right")
    for one in checks:
        colour = "green" if one.passed else "red"
        mark = one.error or ("same" if one.passed else "differs")
        table.add_row(one.name, f"{one.found:.3g}", f"{one.allowed:.3g}", f"[{colour}]{mark}[/]")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
