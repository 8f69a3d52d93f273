"""Polynomial bases on [-1, 1] and their conversion to Chebyshev coefficients.

Filters run as Chebyshev series, whatever basis a layer learns in: the three-term recurrence needs
one product with the operator per degree and is stable. The conversion costs little in comparison
and loses no accuracy, since the Chebyshev coefficients of all basis polynomials are at most 1.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike, NDArray
from scipy.special import comb

from deepsphere._checks import check_count

BASES = ("chebyshev", "monomial", "bernstein")
"""Names of the polynomial bases."""


def evaluate_basis(basis: str, order: int, points: ArrayLike) -> NDArray[np.float64]:
    """Evaluate every polynomial of a basis.

    The polynomials are ``T_k(s)`` for ``chebyshev``, ``s^k`` for ``monomial``, and
    ``C(K, k) / 2^K (1 - s)^(K - k) (1 + s)^k`` with ``K = order`` for ``bernstein``, the Bernstein
    basis of [0, 2] (arXiv 2106.10994, equation 2) in ``s = t - 1``.

    Parameters
    ----------
    basis : str
        One of `BASES`.
    order : int
        Highest degree.
    points : array_like, shape (n,)
        Points in [-1, 1].

    Returns
    -------
    ndarray of float64, shape (n, order + 1)
        One column per polynomial, k = 0 to `order`.

    Raises
    ------
    TypeError
        If `order` is not an integer, or `points` are complex.
    ValueError
        If `basis` is not one of `BASES`, `order` is negative, or `points` is not one-dimensional.
    """
    order = check_count(order, "order", least=0)
    if np.iscomplexobj(points):
        raise TypeError(f"points must be real, got dtype {np.asarray(points).dtype}")
    if np.ndim(points) != 1:
        raise ValueError(f"points must have shape (n,), got {np.shape(points)}")
    s = np.asarray(points, dtype=np.float64)[:, None]
    k = np.arange(order + 1)
    if basis == "chebyshev":
        return np.asarray(chebyshev.chebvander(s[:, 0], order), dtype=np.float64)
    if basis == "monomial":
        return s**k
    if basis == "bernstein":
        return comb(order, k) / 2.0**order * (1 - s) ** (order - k) * (1 + s) ** k
    raise ValueError(f"basis must be one of {', '.join(BASES)}; got {basis!r}")


def to_chebyshev(basis: str, order: int) -> NDArray[np.float64]:
    """Return the matrix that converts coefficients in a basis to Chebyshev coefficients.

    Parameters
    ----------
    basis : str
        One of `BASES`.
    order : int
        Highest degree.

    Returns
    -------
    ndarray of float64, shape (order + 1, order + 1)
        Column k holds the Chebyshev coefficients of polynomial k.

    Raises
    ------
    TypeError
        If `order` is not an integer.
    ValueError
        If `basis` is not one of `BASES`, or `order` is negative.
    """
    order = check_count(order, "order", least=0)
    if basis == "chebyshev":
        return np.eye(order + 1)
    nodes = chebyshev.chebpts1(order + 1)  # interpolation of polynomials is exact
    return np.linalg.solve(
        chebyshev.chebvander(nodes, order), evaluate_basis(basis, order, nodes)
    ).astype(np.float64)
