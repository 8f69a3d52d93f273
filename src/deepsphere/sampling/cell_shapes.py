"""The cells of samplings as shapes on the sphere."""

from __future__ import annotations

from functools import singledispatch
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, SphericalVoronoi

from deepsphere.sampling import clipping
from deepsphere.sampling.base import Sampling
from deepsphere.sampling.clipping import Polygons
from deepsphere.sampling.cubed_sphere import CubedSphere
from deepsphere.sampling.healpix import Healpix
from deepsphere.sampling.icosahedral import IcosahedralFaces
from deepsphere.sampling.rings import RingSampling
from deepsphere.sampling.subset import Subset
from deepsphere.sampling.voronoi import COINCIDENT, circular_order

Floats = NDArray[np.float64]

LARGE = 1.0
"""Radius in radians above which a cell is cut into pieces, one in each octant of the sphere."""


class Shapes(NamedTuple):
    """Cells whose edges are arcs of great circles, or chains of arcs."""

    vertices: Floats
    """Unit vectors, shape ``(m, 3)``, piece after piece, each counterclockwise."""

    counts: NDArray[np.int64]
    """Number of vertices of each piece."""

    cells: NDArray[np.int64]
    """Index of the cell of each piece."""

    planes: Floats | None
    """Normals of the planes that bound each cell, cell after cell; None if cells are not convex."""

    plane_counts: NDArray[np.int64] | None
    """Number of planes of each cell."""


class Boxes(NamedTuple):
    """Cells between two meridians and two parallels, or pieces of such cells."""

    west: Floats
    """Longitude of the western edge in radians, shape ``(pieces,)``."""

    width: Floats
    """Width in longitude in radians, at most a quarter of the circle."""

    south: Floats
    """Sine of the latitude of the southern edge."""

    north: Floats

    cells: NDArray[np.int64]
    """Index of the cell of each piece."""


@singledispatch
def cells_of(sampling: Sampling) -> Shapes | Boxes:
    """Return the cells of a sampling.

    Parameters
    ----------
    sampling : Sampling
        Any sampling. Custom samplings have Voronoi cells unless ``@cells_of.register`` defines
        others.

    Returns
    -------
    Shapes or Boxes
        The cells. Their areas are those that the sampling declares, except for HEALPix pixels,
        whose edges are approximated by chains of arcs.
    """
    return _voronoi(sampling.points)


@cells_of.register
def _(sampling: Subset) -> Shapes | Boxes:
    return _selected(cells_of(sampling.whole), sampling.indices)


