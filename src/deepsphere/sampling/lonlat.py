"""Longitudes and latitudes in degrees, to unit vectors and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def to_vectors(lonlat: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return unit vectors.

    Parameters
    ----------
    lonlat : ndarray, shape (n, 2)
        Longitudes and latitudes in degrees.

    Returns
    -------
    ndarray of float64, shape (n, 3)
        The z axis points to the north pole, the x axis to longitude 0 on the equator.

    Raises
    ------
    ValueError
        If numbers are not finite, or latitudes are beyond the poles.
    """
    lonlat = np.asarray(lonlat, dtype=np.float64)
    wrong = np.flatnonzero(~(np.isfinite(lonlat).all(axis=1) & (np.abs(lonlat[:, 1]) <= 90)))
    if len(wrong):
        raise ValueError(
            "longitudes and latitudes must be finite degrees, latitudes from -90 to 90; got "
            f"{lonlat[wrong[0]].tolist()} at {list_some(wrong)}"
        )
    lon, lat = np.radians(lonlat).T
    return np.column_stack((np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)))


def to_lonlat(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return longitudes and latitudes.

    Parameters
    ----------
    vectors : ndarray of float64, shape (n, 3)
        Unit vectors.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        Longitudes from 0 to below 360 and latitudes from -90 to 90, in degrees.
    """
    x, y, z = vectors.T
    lon = np.degrees(np.arctan2(y, x)) % 360
    lat = np.degrees(np.arctan2(z, np.hypot(x, y)))
    return np.column_stack((np.where(lon == 360, 0, lon), lat))


def list_some(indices: NDArray[np.int64]) -> str:
    """Return the first few of some indices as text, and how many there are, for messages."""
    some = ", ".join(str(i) for i in indices[:5].tolist())
    return f"index {some}" + (f" and {len(indices) - 5} more" if len(indices) > 5 else "")
