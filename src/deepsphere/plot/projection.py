"""Projections between the sphere and the image plane."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

PROJECTIONS = ("mollweide", "equirectangular")
"""Projections of the whole sphere. Each fills x in [-2, 2], increasing eastwards, and y in
[-1, 1]."""

Floats = NDArray[np.floating[Any]]


def check_projection(projection: str) -> str:
    """Return `projection`; raise ValueError if it is not one of `PROJECTIONS`."""
    if projection not in PROJECTIONS:
        raise ValueError(f"projection must be one of {', '.join(PROJECTIONS)}; got {projection!r}")
    return projection


def unit_vectors(longitude: ArrayLike, latitude: ArrayLike) -> Floats:
    """Convert longitudes and latitudes to unit vectors.

    Parameters
    ----------
    longitude, latitude : array_like, shape (...)
        Degrees.

    Returns
    -------
    ndarray, shape (..., 3)
        Unit vectors. Longitude 0 and latitude 0 is the x axis, latitude 90 the z axis.
    """
    lon, lat = np.broadcast_arrays(np.radians(longitude), np.radians(latitude))
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def longitude_latitude(vectors: ArrayLike) -> tuple[Floats, Floats]:
    """Convert vectors of any length to longitudes in [0, 360) and latitudes, in degrees.

    Parameters
    ----------
    vectors : array_like, shape (..., 3)
        Nonzero Cartesian vectors.

    Returns
    -------
    longitude, latitude : ndarray, shape (...)
        Degrees.
    """
    x, y, z = np.moveaxis(np.asarray(vectors, dtype=np.float64), -1, 0)
    return _turned(np.degrees(np.arctan2(y, x))), np.degrees(np.arctan2(z, np.hypot(x, y)))


def _turned(longitude: Floats) -> Floats:
    """Wrap longitudes to [0, 360), although the remainder of a tiny negative one rounds to 360."""
    turned = longitude % 360.0
    return np.where(turned == 360.0, 0.0, turned)


def plane_to_sphere(
    x: ArrayLike, y: ArrayLike, projection: str, center_longitude: float = 0.0
) -> tuple[Floats, Floats]:
    """Return the point of the sphere that is shown at a point of the image.

    Parameters
    ----------
    x, y : array_like, shape (...)
        Position in the image: x in [-2, 2], increasing eastwards, and y in [-1, 1].
    projection : str
        One of `PROJECTIONS`. For ``"mollweide"`` (equal areas; J. P. Snyder, *Map Projections:
        A Working Manual*, USGS 1395, 1987, equations 31-1 to 31-7) with ``sin(t) = y``:
        ``sin(latitude) = (2 t + sin 2 t) / pi`` and ``longitude = pi x / (2 cos t)``. For
        ``"equirectangular"`` longitude is 90 x and latitude 90 y.
    center_longitude : float, default 0
        Longitude in degrees at x = 0.

    Returns
    -------
    longitude, latitude : ndarray, shape (...)
        Degrees, with the longitude in [0, 360); NaN outside the image of the sphere.

    Raises
    ------
    ValueError
        If `projection` is not one of `PROJECTIONS`.
    """
    check_projection(projection)
    x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    if projection == "equirectangular":
        inside = (np.abs(x) <= 2) & (np.abs(y) <= 1)
        longitude, latitude = 90.0 * x, 90.0 * y
    else:
        inside = (x / 2) ** 2 + y**2 <= 1
        angle = np.arcsin(np.clip(y, -1, 1))
        # At the poles the cosine vanishes and the longitude is undefined.
        longitude = 90.0 * x / np.maximum(np.cos(angle), 1e-12)
        sine = (2 * angle + np.sin(2 * angle)) / np.pi
        latitude = np.degrees(np.arcsin(np.clip(sine, -1, 1)))
    longitude = np.where(inside, _turned(longitude + center_longitude), np.nan)
    return longitude, np.where(inside, latitude, np.nan)


def meridian(offset: float, projection: str) -> tuple[Floats, Floats]:
    """Return x, y of the meridian `offset` degrees (-180 to 180) east of the center."""
    check_projection(projection)
    y = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 121))
    narrowing = 1.0 if projection == "equirectangular" else np.sqrt(1 - y**2)
    return offset / 90.0 * narrowing * np.ones_like(y), y


def parallel(latitude: float, projection: str) -> tuple[Floats, Floats]:
    """Return x, y of the two end points of the parallel at `latitude` degrees."""
    check_projection(projection)
    if projection == "equirectangular":
        y, half = latitude / 90.0, 2.0
    else:
        sine = np.sin(np.radians(latitude))
        angle = brentq(
            lambda t: 2 * t + np.sin(2 * t) - np.pi * sine, -np.pi / 2, np.pi / 2, xtol=1e-12
        )
        y, half = np.sin(angle), 2 * np.cos(angle)
    return np.array([-half, half]), np.array([y, y])


def gnomonic_vectors(
    east: ArrayLike, north: ArrayLike, longitude: float, latitude: float
) -> Floats:
    """Return the directions that are shown at points of a tangent plane.

    Parameters
    ----------
    east, north : array_like, shape (...)
        Position in the plane tangent to the unit sphere: tangents of the angles from the center.
    longitude, latitude : float
        Point of tangency, in degrees.

    Returns
    -------
    ndarray, shape (..., 3)
        Unit vectors.
    """
    center, to_east, to_north = _tangent_axes(longitude, latitude)
    vectors = (
        center
        + np.asarray(east, np.float64)[..., None] * to_east
        + np.asarray(north, np.float64)[..., None] * to_north
    )
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def gnomonic_plane(vectors: ArrayLike, longitude: float, latitude: float) -> tuple[Floats, Floats]:
    """Return the positions of directions in a tangent plane, the inverse of `gnomonic_vectors`.

    Parameters
    ----------
    vectors : array_like, shape (..., 3)
        Unit vectors.
    longitude, latitude : float
        Point of tangency, in degrees.

    Returns
    -------
    east, north : ndarray, shape (...)
        Tangents of the angles from the center; NaN for the opposite half of the sphere.
    """
    center, to_east, to_north = _tangent_axes(longitude, latitude)
    array = np.asarray(vectors, dtype=np.float64)
    depth = array @ center
    depth = np.where(depth > 1e-9, depth, np.nan)
    return array @ to_east / depth, array @ to_north / depth


def _tangent_axes(longitude: float, latitude: float) -> tuple[Floats, Floats, Floats]:
    """Return the unit vector to a point of the sphere, and those to its east and north."""
    lon, lat = np.radians(longitude), np.radians(latitude)
    to_east = np.array([-np.sin(lon), np.cos(lon), 0.0])
    to_north = np.array([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
    return unit_vectors(longitude, latitude), to_east, to_north


def angles_from(points: Floats, center: Floats) -> Floats:
    """Return the angles in degrees, shape (n,), from a unit vector (3,) to others (n, 3)."""
    # The chord is accurate for small angles; the arc cosine is not.
    chord = np.linalg.norm(points - center, axis=-1)
    return np.degrees(2 * np.arcsin(np.minimum(chord / 2, 1.0)))
