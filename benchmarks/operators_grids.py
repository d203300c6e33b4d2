"""Benchmark cases of the grids: run them with ``python benchmarks/operators.py``."""

from __future__ import annotations

import torch
from scipy import ndimage, sparse
from scipy.sparse.linalg import splu, spsolve
from torch import Tensor

from harness import Case
from saccade.grids import (
    attraction_grid,
    attraction_grid_reference,
    boundary_energy_minimiser,
    boundary_targets,
    edge_density,
    edge_density_reference,
    elastic,
    elastic_grid,
    elastic_grid_reference,
    uniform_grid,
)
from saccade.metrics.cost import elastic_flops

SIDE, RADIUS = 300, 75


def cases() -> list[Case]:
    """All cases of the grids; those without a target are shown for what they are."""
    return [*_attraction(), *_elastic(), *_boundary(), *_labels()]


def _attraction() -> list[Case]:
    density = torch.softmax(torch.randn(SIDE * SIDE, generator=torch.Generator().manual_seed(0)), 0)
    density = density.view(1, 1, SIDE, SIDE)
    radius = (RADIUS, RADIUS)

    def ours() -> Tensor:
        return attraction_grid(density, radius=radius, cover=False)

    def dense() -> Tensor:
        return attraction_grid_reference(density, radius=radius, cover=False)

    work = 2 * 5 * SIDE**3 / 1e9
    return [
        Case("attraction grid 300x300, r = 75", ours, "dense conv2d", dense, f"{work:.2f} GFLOP", 300),
        Case(
            "attraction grid 300x300, r = 75, forward and backward",
            lambda: _backward(density, lambda d: attraction_grid(d, radius=radius, cover=False)),
            "dense conv2d, forward and backward",
            lambda: _backward(density, lambda d: attraction_grid_reference(d, radius=radius, cover=False)),
            f"{2 * work:.2f} GFLOP",
            200,
        ),
    ]


def _backward(density: Tensor, grid_of) -> Tensor:
    leaf = density.clone().requires_grad_()
    grid_of(leaf).square().sum().backward()
    return leaf.grad


def _elastic() -> list[Case]:
    rows, columns = 64, 128
    density = torch.rand(1, 1, rows, columns, generator=torch.Generator().manual_seed(0)) ** 3
    stiffness = density / density.max() + 0.1
    across, down, grad = (
        torch.rand(1, *shape, generator=torch.Generator().manual_seed(0)) + 0.1
        for shape in ((rows, columns - 1), (rows - 1, columns), (rows, columns))
    )
    work = elastic_flops((rows, columns)) / 1e9
    return [
        Case(
            "elastic grid 64x128",
            lambda: elastic_grid(density),
            "its twin in PyTorch, float64",
            lambda: elastic_grid_reference(stiffness, (rows, columns)),
            f"{work:.3f} GFLOP",
            None,
        ),
        Case(
            "adjoint of an elastic grid 64x128, one axis",
            lambda: elastic._adjoint(across, down, grad, 0),
            "its twin in PyTorch, float64",
            lambda: elastic.adjoint_reference(across.double(), down.double(), grad.double(), 0),
            "0.3 MB read an iteration",
            None,
        ),
    ]


def _boundary() -> list[Case]:
    rows, columns = 128, 256
    targets = torch.rand(1, rows, columns, 2, generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    systems = [_system(rows, columns), _system(columns, rows)]
    wanted = (targets - uniform_grid((rows, columns)).double())[0].numpy()
    rights = [wanted[1:-1, :, 1].ravel(), wanted[:, 1:-1, 0].T.ravel()]
    factors = [splu(system) for system in systems]

    def ours() -> Tensor:
        return boundary_energy_minimiser(targets)

    work = 2 * 4 * rows**2 * columns / 1e9
    return [
        Case(
            "boundary grid 128x256 from its targets, float64",
            ours,
            "scipy.sparse.linalg.spsolve, matrices given",
            lambda: [spsolve(system, right) for system, right in zip(systems, rights, strict=True)],
            f"{work:.3f} GFLOP",
            200,
        ),
        Case(
            "boundary grid 128x256, against factors kept from an image before",
            ours,
            "scipy.sparse.linalg.splu, solve alone",
            lambda: [factor.solve(right) for factor, right in zip(factors, rights, strict=True)],
            f"{work:.3f} GFLOP",
            None,
        ),
    ]


def _system(fixed: int, free: int) -> sparse.csc_matrix:
    """I + L over a grid of nodes whose first and last of ``fixed`` are given, and left out."""
    down, across = (sparse.eye(n - 1, n, 1) - sparse.eye(n - 1, n) for n in (fixed, free))
    steps = sparse.vstack([sparse.kron(down, sparse.eye(free)), sparse.kron(sparse.eye(fixed), across)])
    inner = slice(free, -free)
    return (sparse.eye(fixed * free) + steps.T @ steps).tocsr()[inner, inner].tocsc()


def _labels() -> list[Case]:
    labels, huge = _blobs(1024, 2048), _blobs(8192, 8192)
    return [
        Case(
            "edge density, labels 1024x2048 -> 64x128",
            lambda: edge_density(labels, (64, 128)),
            "the same in PyTorch",
            lambda: edge_density_reference(labels, (64, 128)),
            "2 MB read",
            None,
        ),
        Case(
            "edge density, labels 8192x8192 -> 512x512",
            lambda: edge_density(huge, (512, 512)),
            "a copy of the labels",
            lambda: huge.clone(),
            "64 MB read",
            None,
        ),
        Case(
            "boundary targets, labels 1024x2048 -> 64x128",
            lambda: boundary_targets(labels, (64, 128)),
            "scipy distance_transform_edt with indices, at every pixel",
            lambda: ndimage.distance_transform_edt(labels[0].numpy(), return_indices=True),
            "2 MB read",
            None,
        ),
    ]


def _blobs(height: int, width: int) -> Tensor:
    """(1, H, W) uint8, smooth regions of six classes."""
    noise = torch.randn(1, 6, height // 64, width // 64, generator=torch.Generator().manual_seed(0))
    parts = [
        torch.nn.functional.interpolate(one[None], (height, width), mode="bilinear")
        for one in noise[0, :, None]
    ]
    best, labels = parts[0], torch.zeros(1, 1, height, width, dtype=torch.uint8)
    for number, part in enumerate(parts[1:], start=1):
        labels[part > best] = number
        best = torch.maximum(best, part)
    return labels[:, 0]
