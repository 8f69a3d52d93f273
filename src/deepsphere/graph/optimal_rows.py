"""Edge weights that make the Laplacian as equivariant to rotation as its edges allow.

The edges are those of the papers' graph, so filters cost the same. The weights of each vertex
minimize the expected equivariance error, in closed form. With
``(L f)_i = sum_j v_j (f_i - f_j)`` and a target spectrum ``h_l``, the weights of vertex i minimize

    sum_l p_l / h_l**2  E |(L f)_i - h_l f_i|**2

over random fields f of degree ell. By the addition theorem the expectation is a quadratic form in
sums of ``Q_l = 1 - P_l`` of the distances between neighbors, so v solves a small linear system,
``(K + mu I) v = b`` with ``K_jk = G(t_ij) + G(t_ik) - G(t_jk)`` and ``b_j = B(t_ij)``, where
``G = sum_l p_l / h_l**2 Q_l`` and ``B = sum_l p_l / h_l Q_l``. The result is not symmetric.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from math import pi, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.sparse import csr_array

from deepsphere._processors import thread_count
from deepsphere.graph.isotropy import chunks, padded_rows
from deepsphere.graph.legendre import half_squares, legendre_gaps

SHAPES = ((7, 1.15, 5), (9, 1.5, 5), (20, 1.3, 5), (44, 1.3, 7))
"""Largest number of neighbors, and radius and exponent of the target kernel up to that number. The
radius is in units of the distance that holds that many neighbors. Found by search at nside 32."""

WIDEST_SHAPE = (1.15, 5)

RIDGE = 1e-7
"""The regularization mu. From 1e-9 to 1e-6 the error is the same to a few percent; at 1e-4 it is
ten times larger for 40 neighbors."""

RIDGES_SPREAD = ((16, 1e-3), (np.inf, 3e-4))
"""Upper limit of the number of neighbors, and mu below it, for spread neighbors: points that nearly
coincide must not get large weights of opposite sign. With a third of these values, Laplacians of
grids are unstable at some sizes; three times these values increase the error up to threefold."""

STRONGER = (1, 3, 10, 30, 100, 1e3, 1e4, 1e6)
"""Factors of mu to try in turn for spread neighbors until the Laplacian is stable. With the last
one, the weights are ``B(t_ij) / mu``, which is symmetric and positive."""

SLOPE = 1.5
"""Power of the degree in the weights p_l."""

QUADRATURE = 96
INTERPOLATION = 48


class Target(NamedTuple):
    """The target spectrum of the Laplacian and the weight of each degree."""

    spectrum: NDArray[np.float64]
    weights: NDArray[np.float64]


def target(neighbors: int, count: float, band_limit: int) -> Target:
    """Return the spectrum of a compact kernel that reaches as far as the neighbors.

    The spectrum is ``h_l = int_0^R (1 - (r/R)**2)**b (1 - P_l(cos r)) r dr``, scaled to a maximum
    of 1. Like that of the Gaussian graph, it rises with ell and levels off near the band limit.

    Parameters
    ----------
    neighbors : int
        Number of neighbors. Together with `count` it sets the radius ``R``.
    count : float
        Number of points of a whole sphere with the density of the sampling.
    band_limit : int
        Largest degree.

    Returns
    -------
    Target
        The spectrum at degrees 1 to `band_limit`, and weights proportional to ``l**1.5`` that sum
        to 1.
    """
    scale, exponent = next((shape[1:] for shape in SHAPES if neighbors <= shape[0]), WIDEST_SHAPE)
    radius = min(scale * 2 * sqrt(neighbors / count), pi)
    nodes, weights = np.polynomial.legendre.leggauss(QUADRATURE)
    r = 0.5 * radius * (nodes + 1)
    t = 2 * np.sin(r / 2) ** 2
    measure = weights * (1 - (r / radius) ** 2) ** exponent * r * t
    spectrum = np.array([measure @ gap for gap in legendre_gaps(t, band_limit)])
    degrees = np.arange(1, band_limit + 1)
    importance = degrees**SLOPE
    return Target(spectrum / spectrum.max(), importance / importance.sum())


class Systems:
    """The linear systems for the weights of each vertex, assembled a few vertices at a time.

    Parameters
    ----------
    pattern : csr_array, shape (n, n)
        A matrix whose off-diagonal entries are the edges.
    points : ndarray of float64, shape (n, 3)
        Unit vectors.
    goal : Target
        The target spectrum.
    rows : ndarray of int, shape (m,)
        Indices of the vertices.
    ridge : float, default `RIDGE`
        The regularization mu.
    """

    def __init__(
        self,
        pattern: csr_array,
        points: NDArray[np.float64],
        goal: Target,
        rows: NDArray[np.int64],
        ridge: float = RIDGE,
    ) -> None:
        self.pattern, self.points, self.rows, self.ridge = pattern, points, rows, ridge
        self.lengths = np.diff(pattern.indptr)[rows]
        self.pieces = chunks(self.lengths)
        reach = self._reach()
        # Two neighbors of a vertex are at most twice as far from each other as from it.
        self._quadratic = _function(goal.weights / goal.spectrum**2, 4 * reach)
        self._linear = _function(goal.weights / goal.spectrum, reach)

    def _reach(self) -> float:
        """Return the largest ``t`` of an edge."""
        largest = 0.0
        for start, stop in self.pieces:
            centers = self.rows[start:stop]
            neighbors, _ = padded_rows(self.pattern, centers)
            distances = half_squares(self.points[neighbors], self.points[centers, None])
            largest = max(largest, float(distances.max(initial=0)))
        return largest

    def make(
        self, piece: tuple[int, int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Return the systems of one of `pieces`, padded to the largest.

        Returns
        -------
        matrix : ndarray of float64, shape (vertices, edges, edges)
            ``K + mu I``; rows and columns of padding are those of the identity.
        right : ndarray of float64, shape (vertices, edges)
            The right-hand sides b; 0 in padding.
        edges : ndarray of bool, shape (vertices, edges)
            True for edges, False for padding.
        """
        centers = self.rows[piece[0] : piece[1]]
        neighbors, entries = padded_rows(self.pattern, centers)
        edges = (entries != 0) & (neighbors != centers[:, None])
        near = self.points[neighbors]
        to_center = half_squares(near, self.points[centers, None])
        between = half_squares(near[:, :, None], near[:, None, :])
        far = self._quadratic(to_center)
        matrix = far[:, :, None] + far[:, None, :] - self._quadratic(between)
        matrix *= edges[:, :, None] & edges[:, None, :]
        diagonal = np.arange(matrix.shape[1])
        matrix[:, diagonal, diagonal] += np.where(edges, self.ridge, 1.0)
        return matrix, np.where(edges, self._linear(to_center), 0.0), edges


