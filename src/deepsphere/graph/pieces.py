"""Whether a graph holds together as well as the part of the sphere that it is on."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from deepsphere.graph.spec import Graph
from deepsphere.processors import thread_count
from deepsphere.sampling import Healpix, Sampling, Scattered
from deepsphere.sampling.lonlat import to_lonlat
from deepsphere.sampling.rings import RingSampling
from deepsphere.sampling.subset import whole_of

NEGLIGIBLE = 1e-9
"""Part of the largest entry of a Laplacian below which an edge carries nothing in single precision:
points far beyond the width of the Gaussian kernel are as good as not connected."""

NEAR = 2.0
"""Up to how many pixel spacings points of one region are apart, where points are about even."""

SHOWN = 3  # places that a message lists


class DisconnectedGraphWarning(UserWarning):
    """A graph is in pieces, and nothing gets from one to another."""


def warn_if_disconnected(laplacian: csr_array, sampling: Sampling, graph: Graph) -> None:
    """Warn if a graph is in more pieces than the region that it is on.

    Parameters
    ----------
    laplacian : csr_array, shape (n, n)
        Its entries are the edges.
    sampling : Sampling
        Where the sphere is sampled.
    graph : Graph
        Which graph it is, for the message.

    Warns
    -----
    DisconnectedGraphWarning
        If the graph has more components than the sampling. A whole sphere has one; so should
        scattered points, wherever they are. A part of the sphere has as many as there are regions
        whose pixels are not adjacent.
    """
    pieces, piece = _components(_merged(_edges(laplacian), sampling))
    if pieces == 1:
        return
    expected = _regions(sampling)
    if pieces <= expected:
        return
    places = sampling.places
    piece = piece if places is None else piece[places]
    sizes = np.bincount(piece)
    cut_off = np.flatnonzero(piece != sizes.argmax())
    warnings.warn(
        _message(sampling, graph, pieces, expected, cut_off), DisconnectedGraphWarning, stacklevel=2
    )


def _message(
    sampling: Sampling, graph: Graph, pieces: int, expected: int, cut_off: NDArray[np.int64]
) -> str:
    lonlat = to_lonlat(sampling.points[cut_off])
    some = np.linspace(0, len(cut_off) - 1, min(len(cut_off), SHOWN)).astype(int)
    places = ", ".join(f"({lon:.1f}, {lat:.1f})" for lon, lat in lonlat[some])
    if sampling.crowded:
        advice = (
            "use the default graph, or Graph(k, spread=True) with k of 8 or more, which "
            "spreads the neighbors where the points of a grid crowd"
        )
    elif isinstance(whole_of(sampling)[0], Scattered):
        advice = (
            "take more neighbors, or a wider kernel such as Graph(20, width=0.1); or leave out "
            "points that are far from all others"
        )
    else:
        advice = "take more neighbors"
    regions = "" if expected == 1 else f", on {expected} separate regions"
    return (
        f"{graph!r} on {sampling!r} is in {pieces} pieces{regions}: {len(cut_off)} of "
        f"{len(sampling)} points are cut off from the largest one, and filters bring nothing from "
        f"one to another. They lie at latitudes from {lonlat[:, 1].min():.1f} to "
        f"{lonlat[:, 1].max():.1f}, for instance at (longitude, latitude) {places}. What to do: "
        f"{advice}"
    )


def _edges(laplacian: csr_array) -> csr_array:
    """Return the entries off the diagonal that are not negligible."""
    entries = laplacian.tocoo()
    sizes = np.abs(entries.data)
    kept = (entries.row != entries.col) & (sizes > NEGLIGIBLE * sizes.max(initial=0))
    ones = np.ones(np.count_nonzero(kept), dtype=np.int8)
    return csr_array((ones, (entries.row[kept], entries.col[kept])), shape=laplacian.shape)


def _merged(edges: csr_array, sampling: Sampling) -> csr_array:
    """Return the same edges between places, of which several pixels may share one."""
    places = sampling.places
    if places is None:
        return edges
    entries = edges.tocoo()
    count = int(places.max()) + 1
    ends = (places[entries.row], places[entries.col])
    return csr_array(coo_array((np.ones(edges.nnz, dtype=bool), ends), shape=(count, count)))


def _components(edges: csr_array) -> tuple[int, NDArray[np.int64]]:
    count, labels = connected_components(edges, directed=False)
    return int(count), labels


def _regions(sampling: Sampling) -> int:
    """Return how many regions of adjacent pixels a sampling has."""
    whole, indices = whole_of(sampling)
    if len(whole) == len(indices) or isinstance(whole, Scattered):
        return 1
    if isinstance(whole, Healpix):
        from deepsphere.graph.edges import adjacent_weights

        return _components(adjacent_weights(sampling))[0]
    if isinstance(whole, RingSampling):
        adjacent = csr_array(_ring_neighbors(whole)[indices][:, indices])
        return _components(_merged(adjacent, sampling))[0]
    reach = NEAR * float(np.sqrt(whole.areas.mean()))
    points = sampling.points
    distances, ends = cKDTree(points).query(
        points, min(9, len(points)), distance_upper_bound=reach, workers=thread_count()
    )
    rows, slots = np.nonzero(np.isfinite(distances))
    entries = (np.ones(len(rows), dtype=bool), (rows, ends[rows, slots]))
    return _components(csr_array(coo_array(entries, shape=(len(points),) * 2)))[0]


def _ring_neighbors(sampling: RingSampling) -> csr_array:
    """Join each point to the next one on its ring, and to those nearest on the ring to the south.

    At a pole that is no row of its own, also to the point opposite.
    """
    sizes = np.asarray(sampling.ring_sizes, dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    ring = np.repeat(np.arange(len(sizes)), sizes)
    within = np.arange(len(ring)) - starts[ring]
    numbers = np.arange(len(ring))
    rows, columns = [numbers], [starts[ring] + (within + 1) % sizes[ring]]
    upper = numbers[ring < len(sizes) - 1]
    south = ring[upper] + 1
    exact = within[upper] * sizes[south] / sizes[ring[upper]]
    for nearest in (np.floor(exact), np.ceil(exact)):
        rows.append(upper)
        columns.append(starts[south] + nearest.astype(np.int64) % sizes[south])
    for cap in (0, len(sizes) - 1):
        around = starts[cap] + np.arange(sizes[cap])
        rows.append(around)
        columns.append(np.roll(around, sizes[cap] // 2))
    row, column = np.concatenate(rows), np.concatenate(columns)
    return csr_array(
        coo_array((np.ones(len(row), dtype=np.int8), (row, column)), shape=(len(ring),) * 2)
    )
