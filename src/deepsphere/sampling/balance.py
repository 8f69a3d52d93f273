"""Scaling of matrices to given sums of rows and columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import block_array, csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, cg

Floats = NDArray[np.float64]

EXACT = 1e-13
"""Relative error of a sum below which it counts as exact."""

CONSISTENT = 1e-6
"""Largest relative difference between two equal sums that is attributed to rounding."""

ROUNDS = 60


def balanced(
    matrix: csr_array,
    rows: Floats,
    columns: Floats,
    beyond_rows: Floats | None = None,
    beyond_columns: Floats | None = None,
) -> csr_array:
    """Scale the rows and columns of a positive matrix to given sums.

    Parameters
    ----------
    matrix : csr_array of float64, shape (m, n)
        A matrix of positive entries whose sums are already nearly correct.
    rows, columns : ndarray of float64, shapes (m,) and (n,)
        The sums of rows and columns, positive.
    beyond_rows, beyond_columns : ndarray of float64, shapes (m,) and (n,), optional
        Parts of the sums that do not come from entries, for cells that are partly covered. They are
        scaled with their row or column. Default to 0.

    Returns
    -------
    csr_array of float64, shape (m, n)
        The entries ``a_ij exp(u_i + v_j)``. Among all nonnegative matrices with these sums, this
        one has the smallest relative entropy to `matrix` (R. Sinkhorn, 1964; I. Csiszar, 1975).

    Raises
    ------
    ValueError
        If no such matrix has these sums.

    Notes
    -----
    Scaling rows and columns in turn converges more and more slowly. Newton's method takes two or
    three steps. Its linear systems are Laplacians of the graph whose vertices are rows and columns
    and whose edges are entries. Conjugate gradients solve them for any number of components.
    """
    m, n = matrix.shape
    matrix = csr_array(matrix, copy=True)
    beyond_rows = np.zeros(m) if beyond_rows is None else beyond_rows.copy()
    beyond_columns = np.zeros(n) if beyond_columns is None else beyond_columns.copy()
    count, labels = connected_components(block_array([[None, matrix], [matrix.T, None]]))
    # The sums of rows and columns of a component may differ if it is partly covered ("open").
    beyond = np.bincount(labels, np.concatenate((beyond_rows, beyond_columns)), count)
    columns = _consistent(rows, columns, labels, beyond > 0)
    parts = np.where(beyond > 0, -1, np.arange(count))[labels[m:]]
    row_of = np.repeat(np.arange(m), np.diff(matrix.indptr))
    best, worst = matrix, np.inf
    for _ in range(ROUNDS):
        row_sums = np.asarray(matrix.sum(axis=1)).ravel() + beyond_rows
        column_sums = np.asarray(matrix.sum(axis=0)).ravel() + beyond_columns
        lacking = rows - row_sums, columns - column_sums
        error = max(np.abs(lacking[0] / rows).max(), np.abs(lacking[1] / columns).max())
        if error < worst / 2:
            best, worst = matrix.copy(), error
        elif worst < 100 * EXACT:
            break  # at rounding error: more steps do not help
        if error < EXACT:
            break
        u, v = _step(matrix, row_sums, column_sums, *lacking, parts)
        # Far from the solution a full Newton step may be too long.
        shortened = min(1.0, 1 / max(np.abs(u).max(), np.abs(v).max(), 1e-300))
        u, v = shortened * u, shortened * v
        matrix.data *= np.exp(u[row_of] + v[matrix.indices])
        beyond_rows *= np.exp(u)
        beyond_columns *= np.exp(v)
    if worst > 100 * EXACT:
        raise ValueError(
            "the overlaps of these cells cannot sum to the areas that the samplings declare: at "
            f"best they differ by {worst:.2g} of an area; check that the areas are those of the "
            "cells around the points"
        )
    return best


def _consistent(
    rows: Floats, columns: Floats, labels: NDArray[np.int32], is_open: NDArray[np.bool_]
) -> Floats:
    """Return the sums of columns, adjusted for rounding to those of rows in each component."""
    m, count = len(rows), len(is_open)
    by_rows = np.bincount(labels[:m], rows, count)
    by_columns = np.bincount(labels[m:], columns, count)
    ratios = np.where(is_open, 1.0, by_rows / by_columns)
    wrong = np.abs(ratios - 1).max()
    if wrong > CONSISTENT:
        raise ValueError(
            "some cells of the two samplings cover the same region, but their declared areas "
            f"differ by {wrong:.2g}; check the areas"
        )
    return columns * ratios[labels[m:]]


def _step(
    matrix: csr_array,
    row_sums: Floats,
    column_sums: Floats,
    lacking_rows: Floats,
    lacking_columns: Floats,
    parts: NDArray[np.int64],
) -> tuple[Floats, Floats]:
    """Return the logarithms of the factors of rows and columns of one Newton step."""
    # Eliminate the rows, and scale the diagonal to about 1:
    # (D_c - A^T D_r^-1 A) v = lacking_columns - A^T D_r^-1 lacking_rows.
    scale = 1 / np.sqrt(column_sums)
    means = csr_array(diags_array(1 / row_sums) @ matrix)
    transposed = csr_array(matrix.T)
    right = scale * (lacking_columns - transposed @ (lacking_rows / row_sums))

    def multiply(v: Floats) -> Floats:
        v = v.ravel()
        return v - scale * (transposed @ (means @ (scale * v)))

    def projected(v: Floats) -> Floats:
        """Project out the null space: a constant added to u and subtracted from v."""
        closed = parts >= 0
        tops = np.bincount(parts[closed], (v / scale)[closed])
        weights = np.bincount(parts[closed], column_sums[closed])
        shifts = np.zeros(len(v))
        shifts[closed] = (tops / np.where(weights > 0, weights, 1))[parts[closed]]
        return v - shifts / scale

    n = len(column_sums)
    operator = LinearOperator((n, n), multiply, dtype=np.float64)
    right = projected(right)
    # Tiny corrections need only as many digits as make the sums exact.
    enough = EXACT / 10 * float(np.sqrt(column_sums.min()))
    limit = 20 * int(np.sqrt(n)) + 200
    solution, _ = cg(operator, right, rtol=1e-10, atol=enough, maxiter=limit)
    v = scale * projected(solution)
    return lacking_rows / row_sums - means @ v, v
