"""Spherical harmonics by the associated Legendre functions of SciPy."""

import numpy as np
from scipy.special import gammaln, lpmv


def harmonics(points: np.ndarray, ell: int) -> np.ndarray:
    """All real spherical harmonics of a degree, shape (n, 2 ell + 1)."""
    longitude = np.arctan2(points[:, 1], points[:, 0])[:, None]
    orders = np.arange(ell + 1)
    logarithms = gammaln(ell - orders + 1) - gammaln(ell + orders + 1)
    norms = np.sqrt((2 * ell + 1) / (4 * np.pi) * np.exp(logarithms) * np.where(orders, 2, 1))
    shape = norms * lpmv(orders, ell, points[:, 2:])
    sines = (shape * np.sin(orders * longitude))[:, 1:]
    return np.hstack((shape * np.cos(orders * longitude), sines))
