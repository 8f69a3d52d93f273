"""Polynomials of a Laplacian that remove the scales that a coarser sampling cannot resolve."""

from __future__ import annotations

from math import ceil, log, pi, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import ive

from deepsphere.graph.isotropy import spectrum
from deepsphere.sampling import Sampling

TRUNCATION = 1e-3
"""Bound on the truncation error of the default order, relative to the input."""

ROWS = 2048
"""Number of points at which to measure an eigenvalue, enough for 1 % accuracy."""


def cutoff_degree(cutoff: float, coarse: Sampling) -> int:
    """Return the degree at `cutoff` times the nside of a coarse sampling, see `SmoothPool`."""
    return max(1, round(cutoff * sqrt(pi / 3 / coarse.areas.mean())))


def low_pass(
    matrix: csr_array, sampling: Sampling, degree: int, order: int | None = None
) -> NDArray[np.float64]:
    """Return the Chebyshev series of the heat kernel that halves a degree.

    Parameters
    ----------
    matrix : csr_array, shape (len(sampling), len(sampling))
        The rescaled Laplacian.
    sampling : Sampling
        Sampling on which it acts.
    degree : int
        Spherical-harmonic degree to halve.
    order : int, optional
        Degree of the polynomial. Default: see `heat_kernel`.

    Returns
    -------
    ndarray of float64, shape (order + 1,)
        Coefficients.
    """
    rows = np.unique(np.linspace(0, len(sampling) - 1, ROWS).astype(np.int64))
    (halved,) = spectrum(matrix, sampling.points, [degree], rows=rows, areas=sampling.areas)
    return heat_kernel(log(2) / (1 + halved), order)


def heat_kernel(time: float, order: int | None = None) -> NDArray[np.float64]:
    """Return the Chebyshev series of ``exp(-time (1 + s))`` on [-1, 1].

    Parameters
    ----------
    time : float
        Diffusion time; the response falls from 1 at -1 to ``exp(-2 time)`` at 1.
    order : int, optional
        Degree of the polynomial. Default: the smallest whose remainder is below `TRUNCATION`.

    Returns
    -------
    ndarray of float64, shape (order + 1,)
        Coefficients ``(-1)^k 2 exp(-time) I_k(time)``, the first halved (Abramowitz & Stegun,
        9.6.34), normalized so that the series is 1 at -1.

    Examples
    --------
    >>> series = np.polynomial.chebyshev.Chebyshev(heat_kernel(2.0))
    >>> series.degree(), bool(abs(series(0.5) - np.exp(-3.0)) < 1e-3)
    (5, True)
    """
    most = order or 20 + ceil(time)  # beyond it terms vanish faster than any power
    k = np.arange(most + 1)
    sizes = np.where(k > 0, 2.0, 1.0) * ive(k, time)  # sum to 1
    if order is None:
        kept = np.cumsum(sizes)
        sizes = sizes[: max(2, 1 + int(np.argmax(kept > 1 - TRUNCATION)))]
    return np.where(np.arange(len(sizes)) % 2, -1.0, 1.0) * sizes / sizes.sum()


def apply_series(
    matrix: csr_array, x: NDArray[np.float64], coefficients: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return ``sum_k c_k T_k(A) x`` for an array of shape (n, channels), in double precision."""
    before, now = x, matrix @ x
    y = coefficients[0] * before + coefficients[1] * now
    for coefficient in coefficients[2:]:
        before, now = now, 2 * (matrix @ now) - before
        y += coefficient * now
    return y
