"""The boundary net, its projection and its targets: covering, never folding, exact where nothing is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.errors import InvalidInput
from saccade.grids import covers, folds, uniform_grid
from saccade.samplers import BoundaryNet, BoundarySampler, BoundaryTarget
from saccade.samplers.boundary import covering, sampling_grid, untangled, usual_thumbnail


def wild_nodes(seed: int, size: tuple[int, int], spread: float) -> torch.Tensor:
    """Uniform nodes thrown about: with a large spread most cells fold."""
    generator = torch.Generator().manual_seed(seed)
    return uniform_grid(size, 2) + spread * torch.randn(2, *size, 2, generator=generator)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.tuples(st.integers(2, 9), st.integers(2, 9)),
    st.tuples(st.integers(2, 30), st.integers(2, 30)),
    st.sampled_from([0.02, 0.2, 1.0, 5.0]),
)
def test_whatever_the_net_predicts_the_grid_covers_and_never_folds(
    seed: int, nodes: tuple[int, int], size: tuple[int, int], spread: float
) -> None:
    grid = sampling_grid(wild_nodes(seed, nodes, spread), size)
    assert grid.shape == (2, *size, 2)
    assert covers(grid) and not folds(grid)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.tuples(st.integers(2, 9), st.integers(2, 9)))
def test_nodes_that_cover_and_do_not_fold_stay_where_they_are(seed: int, size: tuple[int, int]) -> None:
    """Moves of less than a fifth of a step keep every corner of every cell turned the right way."""
    steps = torch.tensor([2 / (size[1] - 1), 2 / (size[0] - 1)])
    moves = torch.rand(1, *size, 2, generator=torch.Generator().manual_seed(seed)) - 0.5
    nodes = covering(uniform_grid(size) + 0.4 * moves * steps)
    assert torch.equal(untangled(nodes), nodes)
    assert torch.equal(sampling_grid(nodes, size), nodes)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.1, 2.0]))
def test_covering_is_the_nearest_point_of_the_constraints(seed: int, spread: float) -> None:
    """No point that satisfies Eq. 3 is nearer than the projection (a box and equalities, tried at random)."""
    nodes = wild_nodes(seed, (4, 5), spread)
    nearest = covering(nodes)
    generator = torch.Generator().manual_seed(seed + 1)
    for _ in range(20):
        other = torch.rand(nodes.shape, generator=generator) * 2 - 1
        other[:, 0, :, 1], other[:, -1, :, 1], other[:, :, 0, 0], other[:, :, -1, 0] = -1, 1, -1, 1
        assert ((nearest - nodes) ** 2).sum() <= ((other - nodes) ** 2).sum() + 1e-5
    assert torch.equal(covering(nearest), nearest)


def test_one_folded_cell_moves_its_neighbourhood_and_nothing_far_away() -> None:
    nodes = uniform_grid((8, 8))
    nodes[0, 3, 3, 0] = nodes[0, 3, 4, 0] + 0.1
    mended = untangled(nodes)
    assert not folds(mended)
    moved = (mended != nodes).any(-1)[0]
    assert moved[2:5, 2:6].any()
    assert not moved[:, 7:].any() and not moved[6:].any()


def test_gradients_pass_the_projection() -> None:
    nodes = wild_nodes(0, (8, 8), 0.3).requires_grad_()
    (sampling_grid(nodes, (12, 20)) ** 2).sum().backward()
    assert nodes.grad is not None and torch.isfinite(nodes.grad).all() and nodes.grad.abs().sum() > 0


@pytest.mark.parametrize("size", [(12, 12), (6, 40), (40, 6), (2, 2)])
def test_a_fresh_sampler_looks_uniformly_at_any_shape(size: tuple[int, int]) -> None:
    sampler = BoundarySampler(size, width=4).eval()
    assert sampler.thumbnail_size is not None and min(sampler.thumbnail_size) == 64
    views = sampler(torch.randn(2, 3, *sampler.thumbnail_size))
    torch.testing.assert_close(views.grids, uniform_grid(size, 2), atol=2e-6, rtol=0)
    assert views.tensor is not None and views.tensor.shape == (2, 2, 8, 8)


@pytest.mark.parametrize("tensor", [(8, 8), (2, 2), (5, 9), (16, 8)])
@pytest.mark.parametrize("thumbnail", [(32, 32), (64, 64), (20, 90), (3, 5)])
def test_tensor_and_thumbnail_are_options(tensor: tuple[int, int], thumbnail: tuple[int, int]) -> None:
    net = BoundaryNet(thumbnail, tensor, width=4)
    assert net.train()(torch.randn(1, 3, *thumbnail)).shape == (1, 2, *tensor)
    assert net.eval()(torch.randn(2, 3, 17, 50)).shape == (2, 2, *tensor)


def test_the_net_is_the_papers() -> None:
    """One 3x3 convolution a block, 256 features but in the first and last layer, depth by the thumbnail."""
    small, large = BoundaryNet((32, 32)), BoundaryNet((64, 64))
    convolutions = [m for m in small.modules() if isinstance(m, torch.nn.Conv2d)]
    assert {m.out_channels for m in convolutions[1:-1]} == {256}
    assert convolutions[-1].out_channels == 2
    assert all(len([m for m in b if isinstance(m, torch.nn.Conv2d)]) == 1 for b in small.first.down)
    assert len(large.first.down) == len(small.first.down) + 1
    assert len(large.second.down) == len(small.second.down)


@pytest.mark.parametrize(("tensor", "width"), [((1, 8), 4), ((8, 0), 4), ((8, 8), 0)])
def test_impossible_nets_are_refused(tensor: tuple[int, int], width: int) -> None:
    with pytest.raises(InvalidInput):
        BoundaryNet((32, 32), tensor, width)


def test_the_thumbnail_follows_the_shape_of_the_view() -> None:
    assert usual_thumbnail((32, 64)) == (64, 128)
    assert usual_thumbnail((96, 64)) == (96, 64)
    assert usual_thumbnail((10, 1000)) == (64, 256)


def disc(size: tuple[int, int]) -> torch.Tensor:
    y, x = np.mgrid[: size[0], : size[1]]
    inside = (y - size[0] * 0.4) ** 2 + (x - size[1] * 0.6) ** 2 < (min(size) * 0.25) ** 2
    return torch.from_numpy(inside.astype(np.uint8))


@pytest.mark.parametrize(
    "labels",
    [
        torch.zeros(40, 60, dtype=torch.uint8),
        torch.full((40, 60), 255, dtype=torch.uint8),
        torch.full((1, 30, 30), 2, dtype=torch.uint8),
        disc((40, 60)),
    ],
    ids=["one class", "all ignored", "target class everywhere", "no target class"],
)
def test_where_there_is_nothing_to_follow_the_target_is_uniform(labels: torch.Tensor) -> None:
    target = BoundaryTarget(classes=(2,))([labels], (8, 8))
    torch.testing.assert_close(target, uniform_grid((8, 8)).permute(0, 3, 1, 2), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(300, 30), (30, 300), (64, 64)])
def test_targets_of_tall_and_wide_images_cover_and_draw_near(size: tuple[int, int]) -> None:
    labels = disc(size)
    target = BoundaryTarget(0.1)([labels, labels[None]], (8, 8))
    assert target.shape == (2, 2, 8, 8) and torch.equal(target[0], target[1])
    grid = target.permute(0, 2, 3, 1)
    assert covers(grid)
    assert (grid - uniform_grid((8, 8))).abs().max() > 0.05


def test_a_hole_in_the_labels_draws_no_samples() -> None:
    """Ignored pixels make no boundary: with a hole in a single class nothing is to be followed."""
    labels = torch.zeros(50, 50, dtype=torch.uint8)
    labels[10:30, 10:30] = 255
    target = BoundaryTarget()([labels], (8, 8))
    torch.testing.assert_close(target, uniform_grid((8, 8)).permute(0, 3, 1, 2), atol=1e-6, rtol=0)


def test_targets_mirror_with_their_labels() -> None:
    labels = disc((64, 64))
    target = BoundaryTarget()([labels], (8, 8))
    flipped = BoundaryTarget()([labels.flip(1)], (8, 8))
    back = flipped.flip(3) * torch.tensor([-1.0, 1.0])[:, None, None]
    torch.testing.assert_close(back, target, atol=0.02, rtol=0)


def test_a_negative_smoothness_is_refused() -> None:
    with pytest.raises(InvalidInput, match="smoothness"):
        BoundaryTarget(-1)
