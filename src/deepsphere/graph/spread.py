"""Edges to neighbors that are spread over a disc of one size, where points crowd."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.spatial import cKDTree

from deepsphere.graph.meridian import Meridian
from deepsphere.graph.neighbors import check_neighbors, nearest_neighbors
from deepsphere.processors import thread_count

BATCH = 2**20
"""Candidates that are looked at together, three coordinates each: arrays of 25 MB."""

ROUNDING = 1e-9
"""Part of the radius to which distances are rounded before they are compared, so that the choice
among equal ones, the first, does not depend on how a machine rounds."""

Indices = NDArray[np.int64]


def edges_to_spread(
    points: NDArray[np.float64],
    neighbors: int,
    count: float | None = None,
    meridian: Meridian | None = None,
) -> csr_array:
    """Join each point to its nearest neighbors, or where they crowd to some spread over a disc.

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
    meridian : Meridian, optional
        Of a grid: its first points choose, for all others in their rows.

    Returns
    -------
    csr_array of float64, shape (n, n)
        The chord distance along each edge; symmetric, rows sorted. A point also has the edges of
        those that took it: up to about twice as many as `neighbors` where points crowd. A point
        that is a pole of a grid only has those that it took itself; all around would take it.

    Raises
    ------
    TypeError, ValueError
        If `neighbors` is not an integer of one or more.

    Notes
    -----
    T. F. Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical Computer
    Science 38 (1985), for choosing the farthest.
    """
    if meridian is None:
        starts, ends = spread_neighbors(points, neighbors, count)
        return _with_distances(points, np.append(starts, ends), np.append(ends, starts))
    rows, at_poles = spread_along(points, neighbors, count, meridian)
    edges = meridian.turned(csr_array(rows[meridian.firsts]))
    return csr_array(edges.maximum(at_poles)) if at_poles.nnz else edges


def spread_along(
    points: NDArray[np.float64], neighbors: int, count: float | None, meridian: Meridian
) -> tuple[csr_array, csr_array]:
    """Return the edges of `edges_to_spread` of a grid: those of the first points, and of the poles.

    Parameters
    ----------
    points, neighbors, count, meridian
        As for `edges_to_spread`.

    Returns
    -------
    rows, at_poles : csr_array of float64, shape (n, n)
        The chord distance along each edge. `rows` has edges from the first points, none at a pole;
        turned round the axis they are all of these. `at_poles` has all others, in both directions.
    """
    starts, ends = spread_neighbors(points, neighbors, count, meridian.firsts)
    pole = meridian.at_pole(starts)
    between = ~pole & ~meridian.at_pole(ends)
    more_starts, more_ends = meridian.reversed(starts[between], ends[between])
    rows = _with_distances(
        points, np.append(starts[between], more_starts), np.append(ends[between], more_ends)
    )
    starts, ends = starts[pole], ends[pole]
    return rows, _with_distances(points, np.append(starts, ends), np.append(ends, starts))


def _with_distances(points: NDArray[np.float64], starts: Indices, ends: Indices) -> csr_array:
    """Return the matrix of the distances along edges, each of which may be given several times."""
    n = len(points)
    ones = np.ones(len(starts))
    edges = csr_array(coo_array((ones, (starts, ends)), shape=(n, n)))
    edges.sort_indices()
    rows = np.repeat(np.arange(n), np.diff(edges.indptr))
    edges.data = np.linalg.norm(points[rows] - points[edges.indices], axis=1)
    return edges


def spread_neighbors(
    points: NDArray[np.float64],
    neighbors: int,
    count: float | None = None,
    centers: Indices | None = None,
) -> tuple[Indices, Indices]:
    """Return edges from points to the neighbors that they take, see `edges_to_spread`.

    Parameters
    ----------
    points, neighbors, count
        As for `edges_to_spread`.
    centers : ndarray of int64, optional
        Which points take neighbors. Default: all.

    Returns
    -------
    starts, ends : ndarray of int64, shape (edges,)
    """
    n = len(points)
    taken = min(check_neighbors(neighbors), n - 1)
    centers = np.arange(n) if centers is None else centers
    rows, columns, _ = nearest_neighbors(points, neighbors, centers)
    # A cap of the chord c has the part c**2 / 4 of the sphere.
    radius = min(2 * np.sqrt(neighbors / (n if count is None else count)), 2.0)
    tree = cKDTree(points)
    held = tree.query_ball_point(
        points[centers], radius, return_length=True, workers=thread_count()
    )
    held = held - 1
    crowded = np.flatnonzero(held > taken)
    kept = ~np.isin(rows, centers[crowded])
    starts, ends = [rows[kept]], [columns[kept]]
    crowded = crowded[np.argsort(held[crowded], kind="stable")]
    while len(crowded):
        # Sorted by their number of candidates: one size holds for the whole batch.
        size = max(1, int(np.searchsorted(np.cumsum(held[crowded] + 1), BATCH)))
        batch, crowded = crowded[:size], crowded[size:]
        starts.append(np.repeat(centers[batch], taken))
        ends.append(_farthest(points, tree, centers[batch], radius, taken).ravel())
    return np.concatenate(starts), np.concatenate(ends)


def _farthest(
    points: NDArray[np.float64],
    tree: cKDTree,
    centers: Indices,
    radius: float,
    taken: int,
) -> Indices:
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
