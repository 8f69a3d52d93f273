"""Legendre polynomials near 1, without the cancellation in ``1 - P_l``.

Two random values of a field of spherical-harmonic degree ell and unit variance, at an angle theta,
have the covariance ``P_l(cos theta)`` (addition theorem). Operators that take differences between
neighbors see ``1 - P_l`` alone, which is tiny between neighbors and so is computed as such.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def half_squares(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``t = |x - y|**2 / 2 = 1 - cos theta`` of unit vectors along the last axis."""
    difference = x - y
    return 0.5 * np.einsum("...i,...i->...", difference, difference)


def legendre_gaps(t: NDArray[np.float64], largest: int) -> Iterator[NDArray[np.float64]]:
    """Yield ``q_l = (1 - P_l(1 - t)) / t`` for each degree from 1 to `largest`.

    Parameters
    ----------
    t : ndarray
        ``1 - cos theta``, from 0 to 2.
    largest : int
        The last degree.

    Yields
    ------
    ndarray
        Of the shape of `t`; at 0 the limit ``l (l + 1) / 2``. Do not change it: it is used in the
        recurrence ``(l + 1) q_{l+1} = (2 l + 1) (q_l + 1 - t q_l) - l q_{l-1}``, which follows from
        that of the Legendre polynomials.
    """
    previous, current = np.zeros_like(t), np.ones_like(t)
    for ell in range(1, largest + 1):
        yield current
        following = ((2 * ell + 1) * (current + 1 - t * current) - ell * previous) / (ell + 1)
        previous, current = current, following
