"""Linear interpolation between the points of a sampling, accurate to second order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.spatial import ConvexHull, cKDTree

from deepsphere.sampling.base import Sampling
from deepsphere.sampling.healpix import Healpix
from deepsphere.sampling.rings import RingSampling
from deepsphere.sampling.subset import Subset
from deepsphere.sampling.voronoi import circular_order

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

NOTHING = 1e-12
"""Weights below this are rounding errors."""


def bilinear_matrix(source: Sampling, points: Floats) -> csr_array:
    """Return the matrix that interpolates values between the points of a sampling.

    Parameters
    ----------
    source : Sampling
        The sampling of the values.
    points : ndarray of float64, shape (m, 3)
        Unit vectors at which to interpolate.

    Returns
    -------
    csr_array of float64, shape (m, len(source))
        Nonnegative weights; rows sum to 1. A point of the source gets its own value. For a smooth
        field, the error falls with the square of the point spacing.

    Notes
    -----
    - On rings of latitude (all longitude-latitude grids): linear in longitude on the rings to the
      north and to the south, then linear in latitude. The value at a pole without a row is the mean
      of the ring around it.
    - On HEALPix: the same on its rings, computed by astropy-healpix, as in healpy's
      ``get_interp_val``. Near the poles, where rings have 4, 8, 12, ... pixels, the accuracy is
      first order only.
    - On other samplings: linear in the triangle of the spherical Delaunay triangulation that
      contains the point. Points on one circle span no triangles; the two nearest are then weighted
      by inverse distance.

    On a part of a sampling, the weights of missing points go to the other surrounding points. If
    all are missing, the nearest point is used.
    """
    whole = source.whole if isinstance(source, Subset) else source
    if isinstance(whole, RingSampling):
        matrix = _on_rings(whole, points)
    elif isinstance(whole, Healpix):
        matrix = _on_healpix(whole, points)
    else:
        matrix = _in_triangles(whole.points, points)
    if isinstance(source, Subset):
        matrix = csr_array(matrix[:, source.indices])
    return _finished(matrix, source, points)


def _finished(matrix: csr_array, source: Sampling, points: Floats) -> csr_array:
    matrix.data[matrix.data < NOTHING] = 0
    matrix.eliminate_zeros()
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    alone = np.flatnonzero(sums == 0)
    if len(alone):
        nearest = cKDTree(source.points).query(points[alone])[1]
        parts = (np.ones(len(alone)), (alone, nearest))
        matrix = matrix + csr_array(parts, shape=matrix.shape)
        sums[alone] = 1
    result = csr_array(diags_array(1 / sums) @ matrix)
    result.sort_indices()
    return result


def _on_rings(grid: RingSampling, points: Floats) -> csr_array:
    colatitudes = np.arctan2(np.hypot(points[:, 0], points[:, 1]), points[:, 2])
    turns = np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi)
    sizes, rings = grid.ring_sizes, grid.colatitudes
    starts = np.cumsum(sizes) - sizes
    below = np.searchsorted(rings, colatitudes)
    # Add the poles as rings, with a gap of 0 where the first or the last ring lies at a pole.
    edges = np.concatenate(([0.0], rings, [np.pi]))
    gaps = np.diff(edges)[below]
    shares = np.where(gaps > 0, (colatitudes - edges[below]) / np.where(gaps > 0, gaps, 1), 1.0)
    entries = []
    for ring, share in ((below - 1, 1 - shares), (below, shares)):
        on_ring = np.flatnonzero((ring >= 0) & (ring < len(rings)))
        size, start = sizes[ring[on_ring]], starts[ring[on_ring]]
        place = turns[on_ring] % 1 * size
        west = np.floor(place)
        for cell, part in ((west, 1 - (place - west)), (west + 1, place - west)):
            columns = start + cell.astype(np.int64) % size
            entries.append((share[on_ring] * part, on_ring, columns))
        for pole, around in ((-1, 0), (len(rings), -1)):
            at_pole = np.flatnonzero(ring == pole)
            members = starts[around] + np.arange(sizes[around])
            count = len(members)
            entries.append(
                (
                    np.repeat(share[at_pole] / count, count),
                    np.repeat(at_pole, count),
                    np.tile(members, len(at_pole)),
                )
            )
    values, rows, columns = (np.concatenate(part) for part in zip(*entries, strict=True))
    return csr_array(coo_array((values, (rows, columns)), (len(points), len(grid))).tocsr())


def _on_healpix(sphere: Healpix, points: Floats) -> csr_array:
    from astropy_healpix.healpy import get_interp_weights

    colatitudes = np.arctan2(np.hypot(points[:, 0], points[:, 1]), points[:, 2])
    longitudes = np.arctan2(points[:, 1], points[:, 0]) % (2 * np.pi)
    pixels, weights = get_interp_weights(sphere.nside, colatitudes, longitudes, nest=True)
    columns = np.minimum(np.searchsorted(sphere.pixels, pixels), len(sphere) - 1)
    weights = np.where(sphere.pixels[columns] == pixels, weights, 0.0)
    rows = np.broadcast_to(np.arange(len(points)), pixels.shape)
    parts = (weights.ravel(), (rows.ravel(), columns.ravel()))
    return csr_array(coo_array(parts, (len(points), len(sphere))).tocsr())


def _in_triangles(vertices: Floats, points: Floats) -> csr_array:
    n = len(vertices)
    if circular_order(vertices) is not None:
        count = min(2, n)
        distances, corners = cKDTree(vertices).query(points, np.arange(1, count + 1))
        weights = 1 / np.maximum(distances, 1e-14)
    else:
        vertices, triangles, neighbors, outwards = _triangulation(vertices)
        corners, weights = _located(vertices, triangles, neighbors, outwards, points)
    weights = np.where(corners < n, weights, 0)  # vertices added by _triangulation have no value
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    rows = np.broadcast_to(np.arange(len(points))[:, None], corners.shape)
    parts = (weights.ravel(), (rows.ravel(), np.minimum(corners, n - 1).ravel()))
    return csr_array(coo_array(parts, (len(points), n)).tocsr())


def _triangulation(vertices: Floats) -> tuple[Floats, Integers, Integers, NDArray[np.bool_]]:
    """Return triangles that cover the sphere, adding vertices where half of it is empty."""
    while True:
        hull = ConvexHull(vertices)
        widest = hull.equations[:, 3].argmax()
        if hull.equations[widest, 3] < -NOTHING:
            break
        vertices = np.concatenate((vertices, hull.equations[widest, :3][None]))
    a, b, c = np.moveaxis(vertices[hull.simplices], 1, 0)
    outwards = np.einsum("ij,ij->i", np.cross(b - a, c - a), hull.equations[:, :3]) > 0
    return vertices, hull.simplices, hull.neighbors, outwards


def _located(
    vertices: Floats,
    triangles: Integers,
    neighbors: Integers,
    outwards: NDArray[np.bool_],
    points: Floats,
) -> tuple[Integers, Floats]:
    """Return the corners of the triangle around each point, and their weights.

    The search walks from a triangle at the nearest vertex, always across the side that the point
    lies farthest beyond. In a Delaunay triangulation the walk ends (B. Joe; L. De Floriani).
    """
    first = np.zeros(len(vertices), np.int64)
    first[triangles.ravel()] = np.repeat(np.arange(len(triangles)), 3)
    used = np.unique(triangles)
    current = first[used[cKDTree(vertices[used]).query(points)[1]]]
    weights = np.zeros((len(points), 3))
    active = np.arange(len(points))
    for _ in range(len(triangles)):
        a, b, c = np.moveaxis(vertices[triangles[current[active]]], 1, 0)
        p = points[active]
        inside = np.stack(
            [np.einsum("ij,ij->i", p, np.cross(*side)) for side in ((b, c), (c, a), (a, b))], axis=1
        )
        inside[~outwards[current[active]]] *= -1
        least = inside.argmin(axis=1)
        done = inside.min(axis=1) >= -NOTHING * np.abs(inside).max(axis=1)
        weights[active[done]] = np.maximum(inside[done], 0)
        active, least = active[~done], least[~done]
        if not len(active):
            break
        current[active] = neighbors[current[active], least]
    return triangles[current], weights
