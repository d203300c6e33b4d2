"""The compiled sweep of the boundary energy: many tridiagonal systems side by side."""

from __future__ import annotations

import numpy as np

from saccade.compiled import kernel


@kernel
def sweep(values, eigenvalues, smoothness):
    """Solve (1 + lambda (e_k + L)) u = values[:, k] in place for each mode k (Thomas' algorithm).

    L is that of n nodes in a row between two held at 0.

    Args:
        values: (n, modes), contiguous.
        eigenvalues: (modes,) e_k of L along the other axis.
        smoothness: lambda.
    """
    nodes, modes = values.shape
    upper = np.empty_like(values)
    for i in range(nodes):
        for k in range(modes):
            diagonal = 1.0 + smoothness * (eigenvalues[k] + 2.0)
            if i > 0:
                diagonal -= smoothness * upper[i - 1, k]
                values[i, k] += smoothness * values[i - 1, k]
            inverse = 1.0 / diagonal
            upper[i, k] = smoothness * inverse
            values[i, k] *= inverse
    for i in range(nodes - 2, -1, -1):
        for k in range(modes):
            values[i, k] += upper[i, k] * values[i + 1, k]
