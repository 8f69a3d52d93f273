"""Edges to neighbours that are spread over a disc of one size, where points crowd."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.spatial import cKDTree

from deepsphere.graph.neighbors import check_neighbors, nearest_neighbors

BATCH = 2**20
"""Candidates that are looked at together, three coordinates each: arrays of 25 MB."""

ROUNDING = 1e-9
"""Part of the radius to which distances are rounded before they are compared, so that the choice
among equal ones, the first, does not depend on how a machine rounds."""


def edges_to_spread(
    points: NDArray[np.float64], neighbors: int, count: float | None = None
) -> csr_array:
    """Join each point to its nearest neighbours, or where they crowd to some spread over a disc.

    The disc is the one that holds `neighbors` points of the mean density. A point with no more
    than those in it takes its nearest ones. One with more takes first the farthest in the disc, and
    then always the one farthest from all that it has, itself among them.

    Parameters
    ----------
    points : ndarray of float64, shape (n, 3)
        Distinct unit vectors.
    neighbors : int
        How many; clipped to ``n - 1``.
    count : float, optional
        How many points the whole sphere has at the mean density. Default: n.

    Returns
    -------
    csr_array of float64, shape (n, n)
        The chord distance along each edge; symmetric, rows sorted. A point also has the edges of
        those that took it: up to about twice as many as `neighbors` where points crowd.

    Raises
    ------
    TypeError, ValueError
        If `neighbors` is not an integer of one or more.

    Notes
    -----
    T. F. Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical Computer
    Science 38 (1985), for choosing the farthest.
    """
    n = len(points)
    taken = min(check_neighbors(neighbors), n - 1)
    rows, columns, _ = nearest_neighbors(points, neighbors)
    # A cap of the chord c has the part c**2 / 4 of the sphere.
    radius = min(2 * np.sqrt(neighbors / (n if count is None else count)), 2.0)
    tree = cKDTree(points)
    held = tree.query_ball_point(points, radius, return_length=True) - 1
    crowded = np.flatnonzero(held > taken)
    kept = held[rows] <= taken
    starts, ends = [rows[kept]], [columns[kept]]
    crowded = crowded[np.argsort(held[crowded], kind="stable")]
    while len(crowded):
        # Sorted by their number of candidates: one size holds for the whole batch.
        size = max(1, int(np.searchsorted(np.cumsum(held[crowded] + 1), BATCH)))
        batch, crowded = crowded[:size], crowded[size:]
        starts.append(np.repeat(batch, taken))
        ends.append(_farthest(points, tree, batch, radius, taken).ravel())
    row, column = np.concatenate(starts), np.concatenate(ends)
    distances = np.linalg.norm(points[row] - points[column], axis=1)
    directed = csr_array(coo_array((distances, (row, column)), shape=(n, n)))
    edges = csr_array(directed.maximum(directed.T.tocsr()))
    edges.sort_indices()
    return edges


def _farthest(
    points: NDArray[np.float64],
    tree: cKDTree,
    centers: NDArray[np.int64],
    radius: float,
    taken: int,
) -> NDArray[np.int64]:
    """Return the numbers of spread points around some, shape (centers, taken)."""
    lists = tree.query_ball_point(points[centers], radius, return_sorted=True)
    lengths = np.array([len(one) for one in lists])
    filled = np.arange(lengths.max()) < lengths[:, None]
    candidates = np.repeat(centers[:, None], lengths.max(), axis=1)  # padding: the point itself
    candidates[filled] = np.concatenate(lists)
    places = points[candidates]
    last, every = points[centers], np.arange(len(centers))
    gaps = np.full(candidates.shape, np.inf)  # to the nearest one that was taken
    chosen = np.empty((len(centers), taken), dtype=np.int64)
    for i in range(taken):
        distances = np.linalg.norm(places - last[:, None], axis=2)
        gaps = np.minimum(gaps, np.round(distances / (ROUNDING * radius)))
        best = gaps.argmax(axis=1)
        chosen[:, i], last = candidates[every, best], places[every, best]
    return chosen