def in_threads(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """Return the function of each item, computed in threads: NumPy releases the lock."""
    with ThreadPoolExecutor(max_workers=thread_count()) as pool:
        return list(pool.map(function, items))


def optimal_weights(
    pattern: csr_array,
    points: NDArray[np.float64],
    goal: Target,
    rows: NDArray[np.int64] | None = None,
    ridge: float = RIDGE,
) -> csr_array:
    """Return the weights of the most equivariant Laplacian ``D - W`` on given edges.

    Parameters
    ----------
    pattern : csr_array, shape (n, n)
        A matrix whose off-diagonal entries are the edges.
    points : ndarray of float64, shape (n, 3)
        Unit vectors.
    goal : Target
        The target spectrum.
    rows : ndarray of int, shape (m,), optional
        Indices of the vertices whose weights to compute. Defaults to all.
    ridge : float, default `RIDGE`
        The regularization mu, which penalizes the squares of the weights.

    Returns
    -------
    csr_array of float64, shape (m, n)
        The weights W. They are not symmetric, and a few are slightly negative.
    """
    selected = np.arange(pattern.shape[0]) if rows is None else rows
    systems = Systems(pattern, points, goal, selected, ridge)

    def solve(piece: tuple[int, int]) -> NDArray[np.float64]:
        matrix, right, _ = systems.make(piece)
        solution = np.linalg.solve(matrix, right[:, :, None])[:, :, 0]
        slots = np.arange(solution.shape[1])
        return solution[slots < systems.lengths[piece[0] : piece[1], None]]

    values = np.concatenate(in_threads(solve, systems.pieces))
    taken = pattern if rows is None else pattern[rows]
    result = csr_array((values, taken.indices, taken.indptr), shape=taken.shape, copy=True)
    result.eliminate_zeros()
    return result


def _function(
    coefficients: NDArray[np.float64], reach: float
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return ``sum_l c_l Q_l(t)`` as a function on ``[0, reach]``, by interpolation."""
    reach = min(reach, 2.0) or 1.0

    def divided(u: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.zeros_like(u)
        gaps = legendre_gaps(0.5 * reach * (u + 1), len(coefficients))
        for coefficient, gap in zip(coefficients, gaps, strict=True):
            total += coefficient * gap
        return total

    series = chebyshev.Chebyshev.interpolate(divided, INTERPOLATION - 1).coef
    needed = np.flatnonzero(np.abs(series) >= 1e-17 * np.abs(series).max())[-1] + 1
    series = series[:needed]

    def function(t: NDArray[np.float64]) -> NDArray[np.float64]:
        return t * chebyshev.chebval(t * (2 / reach) - 1, series)

    return function
