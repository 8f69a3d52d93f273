"""Clipping and areas of many polygons on the sphere at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STRAIGHT = 1e-8
"""Length up to which an arc is straight to rounding error."""


class Polygons(NamedTuple):
    """Many polygons, with vertices in counterclockwise order seen from outside the sphere.

    Edges are arcs of great circles, shorter than half a circle, or arcs of parallels.
    """

    vertices: Floats
    """Unit vectors, polygon after polygon, shape ``(m, 3)``."""

    owners: NDArray[np.int64]
    """Index of the polygon of each vertex, nondecreasing, shape ``(m,)``."""

    along_parallel: NDArray[np.bool_]
    """Whether the edge that starts at a vertex is an arc of a circle of latitude."""

    def taken(self, vertices: NDArray[Any]) -> Polygons:
        """Return the polygons of some of the vertices, selected by indices or a mask."""
        return Polygons(
            self.vertices[vertices], self.owners[vertices], self.along_parallel[vertices]
        )


def polygons(vertices: Floats, counts: NDArray[np.integer]) -> Polygons:
    """Return polygons with edges of great circles and the given numbers of vertices."""
    owners = np.repeat(np.arange(len(counts)), counts)
    return Polygons(vertices, owners, np.zeros(len(vertices), bool))


def following(owners: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the index of the next vertex of the same polygon, for each vertex."""
    result = np.arange(1, len(owners) + 1)
    if len(owners):
        ends = np.flatnonzero(np.append(owners[1:] != owners[:-1], True))
        result[ends] = np.append(0, ends[:-1] + 1)
    return result


def areas(shapes: Polygons, count: int) -> Floats:
    """Return the solid angles of polygons.

    Parameters
    ----------
    shapes : Polygons
        Polygons that each fit into a hemisphere.
    count : int
        Number of polygons, including those without vertices, whose area is 0.

    Returns
    -------
    ndarray of float64, shape (count,)
        Areas in steradian, negative for clockwise polygons.

    Notes
    -----
    The area is the sum over the triangles between each edge and the mean of the vertices, after
    A. van Oosterom and J. Strackee, "The Solid Angle of a Plane Triangle", IEEE Trans. Biomed. Eng.
    30 (1983). For an edge along a parallel, the area between the parallel and the great circle
    through its ends is added.
    """
    x, owners, flat = shapes
    if not len(x):
        return np.zeros(count)
    sums = np.stack([np.bincount(owners, column, count) for column in x.T], axis=1)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    middles = sums / np.where(lengths > 0, lengths, 1)
    successors = following(owners)
    a, v, w = middles[owners], x, x[successors]
    # Differences from the mean keep the precision of small triangles.
    volumes = np.einsum("ij,ij->i", a, np.cross(v - a, w - a))
    cosines = (np.einsum("ij,ij->i", p, q) for p, q in ((a, v), (v, w), (w, a)))
    parts = 2 * np.arctan2(volumes, 1 + sum(cosines))
    start, end = v[flat], w[flat]
    parts[flat] += _slices(
        start[:, 2],
        np.arctan2(
            start[:, 0] * end[:, 1] - start[:, 1] * end[:, 0],
            start[:, 0] * end[:, 0] + start[:, 1] * end[:, 1],
        ),
    )
    return np.bincount(owners, parts, count).astype(np.float64)


def _slices(heights: Floats, widths: Floats) -> Floats:
    """Return the areas between parallels and the great circles through two of their points.

    Areas are positive if the great circle lies to the left when moving along the parallel, as
    eastward in the north. `heights` are sines of latitude, `widths` longitudes in radians.
    """
    z = np.abs(heights)
    square = (1 - z) / (1 + z)  # squared tangent of half the polar distance
    triangles = 2 * np.arctan2(square * np.sin(widths), 1 + square * np.cos(widths))
    return np.copysign(1.0, heights) * (widths * (1 - z) - triangles)


