"""Union-find, for the connected objects of the metrics and the connected parts of polygons.

A forest is an array of parents; a root is its own. Who joins two roots makes the lower one the root of both.
"""

from __future__ import annotations

from saccade.runtime.kernels import kernel


@kernel
def root_of(parents, item):
    """The root of an item's tree; what lies on the way to it comes nearer."""
    while parents[item] != item:
        # Halving the path: a chain down a tall object would be walked again in every row otherwise.
        parents[item] = parents[parents[item]]
        item = parents[item]
    return item
