"""The boundary grid: nearest boundaries against k-d tree and twin, and what the whole promises."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from saccade.errors import InvalidInput
from saccade.grids import (
    boundary,
    boundary_grid,
    boundary_targets,
    boundary_targets_reference,
    covers,
    uniform_grid,
)


def in_pixels(grid: torch.Tensor, height: int, width: int) -> np.ndarray:
    return ((grid.double() + 1) / 2 * torch.tensor([width - 1, height - 1])).numpy()


def boundary_pixels(labels: np.ndarray, classes=None, ignore=255) -> np.ndarray:
    """(N, 2) (x, y) of the pixels that differ from a 4-neighbour, one pixel at a time."""
    height, width = labels.shape
    found = []
    for y, x in np.ndindex(height, width):
        for v, u in ((y, x + 1), (y, x - 1), (y + 1, x), (y - 1, x)):
            if not (0 <= v < height and 0 <= u < width):
                continue
            a, b = int(labels[y, x]), int(labels[v, u])
            if a != b and ignore not in (a, b) and (classes is None or a in classes or b in classes):
                found.append((x, y))
                break
    return np.array(found).reshape(-1, 2)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 18),
    st.integers(1, 18),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 99),
    st.booleans(),
)
def test_targets_are_the_nearest_boundary_pixels(height, width, rows, columns, seed, some):
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(1, height, width, generator=generator) ** 6 * 4).to(torch.uint8)
    labels[torch.rand(labels.shape, generator=generator) < 0.05] = 255
    classes = [1, 3] if some else None
    points = boundary_pixels(labels[0].numpy(), classes)
    targets = boundary_targets(labels, (rows, columns), classes=classes)
    nodes = in_pixels(uniform_grid((rows, columns)), height, width)[0]
    if not len(points):
        np.testing.assert_allclose(targets[0], uniform_grid((rows, columns))[0], atol=1e-6)
        return
    chosen = in_pixels(targets, height, width)[0]
    tree = cKDTree(points)
    assert tree.query(chosen.reshape(-1, 2))[0].max() < 1e-6
    distances = np.linalg.norm(chosen - nodes, axis=-1).ravel()
    np.testing.assert_allclose(distances, tree.query(nodes.reshape(-1, 2))[0], atol=1e-5)


def test_on_whole_pixels_distances_are_those_of_the_distance_transform(make_labels):
    labels = make_labels(1, 40, 60)
    points = boundary_pixels(labels[0].numpy())
    outside = np.ones((40, 60), bool)
    outside[points[:, 1], points[:, 0]] = False
    chosen = in_pixels(boundary_targets(labels, (40, 60)), 40, 60)[0]
    nodes = np.stack(np.meshgrid(np.arange(60), np.arange(40)), axis=-1)
    np.testing.assert_allclose(
        np.linalg.norm(chosen - nodes, axis=-1), distance_transform_edt(outside), atol=1e-5
    )


@pytest.mark.parametrize("classes", [None, [2], [1, 5]])
def test_targets_are_as_near_as_those_of_the_twin(make_labels, classes):
    labels = make_labels(3, 50, 37, seed=3)
    nodes = uniform_grid((11, 13), 3).double()
    sides = torch.tensor([36, 49])
    near, twin = (
        ((find(labels, (11, 13), classes=classes) - nodes) * sides).norm(dim=-1)
        for find in (boundary_targets, boundary_targets_reference)
    )
    torch.testing.assert_close(near, twin, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(11, 13), (1, 1), (1, 20), (49, 36), (60, 50)])
@pytest.mark.parametrize("classes", [None, [2], [7]])
def test_what_a_gpu_runs_gives_the_pixels_of_the_kernels(make_labels, classes, size, monkeypatch):
    monkeypatch.setattr(boundary, "PIECE", 3000)
    labels = make_labels(3, 50, 37, seed=3)
    labels[2] = 4
    chosen = boundary.ANY if classes is None else np.array(classes)
    ours = boundary.find_on_device(labels, size, chosen, 255)
    expected = boundary_targets(labels, size, classes=classes)
    nodes, sides = uniform_grid(size, 3).double(), torch.tensor([36, 49])
    away = [((near - nodes) * sides).norm(dim=-1) for near in (ours, expected)]
    torch.testing.assert_close(*away, atol=1e-9, rtol=0)
    other = ((ours - expected) * sides).abs().amax(-1) > 1e-9
    assert (other & ((away[0] - away[1]).abs() > 1e-12)).sum() == 0  # only of pixels equally near


@pytest.mark.parametrize("value", [0, 9, 255])
def test_no_boundary_gives_the_uniform_grid(value):
    labels = torch.full((2, 30, 20), value, dtype=torch.uint8)
    torch.testing.assert_close(boundary_grid(labels, (6, 9)), uniform_grid((6, 9), 2), atol=1e-6, rtol=0)
    other = torch.arange(20).expand(1, 30, 20) // 10
    torch.testing.assert_close(
        boundary_grid(other, (6, 9), classes=[7]), uniform_grid((6, 9)), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("size", [(8, 8), (9, 30), (1, 6), (6, 1), (1, 1), (2, 2)])
def test_the_grid_covers_the_image_and_stays_in_it(make_labels, size):
    grid = boundary_grid(make_labels(2, 60, 90), size)
    assert grid.shape == (2, *size, 2) and grid.dtype == torch.float32
    assert grid.abs().max() <= 1
    if min(size) > 1:
        assert covers(grid, tolerance=1e-6)


def test_samples_come_nearer_to_the_boundary_the_less_smooth_the_grid(make_labels):
    labels = make_labels(1, 80, 120, ignored=False)
    targets = boundary_targets(labels, (16, 24)).float()
    away = [
        (boundary_grid(labels, (16, 24), smoothness=lam) - targets).norm(dim=-1).mean()
        for lam in (0.1, 1, 10)
    ]
    assert away[0] < away[1] < away[2] < (uniform_grid((16, 24)) - targets).norm(dim=-1).mean()


def test_only_target_classes_draw_samples():
    labels = torch.zeros(1, 60, 60, dtype=torch.uint8)
    labels[:, 5:20, 5:20], labels[:, 40:55, 40:55] = 1, 2
    near = boundary_targets(labels, (12, 12), classes=[2])
    assert in_pixels(near, 60, 60).min() >= 39


def test_labels_of_any_type_and_layout_give_the_same(make_labels):
    labels = make_labels(2, 33, 21)
    expected = boundary_grid(labels, (5, 7))
    for other in (labels.long(), labels.int(), labels.mT.contiguous().mT):
        assert torch.equal(boundary_grid(other, (5, 7)), expected)


def test_autocast_does_not_lower_the_precision(make_labels):
    labels = make_labels(1, 33, 21)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        grid = boundary_grid(labels, (9, 7))
    assert torch.equal(grid, boundary_grid(labels, (9, 7)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": []}, "classes"),
        ({"classes": [0.5]}, "classes"),
        ({"smoothness": -0.1}, "smoothness"),
        ({"size": (3, 0)}, "size"),
        ({"ignore_index": "255"}, "ignore_index"),
        ({"labels": torch.rand(1, 4, 4)}, "integer"),
        ({"labels": torch.zeros(1, 1, 4, 4).long()}, r"\(1, 1, 4, 4\)"),
        ({"labels": np.zeros((1, 4, 4), np.uint8)}, "torch.from_numpy"),
    ],
)
def test_bad_arguments_are_refused(make_labels, options, message):
    with pytest.raises(InvalidInput, match=message):
        boundary_grid(**{"labels": make_labels(1, 9, 9), "size": (5, 5), **options})
