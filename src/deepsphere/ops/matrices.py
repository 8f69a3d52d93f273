"""Conversion of user-supplied sparse matrices to the format that the operations read."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import coo_array, csr_array, issparse


def to_csr(matrix: Any, name: str = "matrix") -> csr_array:
    """Return a real matrix in CSR format, with every index and value checked.

    Parameters
    ----------
    matrix : sparse array, sparse matrix or array_like, shape (m, n)
        Real matrix, in any format of `scipy.sparse` or dense. Duplicate entries are summed.
        Explicit zeros are kept, since they may mark neighbors.
    name : str, default "matrix"
        Name of the matrix in error messages.

    Returns
    -------
    csr_array of float64, shape (m, n)
        Sorted, without duplicates. It shares memory with `matrix` if that is already in this form.

    Raises
    ------
    TypeError
        If the entries are not real numbers, or `matrix` is a masked array.
    ValueError
        If `matrix` is not two-dimensional or has no rows or columns, an index lies outside it, or
        an entry is NaN or infinite.
    """
    if np.ma.isMaskedArray(matrix):
        raise TypeError(f"{name} must be a plain array, not a masked array; use its method filled")
    if not issparse(matrix):
        matrix = np.asarray(matrix)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(f"{name} must have rows and columns, got shape {matrix.shape}")
    if matrix.dtype.kind not in "biuf":
        raise TypeError(f"{name} must contain real numbers, got dtype {matrix.dtype}")
    # Check before and after: conversions trust the indices of some formats and keep others' as is.
    _check_indices(matrix, name)
    result = csr_array(matrix, dtype=np.float64)
    _check_indices(result, name)
    if not result.has_canonical_format:
        result = result.copy()
        result.sum_duplicates()
    if not np.isfinite(result.data).all():
        raise ValueError(f"{name} must be finite, got NaN or infinite entries")
    return result


def squared(matrix: Any) -> csr_array:
    """Return a sparse map as a square matrix, by rows or columns of zeros.

    They cost nothing, and the optimizations of square operators apply.

    Parameters
    ----------
    matrix : csr_array, shape (m, n)
        As `to_csr` returns it.

    Returns
    -------
    csr_array, shape (max(m, n), max(m, n))
        A copy.
    """
    size = max(matrix.shape)
    square = csr_array(matrix, copy=True)
    square.resize((size, size))
    return square


def _check_indices(matrix: Any, name: str) -> None:
    """Raise ValueError if the index arrays of a sparse matrix are invalid or inconsistent."""
    try:
        if hasattr(matrix, "check_format"):
            # Check a shallow copy, since the full check also truncates arrays that are too long.
            type(matrix)(matrix).check_format(full_check=True)
        elif issparse(matrix) and matrix.format == "coo":
            coo_array((matrix.data, (matrix.row, matrix.col)), shape=matrix.shape)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{name} has broken indices: {error}") from error