@cells_of.register
def _(sampling: RingSampling) -> Boxes:
    sizes, edges = sampling.ring_sizes, sampling.band_edges
    pieces = np.where(sizes < 4, -(-4 // sizes), 1)  # at most a quarter of the circle wide
    per_ring = sizes * pieces
    ring = np.repeat(np.arange(len(sizes)), per_ring)
    within = np.arange(len(ring)) - np.repeat(np.cumsum(per_ring) - per_ring, per_ring)
    width = 2 * np.pi / per_ring[ring]
    cells = (np.cumsum(sizes) - sizes)[ring] + within // pieces[ring]
    west = (within - pieces[ring] / 2) * width
    return Boxes(west, width, edges[ring + 1], edges[ring], cells)


@cells_of.register
def _(sampling: Healpix) -> Shapes:
    from astropy_healpix.healpy import boundaries

    # The chains of arcs cut off about 1e-4 of a pixel, and a few times that next to the poles.
    steps = int(np.clip(np.ceil(64 / np.sqrt(sampling.nside)), 4, 64))
    corners = boundaries(sampling.nside, sampling.pixels, steps, nest=True)
    corners = corners.reshape(len(sampling), 3, -1)  # of one pixel, the first dimension is missing
    return _anticlockwise(np.moveaxis(corners, 1, 2), convex=False)


@cells_of.register
def _(sampling: CubedSphere) -> Shapes:
    return _anticlockwise(sampling.corners)


@cells_of.register
def _(sampling: IcosahedralFaces) -> Shapes:
    return _anticlockwise(sampling.corners)


def shape_areas(cells: Shapes) -> Floats:
    """Return the solid angles of cells, in steradian, as bounded by their arcs."""
    pieces = clipping.areas(clipping.polygons(cells.vertices, cells.counts), len(cells.counts))
    return np.bincount(cells.cells, pieces).astype(np.float64)


def _anticlockwise(corners: Floats, convex: bool = True) -> Shapes:
    """Return cells with equal numbers of corners, given in shape (cells, corners, 3)."""
    n, k = corners.shape[:2]
    vertices = np.ascontiguousarray(corners).reshape(-1, 3)
    counts = np.full(n, k)
    turned = clipping.areas(clipping.polygons(vertices, counts), n) < 0
    if turned.any():
        vertices = np.where(turned[:, None, None], corners[:, ::-1], corners).reshape(-1, 3)
    if not convex:
        return Shapes(vertices, counts, np.arange(n), None, None)
    ordered = vertices.reshape(n, k, 3)
    planes = np.cross(ordered, np.roll(ordered, -1, axis=1)).reshape(-1, 3)
    planes /= np.linalg.norm(planes, axis=1, keepdims=True)
    return Shapes(vertices, counts, np.arange(n), planes, counts)


def _voronoi(points: Floats) -> Shapes:
    """Return the Voronoi cells of points."""
    n = len(points)
    order = circular_order(points)
    if order is not None:  # on one circle, where no three cells meet in a corner
        pairs = np.column_stack((order, np.roll(order, 1)))
        pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    else:
        simplices = ConvexHull(points).simplices
        sides = simplices[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
        pairs = np.unique(np.sort(sides, axis=1), axis=0)
    own, other = np.concatenate((pairs, pairs[:, ::-1])).T
    by_cell = np.argsort(own, kind="stable")
    own, other = own[by_cell], other[by_cell]
    planes = points[own] - points[other]
    planes /= np.linalg.norm(planes, axis=1, keepdims=True)
    plane_counts = np.bincount(own, minlength=n)
    if order is not None:
        large = np.arange(n)
        vertices, counts, cells = np.zeros((0, 3)), np.zeros(0, np.int64), large[:0]
    else:
        diagram = SphericalVoronoi(points, threshold=COINCIDENT)
        diagram.sort_vertices_of_regions()
        counts = np.array([len(region) for region in diagram.regions])
        vertices = diagram.vertices[np.concatenate(diagram.regions)]
        owners = np.repeat(np.arange(n), counts)
        closeness = np.full(n, 1.0)
        np.minimum.at(closeness, owners, np.einsum("ij,ij->i", vertices, points[owners]))
        large = np.flatnonzero(closeness < np.cos(LARGE))
        kept = closeness[owners] >= np.cos(LARGE)
        cells = np.flatnonzero(closeness >= np.cos(LARGE))
        counts, vertices = counts[cells], vertices[kept]
        turned = clipping.areas(clipping.polygons(vertices, counts), len(counts)) < 0
        vertices = _turned(vertices, counts, turned)
    if len(large):
        pieces = _in_octants(large, planes, plane_counts)
        vertices = np.concatenate((vertices, pieces[0]))
        counts = np.concatenate((counts, pieces[1]))
        cells = np.concatenate((cells, pieces[2]))
    return Shapes(vertices, counts, cells, planes, plane_counts)


def _turned(vertices: Floats, counts: NDArray[np.int64], turned: NDArray[np.bool_]) -> Floats:
    """Return the vertices of polygons, in reversed order for those selected by `turned`."""
    owners = np.repeat(np.arange(len(counts)), counts)
    starts = np.cumsum(counts) - counts
    within = np.arange(len(owners)) - starts[owners]
    backwards = starts[owners] + counts[owners] - 1 - within
    return vertices[np.where(turned[owners], backwards, np.arange(len(owners)))]


def _in_octants(
    cells: NDArray[np.int64], planes: Floats, plane_counts: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Cut cells into pieces by octants; return the vertices, counts and cells of the pieces."""
    signs = np.array(np.meshgrid([1, -1], [1, -1], [1, -1])).reshape(3, 8).T
    octants = signs[:, :, None] * np.eye(3)
    turned = np.prod(signs, axis=1) < 0
    octants[turned] = octants[turned][:, ::-1]
    vertices = np.tile(octants.reshape(-1, 3), (len(cells), 1))
    shapes = clipping.polygons(vertices, np.full(8 * len(cells), 3))
    shapes = cut_between(shapes, np.repeat(cells, 8), planes, plane_counts)
    counts = np.bincount(shapes.owners, minlength=8 * len(cells))
    filled = np.flatnonzero(counts)
    return shapes.vertices, counts[filled], np.repeat(cells, 8)[filled]


def cut_between(
    shapes: Polygons,
    cells: NDArray[np.int64],
    planes: Floats,
    plane_counts: NDArray[np.int64],
) -> Polygons:
    """Return the part of each polygon that lies within the planes of one cell."""
    starts = np.cumsum(plane_counts) - plane_counts
    done = []
    for k in range(int(plane_counts[cells].max(initial=0))):
        if not len(shapes.owners):
            break
        active = plane_counts[cells[shapes.owners]] > k
        if not active.all():
            done.append(shapes.taken(~active))
            shapes = shapes.taken(active)
        shapes = clipping.cut(shapes, planes[starts[cells[shapes.owners]] + k])
    if not done:
        return shapes
    done.append(shapes)
    joined = Polygons(
        np.concatenate([part.vertices for part in done]),
        np.concatenate([part.owners for part in done]),
        np.concatenate([part.along_parallel for part in done]),
    )
    return joined.taken(np.argsort(joined.owners, kind="stable"))


def _selected(cells: Shapes | Boxes, indices: NDArray[np.int64]) -> Shapes | Boxes:
    """Return some of the cells, renumbered."""
    total = max(int(cells.cells.max()), int(indices[-1])) + 1
    numbers = np.full(total, -1)
    numbers[indices] = np.arange(len(indices))
    chosen = numbers[cells.cells] >= 0
    if isinstance(cells, Boxes):
        sides = (cells.west, cells.width, cells.south, cells.north)
        west, width, south, north = (side[chosen] for side in sides)
        return Boxes(west, width, south, north, numbers[cells.cells[chosen]])
    planes, plane_counts = cells.planes, cells.plane_counts
    if planes is not None and plane_counts is not None:
        planes = planes[np.repeat(numbers[: len(plane_counts)] >= 0, plane_counts)]
        plane_counts = plane_counts[indices]
    return Shapes(
        cells.vertices[np.repeat(chosen, cells.counts)],
        cells.counts[chosen],
        numbers[cells.cells[chosen]],
        planes,
        plane_counts,
    )
