"""How values go from one sampling to another, as sparse matrices."""

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
from deepsphere.sampling.subset import Subset

METHODS = ("conservative", "bilinear", "inverse_distance", "nearest")

PARTIAL = 1e-9
"""Part of a cell that is not covered above which it is not for rounding."""


def pooling_matrix(sampling: Sampling, p: int = 1, weighted: bool = False) -> csr_array:
    """Return the matrix that takes means over the parts of each coarser cell.

    Parameters
    ----------
    sampling : Sampling
        Where the values lie.
    p : int, default 1
        Number of resolution levels to go down.
    weighted : bool, default False
        Whether values count by the area that they stand for, which keeps the integral over the
        sphere where the areas of the coarser sampling are the sums of those; or else all alike,
        but for those that are shared by several coarser cells.

    Returns
    -------
    csr_array of float64, shape (len(sampling.coarsen(p)), len(sampling))
        Rows sum to 1.
    """
    shares = sampling.membership(p)
    if weighted:
        shares = csr_array(shares @ diags_array(sampling.areas))
    return _normalized(shares)


def unpooling_matrix(sampling: Sampling, p: int = 1) -> csr_array:
    """Return the matrix that brings values back from a coarser sampling.

    Parameters
    ----------
    sampling : Sampling
        Where the result lies.
    p : int, default 1
        How many levels coarser the values are.

    Returns
    -------
    csr_array of float64, shape (len(sampling), len(sampling.coarsen(p)))
        Each point takes the values of the coarser cells that it is part of, by its shares of them.
    """
    return _normalized(csr_array(sampling.membership(p).T))


def interpolation_matrix(
    source: Sampling,
    target: Sampling,
    method: str = "conservative",
    neighbors: int = 4,
    allow_uncovered: bool = False,
) -> csr_array:
    """Return the matrix that brings values from one sampling to any other.

    Parameters
    ----------
    source, target : Sampling
        Where values lie, and where they are wanted.
    method : {"conservative", "bilinear", "inverse_distance", "nearest"}, default "conservative"
        - ``"conservative"``: means over the overlaps of cells, which keep the integral over what
          both samplings cover.
        - ``"bilinear"``: between the nearest points around, right to second order; see
          `deepsphere.sampling.bilinear.bilinear_matrix`.
        - ``"inverse_distance"``: means of the nearest points by their inverse distance; a point
          at the same place is taken alone.
        - ``"nearest"``: the value of the nearest point.
    neighbors : int, default 4
        How many points ``"inverse_distance"`` takes.
    allow_uncovered : bool, default False
        Whether ``"conservative"`` returns rows without entries for points of the target whose
        cells the source does not cover at all, instead of raising an error.

    Returns
    -------
    csr_array of float64, shape (len(target), len(source))
        Weights are not negative. Rows sum to 1, but for those without entries.

    Raises
    ------
    ValueError
        If the method is unknown. With ``"conservative"``: if points of the target are not covered
        and that is not allowed; or if areas that a sampling of your own declares are not those of
        its cells.

    Notes
    -----
    ``"conservative"`` takes the exact overlaps of the cells (see
    `deepsphere.sampling.overlaps.cell_overlaps`) and scales them, within roundings and the small
    errors of curved edges, so that they sum to the areas of both samplings: with areas ``a`` and
    the matrix ``M``, ``M.T @ a_target = a_source`` to 12 digits. A cell that is covered in part
    gets the mean over that part. Points at one place, such as those at the poles of some grids,
    share one cell.

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
    # The nearest point at no distance outweighs all others.
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
            "cells: take the part of the target that it covers, target.subset(region), or let "
            "them have no value, by allow_uncovered=True, or in the layer Resample by "
            "skip_missing=True"
        )
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
    # Points at one place take the mean of those at one place.
    means = csr_array(diags_array(1 / given) @ from_cells @ diags_array(source.areas))
    copies = csr_array(to_cells.T)[:, rows]
    matrix = csr_array(copies @ part @ means[used])
    matrix.sort_indices()
    return matrix


def _places(sampling: Sampling) -> csr_array:
    """Return ones where a point (column) lies at a place (row): most have one to themselves."""
    _, place = np.unique(np.round(sampling.points, 9), axis=0, return_inverse=True)
    if isinstance(sampling, Scattered) or place.max() + 1 == len(sampling):
        return csr_array(eye_array(len(sampling)))
    n = len(sampling)
    return csr_array((np.ones(n), (place.reshape(-1), np.arange(n))), (int(place.max()) + 1, n))


def _is_part(sampling: Sampling) -> bool:
    return isinstance(sampling, Subset) or (isinstance(sampling, Healpix) and not sampling.is_full)


def _beyond(
    covered: NDArray[np.float64], sampling: Sampling, other: Sampling, places: csr_array
) -> NDArray[np.float64]:
    """Return the parts of the cells' areas that another sampling does not cover."""
    declared = places @ sampling.areas
    if not _is_part(other):
        return np.zeros(len(declared))
    drawn = declared
    cells = cells_of(sampling) if isinstance(sampling, Healpix) else None
    if isinstance(cells, Shapes) and not isinstance(other, Healpix):
        drawn = shape_areas(cells)  # chains of arcs, not quite the declared areas
    beyond = 1 - covered / drawn
    return declared * np.where(beyond > PARTIAL, beyond, 0)  # less is rounding


def _normalized(matrix: csr_array) -> csr_array:
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    result = csr_array(diags_array(1 / sums) @ matrix)
    result.sort_indices()
    return result


def padded(matrix: csr_array) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Return the rows of a matrix padded to one length: indices and weights, list by list.

    Returns
    -------
    indices : ndarray of int32, shape (width, rows)
        Padding repeats the first entry of a row.
    weights : ndarray of float64, shape (width, rows)
        Padding is 0.
    """
    lengths = np.diff(matrix.indptr)
    slots = np.arange(int(lengths.max(initial=1)))[:, None]
    filled = slots < lengths
    places = matrix.indptr[:-1] + np.where(filled, slots, 0)
    return matrix.indices[places].astype(np.int32), np.where(filled, matrix.data[places], 0.0)
