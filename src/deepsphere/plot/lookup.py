"""Which point of a sampling shows at a place of a picture."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from deepsphere.sampling import Healpix, Sampling
from deepsphere.sampling.missing import is_marked, split_mask

REACH = 1.5
"""How far from its nearest point a place still counts as sampled, where a sampling has no cells.

In units of the spacing (the 95th percentile of the distance from a point to its nearest other
point). The gaps of regular grids reach 0.71 spacings, the diagonal of a square cell; of points
strewn at random all but one place in a thousand lie within 1.5.
"""


def nearest_vertex(sampling: Sampling, directions: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Find the vertex of a sampling that stands for each direction.

    Parameters
    ----------
    sampling : Sampling
        HEALPix, full or partial: the pixel that holds the direction. Any other: the nearest
        point, where one is near enough (see `REACH`).
    directions : ndarray, shape (..., 3)
        Unit vectors; NaN for no direction.

    Returns
    -------
    ndarray of int64, shape (...)
        Positions in ``sampling.points``; -1 where the sampling has nothing.
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
        One value per point of `sampling`, in its order; NaN, infinite, ``healpy.UNSEEN`` and
        masked values of a masked array count as missing.
    sampling : Sampling
        Where the values lie.

    Returns
    -------
    ndarray of float64, shape (n,)
        A copy.

    Raises
    ------
    TypeError
        If the values are complex, or no numbers.
    ValueError
        If the shape does not fit the sampling, or no value is there.
    """
    given, masked = split_mask(values, "values")
    array = given.astype(np.float64)
    if array.shape not in ((len(sampling),), (len(sampling), 1)):
        raise ValueError(
            f"values must hold one number for each of the {len(sampling)} points of the sampling, "
            f"got shape {array.shape}; plot one map and one channel at a time"
            f"{_advice(array.shape, sampling)}"
        )
    array = array.reshape(-1)
    array[~np.isfinite(array) | (masked | is_marked(given)).reshape(-1)] = np.nan
    if np.isnan(array).all():
        raise ValueError(f"there is nothing to plot: all {len(array)} values are missing")
    return array


def _advice(shape: tuple[int, ...], sampling: Sampling) -> str:
    """Return what else a message says about maps of the full sphere on a part of it."""
    if isinstance(sampling, Healpix) and shape[:1] == (12 * sampling.nside**2,):
        return f", and maps of the full sphere on Healpix({sampling.nside})"
    return ""


def look_up(
    values: NDArray[np.float64], sampling: Sampling, directions: NDArray[np.floating[Any]]
) -> np.ma.MaskedArray[Any, np.dtype[np.float64]]:
    """Look up the values seen in some directions, masked where there is none.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        As from `check_values`.
    sampling : Sampling
        Where the values lie.
    directions : ndarray, shape (..., 3)
        Unit vectors; NaN for no direction.

    Returns
    -------
    masked array of float64, shape (...)
        Values of the vertices that `nearest_vertex` finds.
    """
    vertices = nearest_vertex(sampling, directions)
    seen = np.where(vertices >= 0, values[vertices], np.nan)
    return np.ma.masked_invalid(seen)
