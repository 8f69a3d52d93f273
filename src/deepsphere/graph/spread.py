"""Edges to neighbors that are spread over a disc of constant size, for crowded points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.spatial import cKDTree

from deepsphere._processors import thread_count
from deepsphere.graph.meridian import Meridian
from deepsphere.graph.neighbors import check_neighbors, nearest_neighbors

BATCH = 2**20
"""Candidates processed together, with three coordinates each: arrays of 25 MB."""

ROUNDING = 1e-9
"""Unit, relative to the radius, to which distances are rounded before they are compared. Ties then
go to the first candidate on every machine."""

Indices = NDArray[np.int64]


def edges_to_spread(
    points: NDArray[np.float64],
    neighbors: int,
    count: float | None = None,
    meridian: Meridian | None = None,
) -> csr_array:
    """Join each point to its nearest neighbors or, where crowded, to neighbors in a disc.

    The disc is the one that holds `neighbors` points at the mean density. If it holds no more than
    that around a point, the point takes its nearest neighbors. If it holds more, the point takes
    the farthest point in the disc first, and then repeatedly the one farthest from itself and from
    those already taken.

    Parameters
    ----------
    points : ndarray of float64, shape (n, 3)
        Distinct unit vectors.
    neighbors : int
        Number of neighbors that each point takes, clipped to ``n - 1``.
    count : float, optional
        Number of points of the whole sphere at the mean density. Defaults to n.
    meridian : Meridian, optional
        The meridian of a grid: only its points take neighbors, and the edges are rotated to the
        other points of their rows.

    Returns
    -------
    csr_array of float64, shape (n, n)
        Chord distances along the edges; symmetric, with sorted rows. Edges run both ways, so a
        point has up to about twice `neighbors` edges where points are crowded. A pole of a grid has
        only the edges that it took itself; otherwise all points around it would be joined to it.

    Raises
    ------
    TypeError
        If `neighbors` is not an integer.
    ValueError
        If `neighbors` is less than 1.

    Notes
    -----
    Taking the farthest: T. F. Gonzalez, "Clustering to minimize the maximum intercluster distance",
    Theoretical Computer Science 38 (1985).
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
    """Return the edges of `edges_to_spread` for the first points and for the poles of a grid.

    Parameters
    ----------
    points, neighbors, count, meridian
        See `edges_to_spread`.

    Returns
    -------
    rows, at_poles : csr_array of float64, shape (n, n)
        Chord distances along the edges. `rows` holds the edges from first points, without those at
        a pole; rotated around the axis they give all such edges. `at_poles` holds the edges at the
        poles, in both directions.
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
    """Return the matrix of distances along edges, which may be repeated."""
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
    """Return the directed edges from points to the neighbors that they take.

    Parameters
    ----------
    points, neighbors, count
        See `edges_to_spread`.
    centers : ndarray of int64, optional
        Indices of the points that take neighbors. Defaults to all.

    Returns
    -------
    starts, ends : ndarray of int64, shape (edges,)
        Indices of the points that take a neighbor, and of the neighbors.
    """
    n = len(points)
    taken = min(check_neighbors(neighbors), n - 1)
    centers = np.arange(n) if centers is None else centers
    rows, columns, _ = nearest_neighbors(points, neighbors, centers)
    # A cap with chord c covers the fraction c**2 / 4 of the sphere.
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
        # Points are sorted by their number of candidates, which is about equal within a batch.
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
    """Return the indices of the neighbors spread around each center, shape (centers, taken)."""
    lists = tree.query_ball_point(points[centers], radius, return_sorted=True)
    lengths = np.array([len(one) for one in lists])
    filled = np.arange(lengths.max()) < lengths[:, None]
    candidates = np.repeat(centers[:, None], lengths.max(), axis=1)  # padding: the point itself
    candidates[filled] = np.concatenate(lists)
    places = points[candidates]
    last, every = points[centers], np.arange(len(centers))
    gaps = np.full(candidates.shape, np.inf)  # distance to the nearest point already taken
    chosen = np.empty((len(centers), taken), dtype=np.int64)
    for i in range(taken):
        distances = np.linalg.norm(places - last[:, None], axis=2)
        gaps = np.minimum(gaps, np.round(distances / (ROUNDING * radius)))
        best = gaps.argmax(axis=1)
        chosen[:, i], last = candidates[every, best], places[every, best]
    return chosen
