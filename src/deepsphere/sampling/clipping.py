"""Polygons on the sphere, cut by planes, and their areas: many at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STRAIGHT = 1e-8
"""Length of arcs up to which they bend by no more than a rounding."""


class Polygons(NamedTuple):
    """Many polygons, vertex after vertex, anticlockwise seen from outside the sphere.

    Edges are arcs of great circles shorter than half a circle, but for those along parallels.
    """

    vertices: Floats
    """Unit vectors, those of one polygon in a row, shape ``(m, 3)``."""

    owners: NDArray[np.int64]
    """Number of the polygon that each vertex belongs to, not decreasing, shape ``(m,)``."""

    along_parallel: NDArray[np.bool_]
    """Whether the edge that starts at a vertex is an arc of a circle of latitude."""

    def taken(self, vertices: NDArray[Any]) -> Polygons:
        """Return some of the vertices, by their indices or a mask."""
        return Polygons(
            self.vertices[vertices], self.owners[vertices], self.along_parallel[vertices]
        )


def polygons(vertices: Floats, counts: NDArray[np.integer]) -> Polygons:
    """Return polygons with edges of great circles; the `counts` are their numbers of vertices."""
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
    """Return the solid angles of polygons, negative where their vertices go clockwise.

    Parameters
    ----------
    shapes : Polygons
        Each of them within a half of the sphere.
    count : int
        Number of polygons; one without vertices has the area 0.

    Returns
    -------
    ndarray of float64, shape (count,)
        In steradian.

    Notes
    -----
    Triangles between each edge and the middle of the vertices, after A. van Oosterom and
    J. Strackee, "The Solid Angle of a Plane Triangle", IEEE Trans. Biomed. Eng. 30 (1983). To an
    edge along a parallel belongs what lies between it and the great circle through its ends.
    """
    x, owners, flat = shapes
    if not len(x):
        return np.zeros(count)
    sums = np.stack([np.bincount(owners, column, count) for column in x.T], axis=1)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    middles = sums / np.where(lengths > 0, lengths, 1)
    successors = following(owners)
    a, v, w = middles[owners], x, x[successors]
    # Differences from the middle keep the digits of small triangles.
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

    Positive where the great circle lies to the left of the way along the parallel: in the north,
    eastwards. `heights` are sines of latitude, `widths` longitudes in radian.
    """
    z = np.abs(heights)
    square = (1 - z) / (1 + z)  # of the tangent of half the polar distance
    triangles = 2 * np.arctan2(square * np.sin(widths), 1 + square * np.cos(widths))
    return np.copysign(1.0, heights) * (widths * (1 - z) - triangles)


def cut(shapes: Polygons, normals: Floats) -> Polygons:
    """Return the parts of polygons on one side of planes through the center of the sphere.

    Parameters
    ----------
    shapes : Polygons
        With edges of great circles. They need not be convex: parts are then joined by edges that
        go forth and back, whose areas cancel.
    normals : ndarray of float64, shape (m, 3)
        For each vertex, the normal of the plane that its polygon is cut by: what it points to is
        kept.

    Returns
    -------
    Polygons
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
        Whose edges go only up or only down in latitude, see `split_at_extremes`.
    heights : ndarray of float64, shape (m,)
        For each vertex, the sine of the latitude that its polygon is cut at.
    north : bool
        Whether the parts to the north of it are kept, or else those to the south.

    Returns
    -------
    Polygons
        With edges along the parallels.
    """
    x = shapes.vertices
    inside = x[:, 2] >= heights if north else x[:, 2] <= heights
    successors = following(shapes.owners)

    def crossings(edges: NDArray[np.int64]) -> Floats:
        v, w, z = x[edges], x[successors[edges]], heights[edges]
        poles = np.cross(v, w)
        lengths = np.linalg.norm(poles, axis=1, keepdims=True)
        poles /= np.where(lengths > 0, lengths, 1)
        # On the great circle, the farthest place to the north and the one a quarter further.
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
    """Return the same polygons with vertices also where edges turn in latitude."""
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
    """Return what lies inside: vertices there, and crossings of edges that lead in or out."""
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
    # What leads out goes on along the plane; what leads in, along the edge that it is on.
    along[places] = np.where(inside[edges], along_parallel, flat[edges])
    return Polygons(vertices, np.repeat(owners, counts), along)