def cut(shapes: Polygons, normals: Floats) -> Polygons:
    """Return the parts of polygons on one side of planes through the center of the sphere.

    Parameters
    ----------
    shapes : Polygons
        Polygons with edges of great circles. If they are not convex, the parts stay connected by
        edges in both directions, whose areas cancel.
    normals : ndarray of float64, shape (m, 3)
        For each vertex, the normal of the plane that cuts its polygon. The side to which it points
        is kept.

    Returns
    -------
    Polygons
        The parts that are kept.

    Notes
    -----
    I. E. Sutherland and G. W. Hodgman, "Reentrant polygon clipping", Commun. ACM 17 (1974).
    """
    x = shapes.vertices
    distances = np.einsum("ij,ij->i", x, normals)
    successors = following(shapes.owners)

    def crossings(edges: NDArray[np.int64]) -> Floats:
        ends = successors[edges]
        before, after = np.abs(distances[edges])[:, None], np.abs(distances[ends])[:, None]
        points = x[edges] * after + x[ends] * before
        return points / np.linalg.norm(points, axis=1, keepdims=True)

    return _kept(shapes, distances >= 0, successors, crossings, along_parallel=False)


def cut_at_parallel(shapes: Polygons, heights: Floats, north: bool) -> Polygons:
    """Return the parts of polygons north or south of parallels.

    Parameters
    ----------
    shapes : Polygons
        Polygons along whose edges the latitude is monotonic, see `split_at_extremes`.
    heights : ndarray of float64, shape (m,)
        For each vertex, the sine of the latitude at which its polygon is cut.
    north : bool
        Whether to keep the parts north of the parallel; those south of it if False.

    Returns
    -------
    Polygons
        The parts that are kept, with edges along the parallels.
    """
    x = shapes.vertices
    inside = x[:, 2] >= heights if north else x[:, 2] <= heights
    successors = following(shapes.owners)

    def crossings(edges: NDArray[np.int64]) -> Floats:
        v, w, z = x[edges], x[successors[edges]], heights[edges]
        poles = np.cross(v, w)
        lengths = np.linalg.norm(poles, axis=1, keepdims=True)
        poles /= np.where(lengths > 0, lengths, 1)
        # The northernmost point of the great circle, and the one a quarter of the circle further.
        top = np.array([0, 0, 1]) - poles[:, 2:] * poles
        height = np.linalg.norm(top, axis=1)
        top /= height[:, None]
        aside = np.cross(poles, top)
        cosines = np.clip(z / height, -1, 1)
        sines = np.sqrt((1 - cosines) * (1 + cosines))
        sines = np.copysign(sines, np.einsum("ij,ij->i", v + w, aside))
        points = cosines[:, None] * top + sines[:, None] * aside
        points[:, 2] = z
        return np.where(lengths > 0, points, v)

    return _kept(shapes, inside, successors, crossings, along_parallel=True)


def split_at_extremes(shapes: Polygons) -> Polygons:
    """Return the polygons with vertices added where the latitude along an edge is extreme."""
    x, owners, flat = shapes
    v, w = x, x[following(owners)]
    cosines = np.einsum("ij,ij->i", v, w)
    turning = (w[:, 2] - cosines * v[:, 2]) * (cosines * w[:, 2] - v[:, 2]) < 0
    turning &= np.abs(w - v).max(axis=1) > STRAIGHT
    if not turning.any():
        return shapes
    poles = np.cross(v[turning], w[turning])
    poles /= np.linalg.norm(poles, axis=1, keepdims=True)
    tops = np.array([0, 0, 1]) - poles[:, 2:] * poles
    tops /= np.linalg.norm(tops, axis=1, keepdims=True)
    tops *= np.copysign(1.0, np.einsum("ij,ij->i", tops, v[turning] + w[turning]))[:, None]
    places = np.flatnonzero(turning) + 1
    return Polygons(
        np.insert(x, places, tops, axis=0),
        np.insert(owners, places, owners[turning]),
        np.insert(flat, places, flat[turning]),
    )


def _kept(shapes, inside, successors, crossings, along_parallel):  # type: ignore[no-untyped-def]
    """Return the vertices inside, and the crossings of edges that lead in or out."""
    if inside.all():
        return shapes
    x, owners, flat = shapes
    crossing = inside != inside[successors]
    counts = inside.astype(np.int64) + crossing
    starts = np.cumsum(counts) - counts
    vertices = np.empty((int(counts.sum()), 3))
    along = np.empty(len(vertices), bool)
    vertices[starts[inside]] = x[inside]
    along[starts[inside]] = flat[inside]
    edges = np.flatnonzero(crossing)
    places = starts[edges] + inside[edges]
    vertices[places] = crossings(edges)
    # From a crossing outward, the boundary follows the plane; from one inward, its own edge.
    along[places] = np.where(inside[edges], along_parallel, flat[edges])
    return Polygons(vertices, np.repeat(owners, counts), along)
