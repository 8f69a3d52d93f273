"""Voronoi cells of points on the sphere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial import ConvexHull, SphericalVoronoi, cKDTree

COINCIDENT = 1e-9
"""Distance of unit vectors up to which they count as one point; 6 mm on the Earth."""

TIE = 1e-12
"""Difference up to which distances count as equal, well above rounding errors."""

FLAT = 1e-9
"""Distance from a plane up to which points count as lying on one circle."""


def voronoi_areas(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the solid angles of the Voronoi cells of points.

    Parameters
    ----------
    points : ndarray of float64, shape (n, 3), n >= 1
        Unit vectors, no two of them within `COINCIDENT` of each other.

    Returns
    -------
    ndarray of float64, shape (n,)
        Areas in steradian, which sum to 4 pi.

    Raises
    ------
    ValueError
        If two points coincide, or all points lie too close together.

    Notes
    -----
    The areas are those of `scipy.spatial.SphericalVoronoi`, after M. Caroli et al., "Robust and
    Efficient Delaunay Triangulations of Points on or Close to a Sphere" (2010). 50 000 points take
    a second. Points on one circle, which SciPy does not support, divide the sphere into wedges.
    """
    axes, flat = _principal_axes(points)
    if flat:
        return _wedges(points @ axes[:2].T)
    areas = SphericalVoronoi(points, threshold=COINCIDENT).calculate_areas()
    return areas * (4 * np.pi / areas.sum())


def circular_order(points: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """Return the order of points around a circle, or None if they do not lie on one.

    Parameters
    ----------
    points : ndarray of float64, shape (n, 3), n >= 1
        Unit vectors. Three or fewer always lie on one circle.

    Returns
    -------
    ndarray of int64, shape (n,), or None
        Indices of the points in order. The Voronoi cell of a point on a circle is a wedge between
        those of the previous and the next point.
    """
    axes, flat = _principal_axes(points)
    if not flat:
        return None
    x, y = axes[:2] @ (points - points.mean(axis=0)).T
    return np.argsort(np.arctan2(y, x))


def farthest_places(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return candidates for the places on the sphere that are farthest from the points.

    Parameters
    ----------
    points : ndarray of float64, shape (n, 3), n >= 1
        Unit vectors, no two of them within `COINCIDENT` of each other.

    Returns
    -------
    ndarray of float64, shape (k, 3)
        Unit vectors. They include the farthest place of the Voronoi cell of each point.

    Notes
    -----
    In a cell, the distance to its point is largest at a corner, which is the center of the circle
    through three points: the direction of the outer normal of their face of the convex hull. If the
    points lie in one hemisphere, the distance can also be largest opposite to the midpoint of two
    points, or opposite to one point.
    """
    axes, flat = _principal_axes(points)
    opposite = [-points]
    if not flat:
        hull = ConvexHull(points)
        corners = hull.equations[:, :3]
        if hull.equations[:, 3].max() < 0:  # the center of the sphere lies within
            return corners
        sides = hull.simplices[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    else:
        corners = np.stack((axes[2], -axes[2]))
        x, y = axes[:2] @ points.T
        order = np.argsort(np.arctan2(y, x))
        sides = np.column_stack((order, np.roll(order, 1)))
    middles = points[sides].sum(axis=1)
    lengths = np.linalg.norm(middles, axis=1)
    opposite.append(-middles[lengths > FLAT] / lengths[lengths > FLAT, None])
    return np.concatenate((corners, *opposite))


def nearest_shares(points: NDArray[np.float64], coarse_points: NDArray[np.float64]) -> csr_array:
    """Return the membership in which each point belongs to the nearest coarse point.

    Parameters
    ----------
    points, coarse_points : ndarray of float64, shapes (n, 3) and (m, 3)
        Unit vectors.

    Returns
    -------
    csr_array of float64, shape (m, n)
        The membership, with a single 1 in each column. Ties go to the first coarse point.
    """
    n = len(points)
    m = len(coarse_points)
    distances, nearest = cKDTree(coarse_points).query(points, np.arange(1, min(m, 4) + 1))
    # Ties within rounding errors go to the first, so the choice is the same on all machines.
    nearest = np.where(distances <= distances[:, :1] + TIE, nearest, m).min(axis=1)
    return csr_array((np.ones(n), (nearest, np.arange(n))), shape=(m, n))


def _principal_axes(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], bool]:
    """Return the principal axes of points, and whether the points lie on one circle."""
    centered = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(centered, full_matrices=len(points) < 3)
    return axes, len(points) < 4 or bool(np.abs(centered @ axes[2]).max() < FLAT)


def _wedges(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the areas for points on one circle, given in the plane of the circle."""
    radii = np.linalg.norm(vectors, axis=1)
    if len(radii) > 3 and np.ptp(radii) > 1e-3 * radii.max():
        raise ValueError(
            f"{len(radii)} points are so close together that their cells cannot be computed: they "
            f"are flat to {FLAT}; drop some of them"
        )
    angles = np.arctan2(vectors[:, 1], vectors[:, 0])
    order = np.argsort(angles)
    gaps = np.diff(angles[order], append=angles[order[0]] + 2 * np.pi)
    areas = np.empty(len(angles))
    areas[order] = gaps + np.roll(gaps, 1)  # a wedge of width w has the area 2 w
    return areas
