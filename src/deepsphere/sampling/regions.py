"""Regions of the sphere as boolean masks, which ``&``, ``|`` and ``~`` combine.

Angles are numbers in degrees, or astropy or pint quantities in any unit of angle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere.sampling.base import Sampling
from deepsphere.sampling.lonlat import to_degrees, to_vectors

FRAMES = {"G": "galactic", "C": "icrs", "E": "barycentricmeanecliptic"}
"""Names in astropy of the coordinate systems that HEALPix files denote by letters."""


def disc(sampling: Sampling, lon: float, lat: float, radius: float) -> NDArray[np.bool_]:
    """Return a mask of the points in a disc.

    Parameters
    ----------
    sampling : Sampling
        The sampling of the sphere, with n points, for instance ``Healpix(64)``.
    lon, lat : float
        Center in degrees.
    radius : float
        Angular radius in degrees, greater than 0 and at most 180.

    Returns
    -------
    ndarray of bool, shape (n,)
        True for points at most `radius` from the center.

    Raises
    ------
    TypeError
        If an angle is not a single real number.
    ValueError
        If `lat` is not from -90 to 90, `radius` is out of range, `lon` is not finite, or a quantity
        is not an angle.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> int(disc(Healpix(8), lon=0, lat=90, radius=20).sum())
    24
    """
    center = to_vectors(np.array([[_angle(lon, "lon"), _angle(lat, "lat")]]))[0]
    radius = _angle(radius, "radius")
    if not 0 < radius <= 180:
        raise ValueError(f"radius must be above 0 and at most 180 degrees, got {radius}")
    # Unlike the cosine, the chord keeps its precision in small discs.
    distance = np.linalg.norm(sampling.points - center, axis=1)
    return np.asarray(distance <= 2 * np.sin(np.radians(radius) / 2))


def polygon(sampling: Sampling, vertices: ArrayLike) -> NDArray[np.bool_]:
    """Return a mask of the points in a convex polygon.

    Edges are arcs of great circles, shorter than half a circle, so the polygon fits into a
    hemisphere. Combine convex polygons with ``|`` to make others.

    Parameters
    ----------
    sampling : Sampling
        The sampling of the sphere, with n points.
    vertices : array_like, shape (m, 2), m >= 3
        Longitudes and latitudes of the corners in degrees, clockwise or counterclockwise.

    Returns
    -------
    ndarray of bool, shape (n,)
        True for points inside or on an edge.

    Raises
    ------
    TypeError
        If `vertices` are not real numbers.
    ValueError
        If `vertices` have another shape, are not finite, or lie beyond a pole, two consecutive ones
        are equal or opposite, or the polygon is not convex.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> int(polygon(Healpix(8), [(0, 0), (90, 0), (0, 90)]).sum())  # an eighth of the sphere
    104
    """
    corners = to_degrees(vertices, "vertices")
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
        raise ValueError(
            f"vertices must have shape (m, 2) with m at least 3, got shape {corners.shape}"
        )
    corners = to_vectors(corners)
    normals = np.cross(corners, np.roll(corners, -1, axis=0))
    if np.linalg.norm(normals, axis=1).min() < 1e-12:
        raise ValueError(
            "two consecutive vertices are equal or opposite; remove one or add one between them"
        )
    sides = normals @ corners.T  # the sign is the side of an edge on which a corner lies
    rounding = 1e-12
    if (sides >= -rounding).all():
        direction = 1
    elif (sides <= rounding).all():
        direction = -1
    else:
        raise ValueError("the polygon is not convex; combine convex polygons with |")
    return np.asarray((direction * (sampling.points @ normals.T) >= -rounding).all(axis=1))


def galactic_cut(sampling: Sampling, latitude: float, coordinates: str = "G") -> NDArray[np.bool_]:
    """Return a mask of the points away from the plane of our galaxy.

    Parameters
    ----------
    sampling : Sampling
        The sampling of the sphere, with n points.
    latitude : float
        Largest absolute galactic latitude to cut, in degrees, from 0 to below 90.
    coordinates : {"G", "C", "E"}, default "G"
        Coordinate system of the maps: galactic, equatorial (ICRS) or ecliptic. Most full-sky maps
        of the microwave sky are galactic, hence the default.

    Returns
    -------
    ndarray of bool, shape (n,)
        True where the absolute galactic latitude is greater than `latitude`.

    Raises
    ------
    TypeError
        If `latitude` is not a single real number.
    ValueError
        If `latitude` is out of range or a quantity that is not an angle, or `coordinates` are
        unknown.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> round(float(galactic_cut(Healpix(64), 30).mean()), 1)  # sin 30 degrees is cut
    0.5
    """
    latitude = _angle(latitude, "latitude")
    if not 0 <= latitude < 90:
        raise ValueError(f"latitude must be from 0 to below 90 degrees, got {latitude}")
    if coordinates not in FRAMES:
        raise ValueError(f"coordinates must be one of {', '.join(FRAMES)}; got {coordinates!r}")
    pole = np.array([0.0, 0.0, 1.0])
    if coordinates != "G":
        from astropy.coordinates import SkyCoord

        galactic_pole = SkyCoord(0, 90, unit="deg", frame="galactic")
        pole = galactic_pole.transform_to(FRAMES[coordinates]).cartesian.xyz.value
    return np.asarray(np.abs(sampling.points @ pole) > np.sin(np.radians(latitude)))


def _angle(value: float, name: str) -> float:
    """Return one angle in degrees."""
    angle = to_degrees(value, name)
    if angle.ndim:
        raise TypeError(f"{name} must be one number, got shape {angle.shape}")
    return float(angle)
