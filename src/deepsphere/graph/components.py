"""Warning about graphs with more connected components than the sampled region."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from deepsphere._processors import thread_count
from deepsphere.graph.spec import Graph
from deepsphere.sampling import Healpix, Sampling, Scattered
from deepsphere.sampling.lonlat import to_lonlat
from deepsphere.sampling.rings import RingSampling

NEGLIGIBLE = 1e-9
"""Entries of a Laplacian below this fraction of the largest are ignored. Their edges have no effect
in single precision. They join points far beyond the width of the Gaussian kernel."""

NEAR = 2.0
"""Largest distance between adjacent points of a region, in pixel spacings, on even samplings."""

SHOWN = 3  # number of places that a message lists


class DisconnectedGraphWarning(UserWarning):
    """A graph has several connected components, between which filters carry no information."""


def warn_if_disconnected(laplacian: csr_array, sampling: Sampling, graph: Graph) -> None:
    """Warn if a graph has more connected components than the sampled region.

    Parameters
    ----------
    laplacian : csr_array, shape (n, n)
        A matrix whose off-diagonal entries are the edges.
    sampling : Sampling
        The sampling of the sphere.
    graph : Graph
        The graph, for the message.

    Warns
    -----
    DisconnectedGraphWarning
        If the graph has more components than the sampling. The whole sphere and scattered points
        count as one component. A part of the sphere has as many as it has separate regions of
        adjacent pixels.
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
            "use the default graph, or Graph(k, spread=True) with k of 8 or more, which spreads "
            "the neighbors where the points of a grid are crowded"
        )
    elif isinstance(sampling.whole, Scattered):
        advice = (
            "use more neighbors, or a wider kernel such as Graph(20, width=0.1); or leave out "
            "points that are far from all others"
        )
    else:
        advice = "use more neighbors"
    regions = "" if expected == 1 else f", on {expected} separate regions"
    return (
        f"{graph!r} on {sampling!r} has {pieces} pieces{regions}: {len(cut_off)} of "
        f"{len(sampling)} points are cut off from the largest one, and filters carry no "
        f"information between the pieces. They lie at latitudes from {lonlat[:, 1].min():.1f} to "
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
    """Return the edges between places instead of pixels, several of which may coincide."""
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
    """Return the number of regions of adjacent pixels of a sampling."""
    whole, indices = sampling.whole, sampling.indices
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
    """Join each point to the next on its ring, and to the nearest on the next ring to the south.

    Points of the first and the last ring are also joined to the opposite point.
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
