"""Where samples sit: grids (B, h, w, 2), last axis (x, y) in [-1, 1], -1 and 1 centres of the end pixels."""

from typing import TYPE_CHECKING

from saccade.runtime.lazy import lazy

if TYPE_CHECKING:
    from saccade.grids.attraction import attraction_grid as attraction_grid
    from saccade.grids.attraction import attraction_grid_reference as attraction_grid_reference
    from saccade.grids.boundary import boundary_energy_minimiser as boundary_energy_minimiser
    from saccade.grids.boundary import (
        boundary_energy_minimiser_reference as boundary_energy_minimiser_reference,
    )
    from saccade.grids.boundary import boundary_grid as boundary_grid
    from saccade.grids.boundary import boundary_targets as boundary_targets
    from saccade.grids.boundary import boundary_targets_reference as boundary_targets_reference
    from saccade.grids.diagnostics import Cover as Cover
    from saccade.grids.diagnostics import Folds as Folds
    from saccade.grids.diagnostics import covers as covers
    from saccade.grids.diagnostics import folds as folds
    from saccade.grids.diagnostics import footprints as footprints
    from saccade.grids.diagnostics import samples_per_region as samples_per_region
    from saccade.grids.diagnostics import unfold_grid as unfold_grid
    from saccade.grids.edges import edge_density as edge_density
    from saccade.grids.edges import edge_density_reference as edge_density_reference
    from saccade.grids.elastic import elastic_grid as elastic_grid
    from saccade.grids.elastic import elastic_grid_reference as elastic_grid_reference
    from saccade.grids.uniform import patch_grids as patch_grids
    from saccade.grids.uniform import resize_grid as resize_grid
    from saccade.grids.uniform import uniform_grid as uniform_grid

_HOMES = {
    "attraction_grid": "grids.attraction",
    "attraction_grid_reference": "grids.attraction",
    "boundary_energy_minimiser": "grids.boundary",
    "boundary_energy_minimiser_reference": "grids.boundary",
    "boundary_grid": "grids.boundary",
    "boundary_targets": "grids.boundary",
    "boundary_targets_reference": "grids.boundary",
    "Cover": "grids.diagnostics",
    "Folds": "grids.diagnostics",
    "covers": "grids.diagnostics",
    "folds": "grids.diagnostics",
    "footprints": "grids.diagnostics",
    "samples_per_region": "grids.diagnostics",
    "unfold_grid": "grids.diagnostics",
    "edge_density": "grids.edges",
    "edge_density_reference": "grids.edges",
    "elastic_grid": "grids.elastic",
    "elastic_grid_reference": "grids.elastic",
    "patch_grids": "grids.uniform",
    "resize_grid": "grids.uniform",
    "uniform_grid": "grids.uniform",
}

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
__getattr__ = lazy(__name__, _HOMES)
