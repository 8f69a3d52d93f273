"""Overlaps between the cells of two samplings."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.spatial import cKDTree

from deepsphere.sampling import clipping
from deepsphere.sampling.base import Sampling
from deepsphere.sampling.cell_shapes import Boxes, Shapes, cells_of, cut_between
from deepsphere.sampling.healpix import Healpix
from deepsphere.sampling.rings import RingSampling, band_overlaps, longitude_overlaps
from deepsphere.sampling.subset import Subset

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

ROUNDING = 1e-14
"""Width of an overlap, in radians, up to which it is a rounding error between touching cells.

Coordinates have errors of about 1e-16, and crossings a few times that.
"""

VERTICES = 2**20
"""Number of vertices processed at a time, in about 200 MB."""


def cell_overlaps(source: Sampling, target: Sampling) -> csr_array:
    """Return the areas that the cells of two samplings have in common.

    Parameters
    ----------
    source, target : Sampling
        Any two samplings.

    Returns
    -------
    csr_array of float64, shape (len(target), len(source))
        Solid angles of the overlaps in steradian; all entries are positive.

    Notes
    -----
    Overlaps are exact to rounding if cells are bounded by great circles, meridians and parallels.
    Edges of HEALPix pixels are approximated by chains of arcs, with errors of about 1e-4 of a
    pixel. Overlaps between two HEALPix samplings are exact, because pixels are nested.
    """
    if source == target:
        return csr_array(diags_array(source.areas))
    if isinstance(source, Healpix) and isinstance(target, Healpix):
        return _of_ancestors(source, target)
    if isinstance(_whole(source), RingSampling) and isinstance(_whole(target), RingSampling):
        return _of_rings(source, target)
    given, wanted = cells_of(source), cells_of(target)
    if isinstance(given, Shapes) and (isinstance(wanted, Boxes) or wanted.planes is not None):
        columns, rows, values = _clipped(given, wanted)
    else:
        assert isinstance(wanted, Shapes)
        rows, columns, values = _clipped(wanted, given)
    overlaps = coo_array((values, (rows, columns)), (len(target), len(source))).tocsr()
    overlaps.sum_duplicates()
    smaller = np.minimum(
        np.repeat(target.areas, np.diff(overlaps.indptr)), source.areas[overlaps.indices]
    )
    overlaps.data[overlaps.data <= ROUNDING * np.sqrt(smaller)] = 0
    overlaps.eliminate_zeros()
    return csr_array(overlaps)


def _whole(sampling: Sampling) -> Sampling:
    return sampling.whole if isinstance(sampling, Subset) else sampling


def _of_ancestors(source: Healpix, target: Healpix) -> csr_array:
    """Return the overlaps of two HEALPix samplings."""
    if source.nside < target.nside:
        return csr_array(_of_ancestors(target, source).T)
    ancestors = source.pixels >> 2 * (source.level - target.level)
    rows = np.minimum(np.searchsorted(target.pixels, ancestors), len(target) - 1)
    columns = np.flatnonzero(target.pixels[rows] == ancestors)
    shape = (len(target), len(source))
    return csr_array((source.areas[columns], (rows[columns], columns)), shape)


def _of_rings(source: Sampling, target: Sampling) -> csr_array:
    """Return the overlaps of two samplings on rings of latitude."""
    given, wanted = _whole(source), _whole(target)
    assert isinstance(given, RingSampling)
    assert isinstance(wanted, RingSampling)
    sizes, wanted_sizes = given.ring_sizes, wanted.ring_sizes
    starts, wanted_starts = np.cumsum(sizes) - sizes, np.cumsum(wanted_sizes) - wanted_sizes
    around = cache(longitude_overlaps)
    rows, columns, values = [], [], []
    areas = -2 * np.pi * np.diff(given.band_edges) / sizes
    for ring, wanted_ring, height in zip(
        *band_overlaps(given.band_edges, wanted.band_edges), strict=True
    ):
        cells, wanted_cells, widths = around(int(sizes[ring]), int(wanted_sizes[wanted_ring]))
        rows.append(wanted_starts[wanted_ring] + wanted_cells)
        columns.append(starts[ring] + cells)
        values.append(areas[ring] * height * widths)
    parts = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    overlaps = csr_array(parts, shape=(len(wanted), len(given)))
    if isinstance(target, Subset):
        overlaps = overlaps[target.indices]
    if isinstance(source, Subset):
        overlaps = overlaps[:, source.indices]
    return csr_array(overlaps)


def _clipped(shapes: Shapes, others: Shapes | Boxes) -> tuple[Integers, Integers, Floats]:
    """Return pairs of cells, some possibly repeated, and the areas that they have in common."""
    of_shapes, of_others = _pairs(_balls(shapes), _balls(others))
    if isinstance(others, Shapes):  # the planes bound a whole cell: clip once for all its pieces
        cells = others.cells[of_others]
        if len(others.counts) > cells.max(initial=0) + 1:
            of_shapes, cells = np.unique(np.stack((of_shapes, cells)), axis=1)
        of_others = cells
    sizes = shapes.counts[of_shapes]
    starts = np.cumsum(shapes.counts) - shapes.counts
    chunks = np.searchsorted(np.cumsum(sizes), np.arange(VERTICES, sizes.sum(), VERTICES))
    areas = []
    for pieces, other in zip(np.split(of_shapes, chunks), np.split(of_others, chunks), strict=True):
        counts = shapes.counts[pieces]
        ends = np.cumsum(counts)
        within = np.arange(counts.sum()) - np.repeat(ends - counts, counts)
        vertices = shapes.vertices[np.repeat(starts[pieces], counts) + within]
        polygons = clipping.polygons(vertices, counts)
        if isinstance(others, Boxes):
            polygons = _cut_to_boxes(polygons, others, other)
        else:
            assert others.planes is not None
            assert others.plane_counts is not None
            polygons = cut_between(polygons, other, others.planes, others.plane_counts)
        areas.append(clipping.areas(polygons, len(pieces)))
    others_cells = others.cells[of_others] if isinstance(others, Boxes) else of_others
    return shapes.cells[of_shapes], others_cells, np.concatenate(areas)


def _cut_to_boxes(polygons: clipping.Polygons, boxes: Boxes, which: Integers) -> clipping.Polygons:
    west, east = boxes.west[which], (boxes.west + boxes.width)[which]
    for longitudes, sign in ((west, 1.0), (east, -1.0)):
        normals = np.column_stack((-np.sin(longitudes), np.cos(longitudes), 0 * longitudes))
        polygons = clipping.cut(polygons, sign * normals[polygons.owners])
    polygons = clipping.split_at_extremes(polygons)
    polygons = clipping.cut_at_parallel(polygons, boxes.south[which][polygons.owners], True)
    return clipping.cut_at_parallel(polygons, boxes.north[which][polygons.owners], False)


def _balls(cells: Shapes | Boxes) -> tuple[Floats, Floats]:
    """Return centers and radii (in radians) of caps that contain the pieces of cells."""
    if isinstance(cells, Boxes):
        middle = cells.west + cells.width / 2
        latitude = (np.arcsin(cells.south) + np.arcsin(cells.north)) / 2
        centers = _unit(middle, latitude)
        corners = [
            _unit(longitude, np.arcsin(height))
            for longitude in (cells.west, cells.west + cells.width)
            for height in (cells.south, cells.north)
        ]
        chords = np.max([np.linalg.norm(corner - centers, axis=1) for corner in corners], axis=0)
        return centers, 2 * np.arcsin(np.minimum(chords / 2, 1))
    return _balls_of_pieces(cells.vertices, np.repeat(np.arange(len(cells.counts)), cells.counts))


def _balls_of_pieces(vertices: Floats, owners: Integers) -> tuple[Floats, Floats]:
    count = int(owners[-1]) + 1
    sums = np.stack([np.bincount(owners, column, count) for column in vertices.T], axis=1)
    centers = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    chords = np.zeros(count)
    np.maximum.at(chords, owners, np.linalg.norm(vertices - centers[owners], axis=1))
    return centers, 2 * np.arcsin(np.minimum(chords / 2, 1))


def _unit(longitudes: Floats, latitudes: Floats) -> Floats:
    radii = np.cos(latitudes)
    return np.column_stack(
        (radii * np.cos(longitudes), radii * np.sin(longitudes), np.sin(latitudes))
    )


def _pairs(
    balls: tuple[Floats, Floats], others: tuple[Floats, Floats]
) -> tuple[Integers, Integers]:
    """Return the pairs of caps that overlap."""
    (centers, radii), (other_centers, other_radii) = balls, others
    first, second = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    # Search by size, so that large caps do not widen the search for small ones.
    sizes = np.floor(np.log2(np.maximum(other_radii, 1e-12))).astype(int)
    for size in np.unique(sizes):
        members = np.flatnonzero(sizes == size)
        tree = cKDTree(other_centers[members])
        reach = np.minimum(radii + other_radii[members].max() + ROUNDING, np.pi)
        for part in np.array_split(np.arange(len(centers)), 1 + len(centers) // 2**15):
            chords = 2 * np.sin(reach[part] / 2)
            found = tree.query_ball_point(centers[part], chords, return_sorted=False)
            counts = np.array([len(each) for each in found])
            near = np.repeat(part, counts)
            far = members[np.concatenate([np.asarray(each, np.int64) for each in found])]
            apart = np.linalg.norm(centers[near] - other_centers[far], axis=1)
            touching = np.minimum(radii[near] + other_radii[far] + ROUNDING, np.pi)
            meet = apart <= 2 * np.sin(touching / 2)
            first.append(near[meet])
            second.append(far[meet])
    return np.concatenate(first), np.concatenate(second)
