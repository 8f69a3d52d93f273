"""Nearest neighbors of points on the sphere."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from deepsphere._checks import check_count
from deepsphere._processors import thread_count
from deepsphere.sampling.voronoi import COINCIDENT

TIE = 1e-10
"""Relative difference below which two distances count as equal.

At nside 8192, rounding of the coordinates changes distances by 1e-12 of their value.
"""


class Neighbors(NamedTuple):
    """Directed edges from points to their nearest neighbors, sorted by point.

    Attributes
    ----------
    rows, columns : ndarray of int64, shape (edges,)
        Indices of the points and of their neighbors.
    distances : ndarray of float64, shape (edges,)
        Chord distances between them.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    distances: NDArray[np.float64]


def check_neighbors(neighbors: int) -> int:
    """Return a number of neighbors as an int, or raise if it is not an integer >= 1."""
    return check_count(neighbors, "neighbors")


def nearest_neighbors(
    points: NDArray[np.float64], neighbors: int, centers: NDArray[np.int64] | None = None
) -> Neighbors:
    """Find the nearest neighbors of each point.

    All points at the distance of the last neighbor are included. The graph then has the symmetries
    of the points, and does not depend on rounding.

    Parameters
    ----------
    points : ndarray of float64, shape (n, 3)
        Distinct unit vectors.
    neighbors : int
        Number of neighbors of each point, clipped to ``n - 1``.
    centers : ndarray of int64, optional
        Indices of the points whose neighbors to find, in increasing order. Defaults to all.

    Returns
    -------
    Neighbors
        The directed edges, and the chord (Euclidean) distance along each.

    Raises
    ------
    TypeError
        If `neighbors` is not an integer.
    ValueError
        If `neighbors` is less than 1.
    """
    n = len(points)
    k = min(check_neighbors(neighbors), n - 1)
    if k == 0:
        nothing = np.zeros(0, dtype=np.int64)
        return Neighbors(nothing, nothing, np.zeros(0))
    # An unbalanced tree is faster to build, and equally good for evenly spread points.
    tree = cKDTree(points, balanced_tree=False, compact_nodes=False)
    todo, found = np.arange(n) if centers is None else centers, []
    spare = 1
    while len(todo):
        distances, columns = tree.query(points[todo], min(k + 1 + spare, n), workers=thread_count())
        limit = distances[:, k] * (1 + TIE)
        cut = (distances[:, -1] <= limit) & (distances.shape[1] < n)  # there may be more ties
        keep = (distances <= limit[:, None]) & (columns != todo[:, None]) & ~cut[:, None]
        rows = np.broadcast_to(todo[:, None], keep.shape)
        found.append((rows[keep], columns[keep], distances[keep]))
        todo, spare = todo[cut], 4 * spare
    rows, columns, distances = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if len(found) > 1:
        order = np.argsort(rows, kind="stable")
        rows, columns, distances = rows[order], columns[order], distances[order]
    return Neighbors(rows, columns, distances)


def edges_to_nearest(points: NDArray[np.float64], neighbors: int) -> csr_array:
    """Join two points if either is among the nearest neighbors of the other.

    Parameters
    ----------
    points : ndarray of float64, shape (n, 3)
        Distinct unit vectors.
    neighbors : int
        Number of neighbors of each point, clipped to ``n - 1``.

    Returns
    -------
    csr_array of float64, shape (n, n)
        Chord distances along the edges; symmetric, with sorted rows.

    Raises
    ------
    TypeError
        If `neighbors` is not an integer.
    ValueError
        If `neighbors` is less than 1, or points coincide.
    """
    n = len(points)
    rows, columns, distances = nearest_neighbors(points, neighbors)
    if len(distances) and distances.min() < COINCIDENT:
        raise ValueError(
            f"points must be distinct, but vertices {rows[distances.argmin()]} and "
            f"{columns[distances.argmin()]} coincide; Sampling.places lists the points that "
            "coincide"
        )
    starts = np.searchsorted(rows, np.arange(n + 1))
    index = np.int32 if len(rows) < 2**30 else np.int64
    directed = csr_array((distances, columns.astype(index), starts.astype(index)), shape=(n, n))
    directed.sort_indices()
    return directed.maximum(directed.T.tocsr())
