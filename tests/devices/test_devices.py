"""Nothing mixes devices, and all answers are the CPU's: whole paths on a device that the CPU pretends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from pretended import Pretended, pretending
from torch import Tensor

import saccade
from saccade import grids
from saccade.data import SampleCache, open_data
from saccade.data.scenes import make_scenes
from saccade.evaluation import evaluate
from saccade.geometry import Tiling
from saccade.networks.evaluation_mode import evaluating
from saccade.runtime.devices import lightning_device
from saccade.samplers.image_scores import TileRequest
from saccade.segmenter import Segmenter
from saccade.sources import MemorySource
from saccade.training import loop, read_config
from saccade.training.task import SegmentationTask, on_the_side
from saccade.warp import Pyramid


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    with pretending(monkeypatch) as place:
        yield place


def labels_of(height: int = 48, width: int = 64) -> Tensor:
    labels = torch.zeros(1, height, width, dtype=torch.uint8)
    labels[:, 10:30, 20:50], labels[:, 25:40, 5:30] = 1, 2
    labels[:, :3] = 255
    return labels


def values(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


GRID = saccade.elastic_grid(values(1, 1, 9, 12, seed=1) ** 4)
INNER = 0.8 * GRID
"""Leaves a margin of the image out."""

OPERATORS: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "attraction_grid": (lambda d: saccade.attraction_grid(d, (7, 9)), (values(1, 1, 12, 16),)),
    "elastic_grid": (lambda d: saccade.elastic_grid(d, (7, 9)), (values(1, 1, 12, 16),)),
    "boundary_energy_minimiser": (grids.boundary_energy_minimiser, (GRID.double(),)),
    "boundary_grid": (lambda m: saccade.boundary_grid(m, (7, 9)), (labels_of(),)),
    "edge_density": (lambda m: saccade.edge_density(m, (7, 9), weights=[1.0, 2.0, 3.0]), (labels_of(),)),
    "footprints": (lambda g: grids.footprints(g, (40, 50)), (GRID,)),
    "unfold_grid": (lambda g: grids.unfold_grid(g.flip(2)), (GRID,)),
    "resize_grid": (lambda g: grids.resize_grid(g, (5, 20)), (GRID,)),
    "folds": (lambda g: grids.folds(g).cells, (GRID.flip(2),)),
    "covers": (lambda g: grids.covers(g).gaps, (GRID,)),
    "patch_grids": (lambda c: grids.patch_grids(c, [8, 20], (4, 4), (48, 64))[0], (GRID[0, 0],)),
    "samples_per_region": (lambda g, m: grids.samples_per_region(g, m), (GRID, labels_of())),
    "pyramid": (lambda i: Pyramid.of(i).rest, (values(1, 3, 37, 53),)),
    "pyramid of bytes": (lambda i: Pyramid.of(i).rest, ((values(1, 3, 37, 53) * 255).byte(),)),
    "sample": (saccade.sample, (values(1, 3, 48, 64), GRID)),
    "sample, averaged": (lambda i, g: saccade.sample(i, g, antialias=True), (values(1, 3, 48, 64), GRID)),
    "sample, nearest": (lambda i, g: saccade.sample(i, g, mode="nearest"), (values(1, 3, 48, 64), GRID)),
    "unwarp": (lambda v, g: saccade.unwarp(v, g.detach(), (48, 64)), (values(1, 2, 9, 12), GRID)),
    "unwarp, holes": (lambda v, g: saccade.unwarp(v, g.detach(), (48, 64)), (values(1, 2, 9, 12), INNER)),
    "unwarp, nearest": (
        lambda v, g: saccade.unwarp(v, g.detach(), (48, 64), mode="nearest"), (values(1, 2, 9, 12), GRID),
    ),
    "unwarp_labels": (lambda v, g: saccade.unwarp_labels(v, g, (48, 64)), (values(1, 5, 9, 12), GRID)),
    "labels, holes": (lambda v, g: saccade.unwarp_labels(v, g, (48, 64)), (values(1, 5, 9, 12), INNER)),
    "unwarp_labels, nearest": (
        lambda v, g: saccade.unwarp_labels(v, g, (48, 64), mode="nearest"), (values(1, 5, 9, 12), GRID),
    ),
}  # fmt: skip


def answer(operator: Callable[..., Tensor], arguments: tuple[Tensor, ...]) -> tuple[Tensor, list[Tensor]]:
    """What an operator gives, and the gradients of what can have one."""
    leaves = [one.clone().requires_grad_() if one.is_floating_point() else one for one in arguments]
    out = operator(*leaves)
    if not out.requires_grad:
        return out, []
    out.square().sum().backward()
    return out.detach(), [leaf.grad for leaf in leaves if leaf.grad is not None]


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_stays_on_its_device_and_says_what_the_cpu_says(name: str, device: torch.device) -> None:
    operator, arguments = OPERATORS[name]
    expected, wanted = answer(operator, arguments)
    out, gradients = answer(operator, tuple(one.to(device) for one in arguments))
    assert isinstance(out, Pretended) and all(isinstance(one, Pretended) for one in gradients)
    assert out.dtype == expected.dtype
    torch.testing.assert_close(out.held, expected, rtol=1e-5, atol=1e-5)
    assert len(gradients) == len(wanted)
    for found, one in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(found.held, one, rtol=1e-4, atol=1e-5)


def test_a_mixture_is_refused(device: torch.device) -> None:
    here, there = torch.ones(3), torch.ones(3, device=device)
    for mixed in (lambda: here + there, lambda: torch.stack([here, there]), lambda: there[here > 0] * here):
        with pytest.raises(RuntimeError, match="mixes devices"):
            mixed()
    with pytest.raises(TypeError, match="numpy"):
        there.numpy()
    assert (there * torch.tensor(2.0))[torch.tensor([0, 2])].tolist() == [2, 2]
    with pytest.raises(saccade.errors.InvalidInput, match="on the device"):
        saccade.sample(torch.rand(1, 3, 8, 8), saccade.uniform_grid((2, 2), device=device))


SAMPLERS = {
    "uniform": [],
    "oracle": [],
    "deformation": [],
    "deformation, many budgets": ["sampler.size=6x8..10x14"],
    "deformation, attraction": ["sampler.grid=attraction", "sampler.net=null", "loss.through_grid=true"],
    "boundary": ["boundary.width=4"],
    "foveation": ["foveation.bank=[12, 20]", "foveation.shrink=4", "sampler.size=8x8"],
    "foveation, gumbel": [
        "foveation.bank=[12, 20]",
        "foveation.shrink=4",
        "sampler.size=8x8",
        "foveation.estimator=gumbel",
    ],
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scenes(tmp_path_factory.mktemp("scenes") / "data", count=(2, 1, 1), size=(32, 48), seed=1)


def made(name: str, scenes: Path) -> tuple[SegmentationTask, dict[str, loop.Samples]]:
    common = ["sampler.size=8x12", "network.name=small:4", "training.batch_size=2"]
    options = [f"sampler.name={name.split(',')[0]}", *common, *SAMPLERS[name]]
    data = open_data(scenes)
    job = loop.Job(data, Path(), loop.resolve(read_config(overrides=options), data), goes_on=False)
    task, samples, _, _ = loop._made(job, lightning_device("cpu"), SampleCache())
    return task, samples


def step(task: SegmentationTask, batch: list, device: torch.device | str) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and gradients of a step of training."""
    with on_the_side(task, device):
        torch.manual_seed(0)
        loss = task.training_step(batch, 0)
        if loss.requires_grad:
            loss.backward()
        gradients = {name: one.grad.cpu() for name, one in task.named_parameters() if one.grad is not None}
        assert loss.device.type == torch.device(device).type
        return loss.detach().cpu(), gradients


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_step_of_training(name: str, scenes: Path, device: torch.device) -> None:
    task, samples = made(name, scenes)
    batch = [samples["train"][0], samples["train"][1]]
    loss, wanted = step(task, batch, "cpu")
    found, gradients = step(task, batch, device)
    torch.testing.assert_close(found, loss, rtol=1e-4, atol=1e-5)
    assert wanted.keys() == gradients.keys() and wanted
    for parameter, gradient in gradients.items():
        torch.testing.assert_close(gradient, wanted[parameter], rtol=1e-3, atol=1e-4)


