"""Weighted edges of a graph, and sets of edges other than the nearest neighbors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.spatial import ConvexHull

from deepsphere.graph.coincident import DistinctPoints, distinct, spread_back
from deepsphere.graph.components import warn_if_disconnected
from deepsphere.graph.spec import GraphLike, as_graph
from deepsphere.graph.weights import gaussian_weights, join
from deepsphere.sampling import Healpix, Sampling


def edge_weights(sampling: Sampling, graph: GraphLike | None = None) -> csr_array:
    """Return the weighted edges of a graph.

    Parameters
    ----------
    sampling : Sampling
        The sampling of the sphere, with n points.
    graph : Graph, int or str, optional
        A `Graph`, a number of nearest neighbors, or the name of a set of edges. Nearest neighbors
        have Gaussian weights (`gaussian_weights`); ``"mesh"``, ``"grid"`` and ``"adjacent"`` have
        those of `mesh_weights`, `grid_weights` and `adjacent_weights`. The Laplacian of the graph
        is ignored.

    Returns
    -------
    csr_array of float64, shape (n, n)
        Symmetric weights with an empty diagonal. Pixels that coincide, as in a row at a pole, all
        have the edges of the point that they share. A neighbor of that point is joined to some of
        the pixels only, so its weights are not symmetric.

    Raises
    ------
    TypeError
        If `graph` has another type, or its edges are not defined for this kind of sampling.
    ValueError
        If `graph` is an invalid number or name, its number of neighbors is not resolved
        (``max_error``), or its edges are not the nearest neighbors and are undefined on this
        sampling, because several points coincide, for instance.
    """
    graph = as_graph(graph)
    if graph.edges == "nearest":
        return gaussian_weights(sampling, graph.neighbor_count, graph.width, graph.spread)
    if isinstance(distinct(sampling), DistinctPoints):
        raise ValueError(
            f"several points of {sampling!r} lie at a pole, where edges={graph.edges!r} are "
            "undefined; use the default graph, or a grid without rows at the poles"
        )
    make = {"mesh": mesh_weights, "grid": grid_weights, "adjacent": adjacent_weights}
    return make[graph.edges](sampling)


def edge_pattern(sampling: Sampling, graph: GraphLike | None = None) -> csr_array:
    """Return the edges of a graph, with weights of 1.

    Parameters
    ----------
    sampling, graph
        As for `edge_weights`.

    Returns
    -------
    csr_array of float64, shape (n, n)
        Ones; symmetric, with an empty diagonal. Where several pixels coincide, a neighbor is joined
        to only one of them, that of its own longitude.

    Raises
    ------
    TypeError, ValueError
        As for `edge_weights`.

    Warns
    -----
    DisconnectedGraphWarning
        If the graph has more connected components than the sampled region.
    """
    graph = as_graph(graph)
    if graph.edges == "nearest":
        spread = sampling.crowded if graph.spread is None else graph.spread
        edges = spread_back(
            join(distinct(sampling), graph.neighbor_count, spread), sampling, read=1
        )
    else:
        edges = edge_weights(sampling, graph)
    edges.data = np.ones_like(edges.data)
    warn_if_disconnected(edges, sampling, graph)
    return edges


def mesh_weights(sampling: Sampling) -> csr_array:
    """Join the points whose Voronoi cells touch, with cotangent weights.

    These are the edges of the Delaunay triangulation of the sphere. The weight of an edge is half
    the sum of the cotangents of the two angles opposite to it: on the flat triangles, the length of
    the side that the cells share, divided by the distance of the points. With these weights
    ``D - W`` is the stiffness matrix of linear finite elements.

    Parameters
    ----------
    sampling : Sampling
        n distinct points.

    Returns
    -------
    csr_array of float64, shape (n, n)
        Symmetric weights, about six per point. Triangles with an edge longer than three times the
        median are left out, because on a part of the sphere they span regions that are not sampled.

    Raises
    ------
    ValueError
        If there are fewer than four points, or points coincide.

    Notes
    -----
    U. Pinkall and K. Polthier, "Computing discrete minimal surfaces and their conjugates",
    Experimental Mathematics 2 (1993). The triangulation is the convex hull of the points.
    """
    points = sampling.points
    n = len(points)
    if n < 4:
        raise ValueError(f"a mesh needs at least four points, got {n}")
    hull = ConvexHull(points)
    if len(hull.vertices) < n:
        raise ValueError(
            f"{n - len(hull.vertices)} of {n} points of {sampling!r} coincide with another one, "
            "so there is no mesh; use nearest neighbors"
        )
    triangles = hull.simplices
    sides = points[np.roll(triangles, -1, axis=1)] - points[triangles]
    lengths = np.linalg.norm(sides, axis=2)
    kept = lengths.max(axis=1) <= 3 * np.median(lengths)
    triangles, sides = triangles[kept], sides[kept]
    rows, columns, values = [], [], []
    for corner in range(3):  # sides[corner] starts at `corner`; the opposite side at the next one
        out, back = sides[:, corner], -sides[:, (corner + 2) % 3]
        doubled_area = np.linalg.norm(np.cross(out, back), axis=1)
        cotangents = np.einsum("ij,ij->i", out, back) / doubled_area
        start, end = triangles[:, (corner + 1) % 3], triangles[:, (corner + 2) % 3]
        rows += [start, end]
        columns += [end, start]
        values += [0.5 * cotangents, 0.5 * cotangents]
    weights = _gathered(n, np.concatenate(rows), np.concatenate(columns), np.concatenate(values))
    # Exactly 0 except for rounding: the weight of the diagonal of four points on a circle.
    weights.data[np.abs(weights.data) < 1e-12] = 0.0
    weights.eliminate_zeros()
    return weights


def grid_weights(sampling: Sampling) -> csr_array:
    """Join each point of a longitude-latitude grid to its four neighbors.

    The neighbors are the next points to the west and east on the same row, and to the north and
    south in the same column; across a pole, they lie in the opposite column. Weights are inverse
    chord distances.

    Parameters
    ----------
    sampling : Equiangular or GaussLegendre
        A grid with an even number of longitudes, four or more, and no points at the poles.

    Returns
    -------
    csr_array of float64, shape (n, n)
        Symmetric weights, four per point.

    Raises
    ------
    TypeError
        If `sampling` is not a longitude-latitude grid.
    ValueError
        If the number of longitudes is odd or less than four, or points lie at a pole.

    Notes
    -----
    R. Khasanova and P. Frossard, "Graph-based classification of omnidirectional images",
    ICCV workshops 2017.
    """
    nlat, nlon = getattr(sampling, "nlat", None), getattr(sampling, "nlon", None)
    if nlat is None or nlon is None or nlat * nlon != len(sampling):
        raise TypeError(
            f"edges='grid' requires an Equiangular or GaussLegendre grid, got {sampling!r}"
        )
    if nlon % 2 or nlon < 4:
        raise ValueError(
            "edges='grid' continues across the poles, which requires an even number of "
            f"longitudes, at least four; got nlon={nlon}"
        )
    number = np.arange(nlat * nlon).reshape(nlat, nlon)
    across = np.roll(number, nlon // 2, axis=1)
    south = np.vstack((number[1:], across[-1:]))
    north = np.vstack((across[:1], number[:-1]))
    pairs = [np.roll(number, 1, axis=1), np.roll(number, -1, axis=1), north, south]
    rows = np.tile(number.ravel(), 4)
    columns = np.concatenate([other.ravel() for other in pairs])
    points = sampling.points
    distances = np.linalg.norm(points[rows] - points[columns], axis=1)
    if distances.min() < 1e-12:
        raise ValueError(
            f"{sampling!r} has several points at a pole, where inverse distances are infinite; use "
            "a grid without poles ('soft'), or nearest neighbors"
        )
    return _gathered(len(points), rows, columns, 1 / distances)


def adjacent_weights(sampling: Sampling) -> csr_array:
    """Join each HEALPix pixel to the eight pixels around it.

    24 pixels have only seven. Weights are ``exp(-d**2 / (2 mean(d**2)))``, with d the chord
    distance. This is the graph of the first DeepSphere (Perraudin et al., arXiv 1810.12186).

    Parameters
    ----------
    sampling : Healpix
        The sphere or a part of it, with n pixels.

    Returns
    -------
    csr_array of float64, shape (n, n)
        Symmetric weights.

    Raises
    ------
    TypeError
        If `sampling` is not a `Healpix`.
    """
    if not isinstance(sampling, Healpix):
        raise TypeError(f"edges='adjacent' requires a Healpix sampling, got {sampling!r}")
    from astropy_healpix import neighbours

    pixels = sampling.pixels
    with np.errstate(invalid="ignore"):  # some pixels have only seven neighbors
        around = neighbours(pixels, sampling.nside, order="nested")
    places = np.searchsorted(pixels, around)
    places[places == len(pixels)] = 0
    present = (around >= 0) & (pixels[places] == around)
    rows = np.broadcast_to(np.arange(len(pixels)), around.shape)[present]
    # At nside 1 a pixel can touch another at two corners, but they share one edge.
    ones = np.ones(len(rows))
    weights = _gathered(len(pixels), rows, places[present], ones)
    points = sampling.points
    starts = np.repeat(np.arange(len(pixels)), np.diff(weights.indptr))
    squares = ((points[starts] - points[weights.indices]) ** 2).sum(axis=1)
    weights.data = np.exp(-squares / (2 * squares.mean())) if len(squares) else squares
    return weights


def _gathered(
    n: int, rows: NDArray[np.int64], columns: NDArray[np.int64], values: NDArray[np.float64]
) -> csr_array:
    """Return a sparse matrix from its entries, adding up duplicates."""
    weights = csr_array(coo_array((values, (rows, columns)), shape=(n, n)))
    weights.sum_duplicates()
    return weights
