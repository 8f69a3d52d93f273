"""How values go from one sampling to another, as sparse matrices."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import block_array, csr_array, diags_array
from scipy.sparse.linalg import spsolve
from scipy.spatial import cKDTree

from deepsphere.sampling.base import Sampling

METHODS = ("nearest", "inverse_distance", "conservative")
POINTS_PER_CELL = 64
"""Into how many pieces the cells of a conservative interpolation are cut, in the middle."""

SWEEPS = 20


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
    source: Sampling, target: Sampling, method: str = "conservative", neighbors: int = 4
) -> csr_array:
    """Return the matrix that brings values from one sampling to any other.

    Parameters
    ----------
    source, target : Sampling
        Where values lie, and where they are wanted.
    method : {"nearest", "inverse_distance", "conservative"}, default "conservative"
        ``"nearest"`` takes the value of the nearest point. ``"inverse_distance"`` takes the mean of
        the nearest ones by their inverse distance; a point at the same place is taken alone.
        ``"conservative"`` takes the mean over the overlaps of the cells, which keeps the integral
        over the sphere exactly (weights sum to the areas of both samplings), up to rounding.
    neighbors : int, default 4
        How many points ``"inverse_distance"`` takes.

    Returns
    -------
    csr_array of float64, shape (len(target), len(source))
        Rows sum to 1.

    Raises
    ------
    ValueError
        If the method is unknown; or, with ``"conservative"``, if the two do not cover the same
        part of the sphere.

    Notes
    -----
    Overlaps are counted with points of a HEALPix grid, each in the nearest cell of both samplings,
    and then balanced so that they sum to the areas of both: their integral is exact, their shape is
    as fine as that grid.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    if method == "conservative":
        return _conservative(source, target)
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


class _Cells(NamedTuple):
    """The cells of a sampling; points at one place, as at the poles of some grids, share one."""

    points: NDArray[np.float64]
    areas: NDArray[np.float64]
    means: csr_array
    """Shape (cells, points): takes the mean of each cell by area."""
    copies: csr_array
    """Shape (points, cells): gives each point the value of its cell."""


def _cells(sampling: Sampling) -> _Cells:
    areas, n = sampling.areas, len(sampling)
    _, first, cell = np.unique(
        np.round(sampling.points, 9), axis=0, return_index=True, return_inverse=True
    )
    cell = cell.reshape(-1)
    total = np.bincount(cell, areas).astype(np.float64)
    shape = (len(total), n)
    return _Cells(
        sampling.points[first],
        total,
        csr_array((areas / total[cell], (cell, np.arange(n))), shape),
        csr_array((np.ones(n), (np.arange(n), cell)), shape[::-1]),
    )


def _conservative(source: Sampling, target: Sampling) -> csr_array:
    given, wanted = _cells(source), _cells(target)
    if abs(given.areas.sum() - wanted.areas.sum()) > 1e-9 * given.areas.sum():
        raise ValueError(
            "a conservative interpolation needs samplings of the same part of the sphere; "
            f"{source!r} covers {source.areas.sum():.6g} and {target!r} "
            f"{target.areas.sum():.6g} steradian"
        )
    overlaps = _balanced(_overlaps(given, wanted), wanted.areas, given.areas)
    means = diags_array(1 / wanted.areas) @ overlaps
    return csr_array(wanted.copies @ means @ given.means)


def _overlaps(given: _Cells, wanted: _Cells) -> csr_array:
    """Return about how much each two cells overlap: the number of points of a grid, by area."""
    from deepsphere.sampling.healpix import Healpix

    smaller = min(float(np.median(given.areas)), float(np.median(wanted.areas)))
    nside = 1
    while np.pi / (3 * nside**2) > smaller / POINTS_PER_CELL:
        nside *= 2
    points, area = Healpix(nside).points, np.pi / (3 * nside**2)
    of_given, of_wanted = cKDTree(given.points), cKDTree(wanted.points)
    rows, columns = of_wanted.query(points)[1], of_given.query(points)[1]
    # A cell that holds no point of the grid overlaps the one that it lies in.
    rows = np.concatenate((rows, np.arange(len(wanted.points)), of_wanted.query(given.points)[1]))
    columns = np.concatenate(
        (columns, of_given.query(wanted.points)[1], np.arange(len(given.points)))
    )
    shape = (len(wanted.points), len(given.points))
    return csr_array((np.full(len(rows), area), (rows, columns)), shape)


def _balanced(
    overlaps: csr_array, rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> csr_array:
    """Return the overlaps, changed so that their sums are those given, up to rounding.

    A few sweeps that scale rows and columns in turn (R. Sinkhorn, 1964), which converge ever more
    slowly; what is left is taken by ``o_ij (1 + u_i + v_j)``, one linear system.
    """
    v = np.ones(len(columns))
    for _ in range(SWEEPS):
        u = rows / (overlaps @ v)
        v = columns / (overlaps.T @ u)
    overlaps = csr_array(diags_array(u) @ overlaps @ diags_array(v))
    for _ in range(2):  # the second time for the rounding of the first
        over_rows, over_columns = overlaps.sum(axis=1), overlaps.sum(axis=0)
        system = block_array(
            [[diags_array(over_rows), overlaps], [overlaps.T, diags_array(over_columns)]]
        )
        left = np.concatenate((rows - over_rows, columns - over_columns))
        # Adding to u what is taken from v changes nothing: one of them is 0.
        solution = np.append(spsolve(csr_array(system)[:-1, :-1].tocsc(), left[:-1]), 0.0)
        u, v = solution[: len(rows)], solution[len(rows) :]
        overlaps = csr_array(overlaps + diags_array(u) @ overlaps + overlaps @ diags_array(v))
    return overlaps


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
