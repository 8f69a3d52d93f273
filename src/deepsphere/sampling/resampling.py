"""Sparse matrices that pool, unpool and interpolate values between samplings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, eye_array
from scipy.spatial import cKDTree

from deepsphere.sampling.balance import balanced
from deepsphere.sampling.base import Sampling
from deepsphere.sampling.bilinear import bilinear_matrix
from deepsphere.sampling.cell_shapes import Shapes, cells_of, shape_areas
from deepsphere.sampling.healpix import Healpix
from deepsphere.sampling.overlaps import cell_overlaps
from deepsphere.sampling.scattered import Scattered

METHODS = ("conservative", "bilinear", "inverse_distance", "nearest")

POOL_MODES = ("max", "mean", "area")
"""Ways to pool the points that share a coarser one: to their maximum, or to their mean, weighted by
their areas or not."""

PARTIAL = 1e-9
"""Uncovered fraction of a cell up to which it counts as a rounding error."""


def pooling_matrix(sampling: Sampling, levels: int = 1, weighted: bool = False) -> csr_array:
    """Return the matrix of means over the children of each coarser point.

    Parameters
    ----------
    sampling : Sampling
        The sampling of the values.
    levels : int, default 1
        Number of levels by which to coarsen.
    weighted : bool, default False
        Whether to weight values by their areas. This conserves the integral over the sphere if the
        areas of the coarser sampling are sums of those of the finer one. By default all values have
        the same weight, except that those shared by several coarser cells count by their shares.

    Returns
    -------
    csr_array of float64, shape (len(sampling.coarsen(levels)), len(sampling))
        The matrix, whose rows sum to 1.
    """
    shares = sampling.membership(levels)
    if weighted:
        shares = csr_array(shares @ diags_array(sampling.areas))
    return _normalized(shares)


def unpooling_matrix(sampling: Sampling, levels: int = 1) -> csr_array:
    """Return the matrix that copies values from a coarser sampling to its children.

    Parameters
    ----------
    sampling : Sampling
        The sampling of the result.
    levels : int, default 1
        Number of levels by which the values are coarser.

    Returns
    -------
    csr_array of float64, shape (len(sampling), len(sampling.coarsen(levels)))
        The matrix, whose rows sum to 1. A point shared by several coarser cells takes the mean of
        their values, weighted by its shares.
    """
    return _normalized(csr_array(sampling.membership(levels).T))


def interpolation_matrix(
    source: Sampling,
    target: Sampling,
    method: str = "conservative",
    neighbors: int = 4,
    allow_uncovered: bool = False,
) -> csr_array:
    """Return the matrix that interpolates values from one sampling to another.

    Parameters
    ----------
    source, target : Sampling
        The samplings of the values and of the result.
    method : {"conservative", "bilinear", "inverse_distance", "nearest"}, default "conservative"
        - ``"conservative"``: means over the overlaps of cells, which conserve the integral over
          the region that both samplings cover.
        - ``"bilinear"``: interpolation between the surrounding points, accurate to second order;
          see `deepsphere.sampling.bilinear.bilinear_matrix`.
        - ``"inverse_distance"``: means of the nearest points, weighted by inverse distance. A
          source point at the same place is used alone.
        - ``"nearest"``: the value of the nearest point.
    neighbors : int, default 4
        Number of points that ``"inverse_distance"`` uses.
    allow_uncovered : bool, default False
        Whether ``"conservative"`` returns rows without entries for points of the target whose
        cells the source does not cover at all, instead of raising ValueError.

    Returns
    -------
    csr_array of float64, shape (len(target), len(source))
        Nonnegative weights. Rows sum to 1, except for those without entries.

    Raises
    ------
    ValueError
        If `method` is unknown. With ``"conservative"``, also if `source` does not cover some points
        of `target` and `allow_uncovered` is False, or the areas that a custom sampling declares are
        not those of its cells.

    Notes
    -----
    ``"conservative"`` computes the exact overlaps of the cells (see
    `deepsphere.sampling.overlaps.cell_overlaps`). It then scales them, by no more than rounding and
    the small errors of curved edges, so that they sum to the areas of both samplings: with areas
    ``a`` and the matrix ``M``, ``M.T @ a_target = a_source`` to 12 digits. A partly covered cell
    gets the mean over the covered part. Points at one place, such as those at the poles of some
    grids, share one cell.

    P. W. Jones, "First- and second-order conservative remapping schemes for grids in spherical
    coordinates", Mon. Wea. Rev. 127 (1999).
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    if method == "conservative":
        return _conservative(source, target, allow_uncovered)
    if method == "bilinear":
        return bilinear_matrix(source, target.points)
    count = 1 if method == "nearest" else min(neighbors, len(source))
    distances, columns = cKDTree(source.points).query(target.points, count)
    distances, columns = distances.reshape(-1, count), columns.reshape(-1, count)
    # A point at distance zero outweighs all others.
    weights = 1 / np.maximum(distances, 1e-14)
    weights[distances[:, 0] < 1e-12, 1:] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    starts = np.arange(len(target) + 1) * count
    matrix = csr_array((weights.ravel(), columns.ravel(), starts), (len(target), len(source)))
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix


