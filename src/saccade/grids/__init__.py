"""Where samples sit: grids (B, h, w, 2), last axis (x, y) in [-1, 1], -1 and 1 centres of the end pixels."""

from saccade.grids.attraction import attraction_grid, attraction_grid_reference
from saccade.grids.boundary import (
    boundary_energy_minimiser,
    boundary_energy_minimiser_reference,
    boundary_grid,
    boundary_targets,
    boundary_targets_reference,
)
from saccade.grids.diagnostics import Cover, Folds, covers, folds, footprints, samples_per_region, unfold_grid
from saccade.grids.edges import edge_density, edge_density_reference
from saccade.grids.elastic import elastic_grid, elastic_grid_reference
from saccade.grids.uniform import patch_grids, resize_grid, uniform_grid

__all__ = [
    "Cover",
    "Folds",
    "attraction_grid",
    "attraction_grid_reference",
    "boundary_energy_minimiser",
    "boundary_energy_minimiser_reference",
    "boundary_grid",
    "boundary_targets",
    "boundary_targets_reference",
    "covers",
    "edge_density",
    "edge_density_reference",
    "elastic_grid",
    "elastic_grid_reference",
    "folds",
    "footprints",
    "patch_grids",
    "resize_grid",
    "samples_per_region",
    "unfold_grid",
    "uniform_grid",
]
