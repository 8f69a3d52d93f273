"""The most equivariant Laplacian of a sampling: edges, target, weights, check of stability."""

from __future__ import annotations

from math import pi, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, eye_array

from deepsphere.graph.choices import Edges, Nearest, Optimal
from deepsphere.graph.edges import edge_weights
from deepsphere.graph.optimal import RIDGE, RIDGES_SPREAD, optimal_weights, target
from deepsphere.graph.optimal_symmetric import symmetric_weights
from deepsphere.graph.spectrum import largest_eigenvalue
from deepsphere.graph.weights import join
from deepsphere.sampling import Healpix, Sampling

INDEFINITE = 0.02
"""How far below 0 the eigenvalues of the symmetric part may lie, in units of the largest; it is
about 0.002 on HEALPix. Beyond, eigenvalues of the operator itself could leave the right half of the
complex plane, where filters of high order grow."""


class UnstableWeightsError(ValueError):
    """Points are too uneven for optimal weights with a stable Laplacian on some edges."""


class Surroundings(NamedTuple):
    """A sampling that holds all neighbours of a part of the sphere, and that part in it."""

    sampling: Sampling
    rows: NDArray[np.int64]


def optimal_laplacian(
    sampling: Sampling, neighbors: Edges, choice: Optimal
) -> tuple[csr_array, float]:
    """Return the most equivariant Laplacian of a sampling, and a bound of its spectrum.

    Parameters
    ----------
    sampling : Sampling
        Points spread about evenly, on the sphere or a part of it. On a part, the weights are those
        of the whole sphere without the edges that lead out of it: weights fitted to a one-sided
        neighbourhood make unstable operators.
    neighbors : int, str or Nearest
        Which edges.
    choice : Optimal
        Band limit, and whether the weights are symmetric.

    Returns
    -------
    laplacian : csr_array of float64, shape (n, n)
        ``D - W``.
    bound : float
        The largest eigenvalue of its symmetric part, at least the real part of every eigenvalue.

    Raises
    ------
    UnstableWeightsError
        If the points are too uneven for weights with a stable Laplacian.
    """
    count = 4 * pi / float(sampling.areas.mean())  # points on a whole sphere of this density
    if isinstance(neighbors, int):
        neighbors = Nearest(neighbors)
    if isinstance(neighbors, str):
        around, ridge = surroundings(sampling, 8, count), RIDGE
        pattern = edge_weights(around.sampling, neighbors)
        degree = round(pattern.nnz / pattern.shape[0])
    else:
        degree, ridge = neighbors.count, RIDGE
        if neighbors.spread:
            ridge = next(mu for most, mu in RIDGES_SPREAD if degree < most)
        around = surroundings(sampling, degree, count)
        pattern = join(around.sampling, degree, neighbors.spread)
    points, rows = around.sampling.points, around.rows
    goal = target(degree, count, max(1, round(choice.band_limit * sqrt(count / 12))))
    if choice.symmetric:
        inner = rows if len(rows) == len(points) else np.union1d(rows, pattern[rows].indices)
        weights = symmetric_weights(pattern, points, goal, inner, ridge)[rows]
    else:
        weights = optimal_weights(pattern, points, goal, rows, ridge)
    if len(rows) < len(points):
        weights = weights[:, rows]
    degrees = np.asarray(weights.sum(axis=1)).ravel()
    laplacian = csr_array(diags_array(degrees) - weights)
    laplacian.sort_indices()
    return laplacian, _stable_bound(laplacian, sampling)


def surroundings(sampling: Sampling, neighbors: int, count: float) -> Surroundings:
    """Return a sampling that holds the neighbours of all points, and their neighbours.

    Parameters
    ----------
    sampling : Sampling
        The whole sphere, which is returned as it is, or a part.
    neighbors : int
        Number of neighbours.
    count : float
        Number of points on a whole sphere of this density.

    Returns
    -------
    Surroundings
        For a part of HEALPix the pixels around it; for a part of another sampling the whole.
    """
    if isinstance(sampling, Healpix) and not sampling.is_full:
        from astropy_healpix import neighbours

        # Neighbours lie within 2 sqrt(k / n); pixels are up to half as far again where they are
        # stretched. Coarse pixels are at least 0.6 / nside wide.
        margin = 2 * 1.5 * 2 * sqrt((neighbors + 1) / count)
        coarse = sampling.nside
        while coarse >= 1 and 0.6 / coarse < margin:
            coarse //= 2
        if coarse >= 1:
            children = (sampling.nside // coarse) ** 2
            parents = np.unique(sampling.pixels // children)
            with np.errstate(invalid="ignore"):  # there is none at eight corners
                near = np.union1d(parents, neighbours(parents, coarse, order="nested"))
            near = near[near >= 0]
            pixels = (near[:, None] * children + np.arange(children)).ravel()
            return Surroundings(
                Healpix(sampling.nside, pixels), np.searchsorted(pixels, sampling.pixels)
            )
        return Surroundings(Healpix(sampling.nside), sampling.pixels)
    whole = getattr(sampling, "whole", None)
    if whole is not None:
        return Surroundings(whole, sampling.indices)  # type: ignore[attr-defined]
    return Surroundings(sampling, np.arange(len(sampling)))


def _stable_bound(laplacian: csr_array, sampling: Sampling) -> float:
    """Return the largest eigenvalue of the symmetric part, or raise if it is far from positive."""
    symmetric = csr_array((laplacian + laplacian.T) / 2)
    bound = largest_eigenvalue(symmetric)
    lowest = bound - largest_eigenvalue(csr_array(bound * eye_array(len(sampling)) - symmetric))
    if lowest < -INDEFINITE * bound:
        raise UnstableWeightsError(
            f"the points of {sampling!r} are too uneven for optimal weights: the spectrum of their "
            f"Laplacian reaches from {lowest:.2g} to {bound:.2g}; use "
            "neighbors=Nearest(20, spread=True) on grids, or laplacian='normalized'"
        )
    return bound
