"""Legendre polynomials near 1, without the cancellation in ``1 - P_l``.

The values of a random field of spherical-harmonic degree ell and unit variance at two points an
angle theta apart have the covariance ``P_l(cos theta)`` (addition theorem). Operators that take
differences between neighbors depend on ``1 - P_l`` alone. It is tiny between neighbors, so it is
computed directly.
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
        ``q_l``, in the shape of `t`; its limit at ``t = 0`` is ``l (l + 1) / 2``. Do not modify the
        array, because the recurrence
        ``(l + 1) q_{l+1} = (2 l + 1) (q_l + 1 - t q_l) - l q_{l-1}``, which follows from that of
        the Legendre polynomials, uses it again.
    """
    previous, current = np.zeros_like(t), np.ones_like(t)
    for ell in range(1, largest + 1):
        yield current
        following = ((2 * ell + 1) * (current + 1 - t * current) - ell * previous) / (ell + 1)
        previous, current = current, following
