"""Lookup of the point of a sampling that is shown at a pixel of an image."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from deepsphere.sampling import Healpix, Sampling
from deepsphere.sampling.missing import is_marked, split_mask

REACH = 1.5
"""Largest distance to the nearest point at which a direction counts as sampled, without cells.

It is in units of the spacing, the 95th percentile of the distance from a point to its nearest
neighbor. Gaps in regular grids reach 0.71 spacings, half the diagonal of a square cell; for random
points, all but a thousandth of the sphere lies within 1.5.
"""


def nearest_vertex(sampling: Sampling, directions: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Return the vertex of a sampling for each direction.

    Parameters
    ----------
    sampling : Sampling
        On full or partial HEALPix, the vertex is the pixel that contains the direction. On other
        samplings it is the nearest point, if it is near enough (see `REACH`).
    directions : ndarray, shape (..., 3)
        Unit vectors; NaN for no direction.

    Returns
    -------
    ndarray of int64, shape (...)
        Positions in ``sampling.points``; -1 for directions outside the sampling.
    """
    flat = directions.reshape(-1, 3)
    vertices = np.full(len(flat), -1, dtype=np.int64)
    valid = np.isfinite(flat).all(axis=1)
    if isinstance(sampling, Healpix):
        from astropy_healpix.healpy import vec2pix

        pixels = vec2pix(sampling.nside, *flat[valid].T, nest=True)
        if not sampling.is_full:
            places = np.searchsorted(sampling.pixels, pixels)
            places[places == len(sampling)] = 0
            pixels = np.where(sampling.pixels[places] == pixels, places, -1)
        vertices[valid] = pixels
    else:
        points = sampling.points
        tree = cKDTree(points)
        limit = np.inf
        if len(points) > 1:
            spacings = tree.query(points, k=2)[0][:, 1]
            limit = REACH * float(np.percentile(spacings, 95))
        distances, nearest = tree.query(flat[valid])
        vertices[valid] = np.where(distances <= limit, nearest, -1)
    return vertices.reshape(directions.shape[:-1])


def check_values(values: ArrayLike, sampling: Sampling) -> NDArray[np.float64]:
    """Return the values of one map as float64, missing ones as NaN.

    Parameters
    ----------
    values : array_like, shape (n,) or (n, 1)
        One value per point of `sampling`, in its order. NaN, infinite, ``healpy.UNSEEN`` and
        masked values count as missing.
    sampling : Sampling
        Sampling of the values.

    Returns
    -------
    ndarray of float64, shape (n,)
        A copy of the values.

    Raises
    ------
    TypeError
        If `values` are complex or not numbers.
    ValueError
        If `values` does not have shape (n,) or (n, 1), or all values are missing.
    """
    given, masked = split_mask(values, "values")
    array = given.astype(np.float64)
    if array.shape not in ((len(sampling),), (len(sampling), 1)):
        raise ValueError(
            f"values must contain one number for each of the {len(sampling)} points of the "
            f"sampling, got shape {array.shape}; plot one map and one channel at a "
            f"time{_advice(array.shape, sampling)}"
        )
    array = array.reshape(-1)
    array[~np.isfinite(array) | (masked | is_marked(given)).reshape(-1)] = np.nan
    if np.isnan(array).all():
        raise ValueError(f"there is nothing to plot: all {len(array)} values are missing")
    return array


def _advice(shape: tuple[int, ...], sampling: Sampling) -> str:
    """Return advice for the error message if a map covers the full sphere and not its part."""
    if isinstance(sampling, Healpix) and shape[:1] == (12 * sampling.nside**2,):
        return f", and maps of the full sphere on Healpix({sampling.nside})"
    return ""


def look_up(
    values: NDArray[np.float64], sampling: Sampling, directions: NDArray[np.floating[Any]]
) -> np.ma.MaskedArray[Any, np.dtype[np.float64]]:
    """Return the values in given directions, masked where there is none.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        Values from `check_values`.
    sampling : Sampling
        Sampling of the values.
    directions : ndarray, shape (..., 3)
        Unit vectors; NaN for no direction.

    Returns
    -------
    masked array of float64, shape (...)
        Values at the vertices from `nearest_vertex`.
    """
    vertices = nearest_vertex(sampling, directions)
    seen = np.where(vertices >= 0, values[vertices], np.nan)
    return np.ma.masked_invalid(seen)
