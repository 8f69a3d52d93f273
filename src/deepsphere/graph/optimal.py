"""The most equivariant Laplacian of a sampling, and the check that it is stable."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, eye_array

from deepsphere.graph.coincident import DistinctPoints, whole_and_rows
from deepsphere.graph.edges import edge_weights
from deepsphere.graph.eigenvalue import largest_eigenvalue, rescale
from deepsphere.graph.meridian import meridian_of
from deepsphere.graph.optimal_rows import (
    RIDGE,
    RIDGES_SPREAD,
    STRONGER,
    Target,
    optimal_weights,
    target,
)
from deepsphere.graph.optimal_symmetric import symmetric_weights
from deepsphere.graph.spec import Graph, Optimal
from deepsphere.graph.spread import spread_along
from deepsphere.graph.weights import join, points_on_sphere
from deepsphere.sampling import Healpix, Sampling

INDEFINITE = 0.02
"""How far below 0 the eigenvalues of the symmetric part may lie, relative to the largest; about
0.002 on HEALPix. Further below, eigenvalues of the operator itself could leave the right half of
the complex plane, and filters of high order would grow."""


ORDER = 20
"""Order of the polynomials that test stability: more than most filters have."""

SIGNALS = 4

GROWTH = 2.0
"""Largest accepted `growth` for spread neighbors. It is 0.8 to 1.8 where all eigenvalues lie within
4 % of the real axis. On Equiangular(16, 32) with 8 neighbors and the smallest ridge it is 880, and
a polynomial of order 20 amplifies some maps 3 800 times."""


class UnstableWeightsError(ValueError):
    """The points are too uneven for a stable Laplacian with optimal weights."""


class Surroundings(NamedTuple):
    """A sampling that holds all neighbors of a part of the sphere, and the indices of that part."""

    sampling: Sampling
    rows: NDArray[np.int64]


def optimal_laplacian(sampling: Sampling, graph: Graph, choice: Optimal) -> tuple[csr_array, float]:
    """Return the most equivariant Laplacian of a sampling, and a bound of its spectrum.

    Parameters
    ----------
    sampling : Sampling
        n distinct points on the sphere or a part of it, roughly evenly spread. On a part, the
        weights are those of the whole sphere without the edges that lead out of the part, because
        weights fitted to one-sided neighborhoods give unstable operators.
    graph : Graph
        The graph; only its ``edges``, ``neighbors`` and ``spread`` matter.
    choice : Optimal
        Band limit, and whether the weights are symmetric.

    Returns
    -------
    laplacian : csr_array of float64, shape (n, n)
        The Laplacian ``D - W``.
    bound : float
        Largest eigenvalue of its symmetric part, an upper bound of the real part of every
        eigenvalue.

    Raises
    ------
    UnstableWeightsError
        If the points are too uneven for a stable Laplacian with optimal weights.
    """
    count = points_on_sphere(sampling)
    meridian = None
    if graph.edges != "nearest":
        around, ridges = surroundings(sampling, 8, count), [RIDGE]
        pattern = edge_weights(around.sampling, graph)
        degree = round(pattern.nnz / pattern.shape[0])
    else:
        spread = sampling.crowded if graph.spread is None else graph.spread
        degree, ridges = graph.neighbor_count, [RIDGE]
        poles = isinstance(whole_and_rows(sampling)[0], DistinctPoints)
        if spread:
            least = next(mu for most, mu in RIDGES_SPREAD if degree < most)
            # On grids with rows at the poles, the first two are never stable.
            ridges = [least * factor for factor in STRONGER[2 * poles :]]
        around = surroundings(sampling, degree, count)
        if spread and not choice.symmetric:
            meridian = meridian_of(around.sampling)
        if meridian is not None:
            pattern, at_poles = spread_along(around.sampling.points, degree, count, meridian)
        else:
            pattern = join(around.sampling, degree, spread)
    points, rows = around.sampling.points, around.rows
    goal = target(degree, count, max(1, round(choice.band_limit * sqrt(count / 12))))

    def solve(ridge: float) -> csr_array:
        if meridian is not None:
            weights = meridian.turned(
                optimal_weights(pattern, points, goal, meridian.firsts, ridge)
            )
            weights = _with_poles(weights, at_poles, points, goal, ridge)
            return weights if len(rows) == len(points) else weights[rows]
        if not choice.symmetric:
            return optimal_weights(pattern, points, goal, rows, ridge)
        inner = rows if len(rows) == len(points) else np.union1d(rows, pattern[rows].indices)
        return symmetric_weights(pattern, points, goal, inner, ridge)[rows]

    lowest = bound = np.nan
    for ridge in ridges:
        weights = solve(ridge)
        if len(rows) < len(points):
            weights = weights[:, rows]
        degrees = np.asarray(weights.sum(axis=1)).ravel()
        laplacian = csr_array(diags_array(degrees) - weights)
        laplacian.sort_indices()
        symmetric = csr_array((laplacian + laplacian.T) / 2)
        bound = largest_eigenvalue(symmetric)
        if len(ridges) > 1 and growth(laplacian, bound) > GROWTH:
            continue  # ends at the last ridge, where the weights are symmetric
        shifted = csr_array(bound * eye_array(len(sampling)) - symmetric)
        lowest = bound - largest_eigenvalue(shifted)
        if lowest >= -INDEFINITE * bound:
            return laplacian, bound
    raise UnstableWeightsError(
        f"the points of {sampling!r} are too uneven for optimal weights: the spectrum of their "
        f"Laplacian reaches from {lowest:.2g} to {bound:.2g}; use Graph(20, spread=True) "
        "or laplacian='normalized'"
    )


def _with_poles(
    weights: csr_array,
    at_poles: csr_array,
    points: NDArray[np.float64],
    goal: Target,
    ridge: float,
) -> csr_array:
    """Return the weights with new rows for the poles and for the vertices joined to them."""
    rows = np.flatnonzero(np.diff(at_poles.indptr))
    if not len(rows):
        return weights
    pattern = csr_array(weights + at_poles)
    own = optimal_weights(pattern, points, goal, rows, ridge).tocoo()
    others = np.ones(len(points))
    others[rows] = 0
    kept = csr_array(diags_array(others) @ weights)
    kept.eliminate_zeros()
    return csr_array(kept + csr_array((own.data, (rows[own.row], own.col)), shape=weights.shape))


def surroundings(sampling: Sampling, neighbors: int, count: float) -> Surroundings:
    """Return a sampling that holds the neighbors of all points, and the neighbors of those.

    Parameters
    ----------
    sampling : Sampling
        The whole sphere or a part of it.
    neighbors : int
        Number of neighbors.
    count : float
        Number of points of a whole sphere with the density of the sampling.

    Returns
    -------
    Surroundings
        For a part of HEALPix, the part with the pixels around it; for a part of another sampling,
        the whole; for a whole sphere, the sampling itself.
    """
    if isinstance(sampling, Healpix) and not sampling.is_full:
        from astropy_healpix import neighbours

        # Neighbors lie within 2 sqrt(k / n), or up to 1.5 times that where pixels are stretched.
        # Coarse pixels are at least 0.6 / nside wide.
        margin = 2 * 1.5 * 2 * sqrt((neighbors + 1) / count)
        coarse = sampling.nside
        while coarse >= 1 and 0.6 / coarse < margin:
            coarse //= 2
        if coarse >= 1:
            children = (sampling.nside // coarse) ** 2
            parents = np.unique(sampling.pixels // children)
            with np.errstate(invalid="ignore"):  # some pixels have only seven neighbors
                near = np.union1d(parents, neighbours(parents, coarse, order="nested"))
            near = near[near >= 0]
            pixels = (near[:, None] * children + np.arange(children)).ravel()
            return Surroundings(
                Healpix(sampling.nside, pixels), np.searchsorted(pixels, sampling.pixels)
            )
        return Surroundings(Healpix(sampling.nside), sampling.pixels)
    return Surroundings(*whole_and_rows(sampling))


def growth(laplacian: csr_array, bound: float) -> float:
    """Return the largest amplification of noise by Chebyshev polynomials of a Laplacian.

    Parameters
    ----------
    laplacian : csr_array, shape (n, n)
        A Laplacian that need not be symmetric.
    bound : float
        Bound of its spectrum, by which to rescale it.

    Returns
    -------
    float
        The largest absolute value of ``T_k(L~) x`` at any point, for random signs x and k up to
        `ORDER`, divided by the value expected for a symmetric Laplacian. It is about 1 if the
        operator is normal, and exponential in the order if eigenvalues leave the real axis.
    """
    n = laplacian.shape[0]
    operator = rescale(laplacian, bound)
    signs = np.random.default_rng(0).integers(0, 2, (n, SIGNALS)) * 2.0 - 1.0
    previous, current = signs, operator @ signs
    largest = float(np.abs(current).max())
    for _ in range(ORDER - 1):
        previous, current = current, 2 * (operator @ current) - previous
        largest = max(largest, float(np.abs(current).max()))
    return largest / float(np.sqrt(2 * np.log(2 * n * SIGNALS)))