def assert_nearly_equal(found: Tensor, expected: Tensor) -> None:
    assert (found != expected).double().mean() < 0.005


@pytest.mark.parametrize("name", SAMPLERS)
def test_images_are_segmented_and_predicted_in_tiles(name: str, scenes: Path, device: torch.device) -> None:
    task, samples = made(name, scenes)
    segmenter, sample = task.segmenter.eval(), samples["val"][0]
    labels = sample.labels if segmenter.sampler.sees_labels else None
    expected = segmenter.segment(sample.pyramid, labels)
    tiles = None if labels is not None else tiled(segmenter, sample.pyramid, len(task.class_names))
    segmenter.to(device)
    for image in (sample.pyramid, sample.pyramid.to(device)):
        found = segmenter.segment(image, labels)
        assert_nearly_equal(found.labels.cpu(), expected.labels)
        assert found.picture().shape == expected.picture().shape and found._repr_html_()
    if tiles is not None:
        assert_nearly_equal(tiled(segmenter, sample.pyramid, len(task.class_names)), tiles)


@pytest.mark.parametrize("name", ["deformation", "oracle"])
def test_images_are_evaluated(
    name: str, scenes: Path, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saccade.metrics.cost.seconds_of", lambda call, device: float(call() is None))
    task, samples = made(name, scenes)
    segmenter, sample = task.segmenter.eval(), samples["val"][0]
    scores = evaluate(segmenter, [sample], task.class_names)
    again = evaluate(segmenter, [sample], task.class_names, device=device)
    assert (again.confusion - scores.confusion).abs().sum() < 0.01 * scores.confusion.sum()


def tiled(segmenter: Segmenter, pyramid: Pyramid, classes: int) -> Tensor:
    """(H, W) labels, read tile by tile."""
    request = TileRequest(
        Tiling(pyramid.size, (24, 24), 0.25), classes, segmenter.sampler.size, keep_grids=True
    )
    with evaluating(segmenter) as twin:
        bands = list(twin.rows_of(MemorySource(pyramid), request).strips(16, scores=True))
    return torch.cat([torch.from_numpy(band.labels) for band in bands])