def _conservative(source: Sampling, target: Sampling, allow_uncovered: bool) -> csr_array:
    to_cells, from_cells = _places(target), _places(source)
    overlaps = csr_array(to_cells @ cell_overlaps(source, target) @ from_cells.T)
    wanted, given = to_cells @ target.areas, from_cells @ source.areas
    covered = np.diff(overlaps.indptr) > 0
    if not covered.all() and not allow_uncovered:
        missing = int(np.count_nonzero(to_cells.T @ ~covered))
        raise ValueError(
            f"{missing} of the {len(target)} points of {target!r} lie where {source!r} has no "
            "cells: use the part of the target that it covers, target.subset(region), or leave "
            "them without a value with allow_uncovered=True, or skip_missing=True in the layer "
            "Resample"
        )
    if not covered.any():
        return csr_array((len(target), len(source)))
    used = np.flatnonzero(np.bincount(overlaps.indices, minlength=len(given)))
    rows = np.flatnonzero(covered)
    part = csr_array(overlaps[rows][:, used])
    part = balanced(
        part,
        wanted[rows],
        given[used],
        _beyond(overlaps.sum(axis=1), target, source, to_cells)[rows],
        _beyond(overlaps.sum(axis=0), source, target, from_cells)[used],
    )
    part = csr_array(diags_array(1 / part.sum(axis=1)) @ part)
    # Points of the target at one place all take the mean over points of the source at one place.
    means = csr_array(diags_array(1 / given) @ from_cells @ diags_array(source.areas))
    copies = csr_array(to_cells.T)[:, rows]
    matrix = csr_array(copies @ part @ means[used])
    matrix.sort_indices()
    return matrix


def _places(sampling: Sampling) -> csr_array:
    """Return a matrix of ones where a point (column) lies at a place (row)."""
    _, place = np.unique(np.round(sampling.points, 9), axis=0, return_inverse=True)
    if isinstance(sampling, Scattered) or place.max() + 1 == len(sampling):
        return csr_array(eye_array(len(sampling)))
    n = len(sampling)
    return csr_array((np.ones(n), (place.reshape(-1), np.arange(n))), (int(place.max()) + 1, n))


def _beyond(
    covered: NDArray[np.float64], sampling: Sampling, other: Sampling, places: csr_array
) -> NDArray[np.float64]:
    """Return the areas of the cells that another sampling does not cover."""
    declared = places @ sampling.areas
    if other.is_full:
        return np.zeros(len(declared))
    drawn = declared
    cells = cells_of(sampling) if isinstance(sampling, Healpix) else None
    if isinstance(cells, Shapes) and not isinstance(other, Healpix):
        drawn = shape_areas(cells)  # of chains of arcs, which differ slightly from declared areas
    beyond = 1 - covered / drawn
    return declared * np.where(beyond > PARTIAL, beyond, 0)


def _normalized(matrix: csr_array) -> csr_array:
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    result = csr_array(diags_array(1 / sums) @ matrix)
    result.sort_indices()
    return result


def padded(matrix: csr_array) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Return the indices and weights of the rows of a matrix, padded to the longest row.

    Returns
    -------
    indices : ndarray of int32, shape (width, rows)
        Column indices; padding repeats the first index of a row.
    weights : ndarray of float64, shape (width, rows)
        Entries; padding is 0.
    """
    lengths = np.diff(matrix.indptr)
    slots = np.arange(int(lengths.max(initial=1)))[:, None]
    filled = slots < lengths
    places = matrix.indptr[:-1] + np.where(filled, slots, 0)
    return matrix.indices[places].astype(np.int32), np.where(filled, matrix.data[places], 0.0)
