"""Rotations of sampled fields by spherical harmonics, on any sampling of the whole sphere.

A field is rotated by evaluating it at other points, ``(R f)(x) = f(R^-1 x)``, and a sum of
spherical harmonics can be evaluated anywhere. This needs neither Wigner matrices nor interpolation.
The coefficients of a map are found by least squares, exactly for maps within the band limit.
"""

from __future__ import annotations

from math import isqrt, pi, sqrt
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deepsphere._cache import cached
from deepsphere._extras import require
from deepsphere.sampling import Equiangular, GaussLegendre, Sampling
from deepsphere.sampling.missing import is_marked, split_mask

Floats = NDArray[np.float64]
Coefficients = NDArray[np.complex128]

TOLERANCE = 1e-8
"""Relative error of the coefficients; that of synthesis is a hundredth of it. Both are far below
the rounding in single precision, in which layers compute."""

ITERATIONS = 300
"""Maximum number of least-squares iterations; HEALPix needs 8 to 13."""


def _ducc() -> ModuleType:
    return require("ducc0", "harmonics")


def band_limit(sampling: Sampling) -> int:
    """Return the largest degree of spherical harmonics that maps on a sampling resolve.

    Parameters
    ----------
    sampling : Sampling
        A sampling of n points.

    Returns
    -------
    int
        ``2.5 sqrt(n / 12)``, which is 2.5 nside on HEALPix: half as many coefficients as points.
        Up to this degree, least squares on HEALPix is well conditioned; at 3 nside it is not. On
        grids of longitudes and latitudes, the limit is at most the degree that the rings resolve.
    """
    limit = int(2.5 * sqrt(len(sampling) / 12))
    if isinstance(sampling, (Equiangular, GaussLegendre)):
        poles = getattr(sampling, "grid", None) == "clenshaw-curtis"  # the two rows at the poles
        limit = min(limit, sampling.nlat - 1 - poles, (sampling.nlon - 1) // 2)
    return limit


def random_coefficients(degree: int, count: int, rng: np.random.Generator) -> Coefficients:
    """Return coefficients of Gaussian random fields of one degree and unit variance.

    Parameters
    ----------
    degree : int
        Degree ell of the spherical harmonics.
    count : int
        Number of fields.
    rng : numpy.random.Generator
        Source of random numbers.

    Returns
    -------
    ndarray of complex128, shape (count, (degree + 1) (degree + 2) / 2)
        In healpy's order, by order m; zero for all lower degrees.
    """
    m = np.arange(degree + 1)
    places = m * (2 * degree + 1 - m) // 2 + degree
    values = rng.normal(size=(count, degree + 1)) + 1j * rng.normal(size=(count, degree + 1))
    values *= sqrt(0.5)
    values[:, 0] = values[:, 0].real * sqrt(2)
    result = np.zeros((count, (degree + 1) * (degree + 2) // 2), dtype=np.complex128)
    result[:, places] = values * sqrt(4 * pi / (2 * degree + 1))
    return result


def random_rotations(count: int, rng: np.random.Generator) -> Floats:
    """Return random rotation matrices, uniform on SO(3), shape (count, 3, 3)."""
    return Rotation.random(count, rng).as_matrix()


def synthesize(coefficients: Coefficients, points: Floats) -> Floats:
    """Evaluate fields at points.

    Parameters
    ----------
    coefficients : ndarray of complex, shape (..., (l + 1) (l + 2) / 2)
        Spherical-harmonic coefficients in healpy's order, up to any degree l.
    points : ndarray, shape (n, 3)
        Unit vectors. Pass ``points @ R`` to rotate the field by R.

    Returns
    -------
    ndarray of float64, shape (..., n)
        Values of the fields.

    Raises
    ------
    ImportError
        If ducc0 is not installed.
    """
    degree = (isqrt(8 * coefficients.shape[-1] + 1) - 3) // 2
    flat = coefficients.reshape(-1, coefficients.shape[-1])
    general = _ducc().sht.synthesis_general
    angles = _angles(points)
    result = np.empty((len(flat), len(points)))
    for one, values in zip(flat, result, strict=True):
        values[:] = general(
            alm=one[None], spin=0, lmax=degree, loc=angles, epsilon=TOLERANCE / 100, nthreads=0
        )[0]
    return result.reshape(*coefficients.shape[:-1], len(points))


def analyze(maps: Floats, sampling: Sampling) -> Coefficients:
    """Return the coefficients of the band-limited fields closest to maps.

    Parameters
    ----------
    maps : ndarray, shape (..., n)
        Values at the points of the sampling.
    sampling : Sampling
        Sampling of the whole sphere.

    Returns
    -------
    ndarray of complex128, shape (..., (l + 1) (l + 2) / 2)
        In healpy's order, up to the degree l of `band_limit`. Higher degrees in the maps are lost,
        or aliased to lower degrees if the points do not distinguish them.

    Raises
    ------
    ImportError
        If ducc0 is not installed.
    TypeError
        If `maps` are complex or not numbers.
    ValueError
        If `sampling` does not cover the whole sphere, its points do not determine fields up to
        the band limit, or values are missing (masked, NaN or ``healpy.UNSEEN``) or infinite.
    """
    check_whole(sampling)
    array, masked = split_mask(maps, "maps")
    missing = np.count_nonzero(masked | is_marked(array) | np.isinf(array))
    if missing:
        raise ValueError(
            f"{missing} of {array.size} values are missing (masked, NaN or UNSEEN) or infinite; "
            "harmonic coefficients require maps of the whole sphere: fill these values first"
        )
    return _least_squares(array.astype(np.float64), sampling)


@cached(maxsize=64)
def check_whole(sampling: Sampling) -> None:
    """Raise ValueError if maps on a sampling cannot be rotated, see `analyze`."""
    share = sampling.areas.sum() / (4 * pi)
    if abs(share - 1) > 0.01:
        raise ValueError(
            f"only maps of the whole sphere can be rotated; {sampling!r} covers {share:.1%} of it"
        )
    degree = band_limit(sampling)
    if degree < 1:
        raise ValueError(f"{sampling!r} has too few points to rotate maps; use a finer sampling")
    rng = np.random.default_rng(0)
    truth = np.zeros(((degree + 1) * (degree + 2)) // 2, dtype=np.complex128)
    truth[:] = rng.normal(size=len(truth)) + 1j * rng.normal(size=len(truth))
    truth[: degree + 1].imag = 0  # order 0
    found = _least_squares(synthesize(truth, sampling.points), sampling)
    error = np.linalg.norm(found - truth) / np.linalg.norm(truth)
    if error > 1e-4:  # on HEALPix 1e-8
        raise ValueError(
            f"the points of {sampling!r} do not determine fields up to degree {degree}: their "
            f"coefficients are recovered only with an error of {error:.1e}"
        )


def _least_squares(maps: Floats, sampling: Sampling) -> Coefficients:
    degree = band_limit(sampling)
    flat = maps.reshape(-1, maps.shape[-1])
    pseudo = _ducc().sht.pseudo_analysis_general
    angles = _angles(sampling.points)
    result = np.zeros((len(flat), (degree + 1) * (degree + 2) // 2), dtype=np.complex128)
    for one, values in zip(flat, result, strict=True):
        if one.any():
            values[:] = pseudo(
                lmax=degree,
                map=np.ascontiguousarray(one[None]),
                loc=angles,
                spin=0,
                maxiter=ITERATIONS,
                epsilon=TOLERANCE,
                nthreads=0,
            )[0][0]
    return result.reshape(*maps.shape[:-1], result.shape[-1])


def _angles(points: Floats) -> Floats:
    """Return colatitudes and longitudes (0 to 2 pi) of unit vectors, in rad."""
    x, y, z = points.T
    return np.column_stack([np.arctan2(np.hypot(x, y), z), np.arctan2(y, x) % (2 * pi)])
