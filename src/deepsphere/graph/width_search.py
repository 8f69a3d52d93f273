"""Search for the width of the Gaussian kernel that minimizes the equivariance error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar

from deepsphere._checks import check_count
from deepsphere.graph.isotropy import check_degrees, isotropy_error, resolution, some_rows
from deepsphere.graph.laplacians import laplacian_of_weights
from deepsphere.graph.neighbors import check_neighbors, edges_to_nearest, nearest_neighbors
from deepsphere.graph.weights import gaussian_kernel
from deepsphere.sampling import Sampling

FRACTIONS = (1 / 4, 1 / 2, 1, 3 / 2)
"""Degrees in units of nside, or of ``sqrt(n / 12)``: most of the band without aliasing."""

VERTICES = 512
"""Default number of points at which the error is measured. On HEALPix, widths found from different
random choices of that many differ by about 1 % for 8 and 20 neighbors, and by 5 % for 40, where the
minimum is flat."""

RANGE = (0.4, 2.5)
"""Smallest and largest width of the search, in units of the mean distance to the neighbors."""


def best_width(
    sampling: Sampling,
    neighbors: int,
    degrees: Sequence[int] | None = None,
    vertices: int = VERTICES,
    seed: int = 0,
) -> float:
    """Return the width of the Gaussian kernel with the smallest equivariance error.

    The error is the geometric mean over degrees of the `isotropy_error` of the combinatorial
    Laplacian ``D - W`` with Gaussian weights W.

    Parameters
    ----------
    sampling : Sampling
        The sampling of the sphere, with n points.
    neighbors : int
        Number of neighbors, clipped to ``n - 1``.
    degrees : sequence of int, optional
        Spherical-harmonic degrees. Defaults to 1/4, 1/2, 1 and 3/2 of ``sqrt(n / 12)``, which is
        nside on HEALPix.
    vertices : int, default 512
        Number of points at which to measure the error, chosen at random. The search takes seconds.
        Its time grows with `vertices` and with the square of `neighbors`, and hardly with n.
    seed : int, default 0
        Seed of that random choice.

    Returns
    -------
    float
        Width sigma of ``exp(-ln 2 (d / sigma)**2)``, in units of the sphere's radius, as
        ``Graph(neighbors, width=width)`` takes it.

    Raises
    ------
    TypeError
        If `neighbors`, `vertices` or a degree is not an integer.
    ValueError
        If `neighbors`, `vertices` or a degree is less than 1, or there are fewer than three points.

    Notes
    -----
    The widths of the papers (`kernel_width`) minimize the error on random maps that were rotated
    (Defferrard et al., arXiv 2012.15000). At nside 32 this search finds widths 9 to 16 % narrower
    for 8, 20 and 40 neighbors. The curves are flat at their minimum.
    """
    points, areas = sampling.points, sampling.areas
    neighbors = check_neighbors(neighbors)
    vertices = check_count(vertices, "vertices")
    if len(points) < 3:
        raise ValueError(f"the search for a width needs at least three points, got {len(points)}")
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
