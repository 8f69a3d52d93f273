"""Sets of edges other than the nearest neighbors, with the weights that belong to them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.spatial import ConvexHull

from deepsphere.graph.pieces import warn_if_disconnected
from deepsphere.graph.places import DistinctPoints, distinct, spread_back
from deepsphere.graph.spec import GraphLike, as_graph
from deepsphere.graph.weights import gaussian_weights, join
from deepsphere.sampling import Healpix, Sampling


def edge_weights(sampling: Sampling, graph: GraphLike | None = None) -> csr_array:
    """Return the weighted edges of a graph.

    Parameters
    ----------
    sampling : Sampling
        Where the sphere is sampled.
    graph : Graph, int or str, optional
        Which graph, see `Graph`: nearest neighbors have Gaussian weights, ``"mesh"``, ``"grid"``
        and ``"adjacent"`` those of the functions of this module. Its Laplacian does not matter.

    Returns
    -------
    csr_array of float64, shape (n, n)
        Symmetric weights with an empty diagonal. Pixels that coincide, as on rows at the poles,
        each have the edges of the one point that they are; on such grids a point near by reads the
        mean of some of them, so that the weights are symmetric elsewhere only.

    Raises
    ------
    TypeError
        If `graph` is not one of these, or the edges are for other samplings.
    ValueError
        If the number of neighbors is still to be chosen (``max_error``), or several points of the
        sampling coincide and the edges are not the nearest ones.
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
    """Return which edges a graph has.

    Parameters
    ----------
    sampling, graph
        As for `edge_weights`.

    Returns
    -------
    csr_array of float64, shape (n, n)
        Ones, symmetric, with an empty diagonal. Of several pixels at one place, a neighbor is
        joined to a single one, that of its own longitude.

    Raises
    ------
    TypeError, ValueError
        As for `edge_weights`.

    Warns
    -----
    DisconnectedGraphWarning
        If the graph is in more pieces than the part of the sphere that is sampled.
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
    """Join the points whose Voronoi cells touch: the edges of the triangulated sphere.

    The weight of an edge is half the sum of the cotangents of the angles opposite to it, which is
    the length of the common side of the two cells over their distance, on the flat triangles. With
    it ``D - W`` is the stiffness matrix of linear finite elements.

    Parameters
    ----------
    sampling : Sampling
        Points all around, no two at one place.

    Returns
    -------
    csr_array of float64, shape (n, n)
        Symmetric, six or so edges a point. Of a part of the sphere, triangles with an edge longer
        than three times the typical one are left out: they span what is not sampled.

    Raises
    ------
    ValueError
        If there are fewer than four points, or several at one place.

    Notes
    -----
    U. Pinkall and K. Polthier, "Computing discrete minimal surfaces and their conjugates",
    Experimental Mathematics 2 (1993). The convex hull of points on a sphere is their Delaunay
    triangulation, the dual of which are the Voronoi cells.
    """
    points = sampling.points
    n = len(points)
    if n < 4:
        raise ValueError(f"a mesh needs at least four points, got {n}")
    hull = ConvexHull(points)
    if len(hull.vertices) < n:
        raise ValueError(
            f"{n - len(hull.vertices)} of {n} points of {sampling!r} lie where another one does, "
            "so there is no mesh; use nearest neighbors"
        )
    triangles = hull.simplices
    sides = points[np.roll(triangles, -1, axis=1)] - points[triangles]
    lengths = np.linalg.norm(sides, axis=2)
    kept = lengths.max(axis=1) <= 3 * np.median(lengths)
    triangles, sides = triangles[kept], sides[kept]
    rows, columns, values = [], [], []
    for corner in range(3):  # sides[corner] runs from `corner`; the one opposite starts after it
        out, back = sides[:, corner], -sides[:, (corner + 2) % 3]
        doubled_area = np.linalg.norm(np.cross(out, back), axis=1)
        cotangents = np.einsum("ij,ij->i", out, back) / doubled_area
        start, end = triangles[:, (corner + 1) % 3], triangles[:, (corner + 2) % 3]
        rows += [start, end]
        columns += [end, start]
        values += [0.5 * cotangents, 0.5 * cotangents]
    weights = _gathered(n, np.concatenate(rows), np.concatenate(columns), np.concatenate(values))
    # Rounding: across the diagonal of four points on a circle the weight is 0.
    weights.data[np.abs(weights.data) < 1e-12] = 0.0
    weights.eliminate_zeros()
    return weights


def grid_weights(sampling: Sampling) -> csr_array:
    """Join each point of a longitude-latitude grid to its four neighbors.

    Neighbors are to the west and east in the ring, to the north and south in the same column, and
    across the poles in the opposite column. Weights are inverse distances.

    Parameters
    ----------
    sampling : Equiangular or GaussLegendre
        An even number of equal rings without points at the poles.

    Returns
    -------
    csr_array of float64, shape (n, n)
        Symmetric, four edges a point.

    Raises
    ------
    TypeError, ValueError
        If the sampling is no such grid.

    Notes
    -----
    R. Khasanova and P. Frossard, "Graph-based classification of omnidirectional images",
    ICCV workshops 2017.
    """
    nlat, nlon = getattr(sampling, "nlat", None), getattr(sampling, "nlon", None)
    if nlat is None or nlon is None or nlat * nlon != len(sampling):
        raise TypeError(
            f"edges='grid' are for Equiangular and GaussLegendre grids, got {sampling!r}"
        )
    if nlon % 2 or nlon < 4:
        raise ValueError(
            f"edges='grid' continue across the poles, which needs an even number "
            f"of longitudes of four or more; got nlon={nlon}"
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
    """Join each HEALPix pixel to the eight around it, seven at 24 places.

    Weights are ``exp(-d**2 / (2 mean(d**2)))``: the graph of the first DeepSphere (Perraudin et
    al., arXiv 1810.12186).

    Parameters
    ----------
    sampling : Healpix
        The sphere or a part of it.

    Returns
    -------
    csr_array of float64, shape (n, n)
        Symmetric.

    Raises
    ------
    TypeError
        If the sampling is not HEALPix.
    """
    if not isinstance(sampling, Healpix):
        raise TypeError(f"edges='adjacent' are for Healpix samplings, got {sampling!r}")
    from astropy_healpix import neighbours

    pixels = sampling.pixels
    with np.errstate(invalid="ignore"):  # there is none at eight corners
        around = neighbours(pixels, sampling.nside, order="nested")
    places = np.searchsorted(pixels, around)
    places[places == len(pixels)] = 0
    present = (around >= 0) & (pixels[places] == around)
    rows = np.broadcast_to(np.arange(len(pixels)), around.shape)[present]
    # At nside 1 a pixel can touch another at two corners: one edge all the same.
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
    """Return a sparse matrix; entries at one place are added."""
    weights = csr_array(coo_array((values, (rows, columns)), shape=(n, n)))
    weights.sum_duplicates()
    return weights
