"""The search for the width of the Gaussian kernel that makes a graph most equivariant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar

from deepsphere.graph.build import laplacian_of_weights
from deepsphere.graph.isotropy import check_degrees, isotropy_error, resolution, some_rows
from deepsphere.graph.neighbors import check_neighbors, edges_to_nearest, nearest_neighbors
from deepsphere.graph.weights import gaussian_kernel
from deepsphere.sampling import Sampling

FRACTIONS = (1 / 4, 1 / 2, 1, 3 / 2)
"""Degrees in units of nside, or of ``sqrt(n / 12)``: most of what maps carry without aliasing."""

VERTICES = 512
"""With as many, widths of 8 and 20 neighbors differ by about 1 % from one random choice to
another on HEALPix; of 40, where the minimum is flat, by 5 %."""

RANGE = (0.4, 2.5)
"""Between which widths the best one is sought, in units of the mean distance to the neighbors."""


def best_width(
    sampling: Sampling,
    neighbors: int,
    degrees: Sequence[int] | None = None,
    vertices: int = VERTICES,
    seed: int = 0,
) -> float:
    """Return the width of the Gaussian kernel with the least equivariance error.

    Least is the geometric mean, over degrees, of the error (`isotropy_error`) of the combinatorial
    Laplacian ``D - W`` of `gaussian_weights`.

    Parameters
    ----------
    sampling : Sampling
        Where the sphere is sampled.
    neighbors : int
        Number of neighbors, clipped to ``len(sampling) - 1``.
    degrees : sequence of int, optional
        Spherical-harmonic degrees. Default: 1/4, 1/2, 1 and 3/2 of ``sqrt(n / 12)``, which is
        nside on HEALPix.
    vertices : int, default 512
        At how many points the error is measured, chosen at random: the time, seconds, grows with
        them and with the square of the number of neighbors, hardly with that of points.
    seed : int, default 0
        Of that choice.

    Returns
    -------
    float
        Width sigma of ``exp(-ln 2 (d / sigma)**2)`` in units of the sphere's radius: for
        ``Graph(neighbors, width=width)``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    The widths of the papers (`kernel_width`) were found by minimizing the error on random maps that
    were rotated (Defferrard et al., arXiv 2012.15000). At nside 32 this search finds widths 9 to
    16 % narrower for 8, 20 and 40 neighbors, on curves that are flat at their minimum.
    """
    points, areas = sampling.points, sampling.areas
    neighbors = check_neighbors(neighbors)
    if vertices < 1:
        raise ValueError(f"vertices must be one or more, got {vertices}")
    if len(points) < 3:
        raise ValueError(f"a width can be sought among three points or more, got {len(points)}")
    if degrees is None:
        nside = resolution(sampling)
        degrees = sorted({max(1, round(fraction * nside)) for fraction in FRACTIONS})
    wanted = check_degrees(degrees).tolist()
    rows = some_rows(len(points), vertices, seed)
    edges = edges_to_nearest(points, neighbors)

    def mean_error(log_width: float) -> float:
        weights = edges.copy()
        weights.data = gaussian_kernel(edges.data, float(np.exp(log_width)))
        matrix = laplacian_of_weights(weights, "combinatorial")
        errors = isotropy_error(matrix, points, wanted, rows=rows, areas=areas)
        return float(np.log(np.maximum(errors, np.finfo(np.float64).tiny)).mean())

    typical = np.log(nearest_neighbors(points, neighbors).distances.mean())
    bounds = typical + np.log(RANGE)
    found = minimize_scalar(mean_error, bounds=bounds, method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))
