"""Sparse matrices as users give them, brought into the one form that operations read."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import coo_array, csr_array, issparse


def to_csr(matrix: Any, name: str = "matrix") -> csr_array:
    """Return a real matrix in compressed rows, with every index and value checked.

    Parameters
    ----------
    matrix : sparse array, sparse matrix or array_like, shape (m, n)
        Any format of `scipy.sparse`, or a dense matrix, of real numbers. Duplicate entries are
        summed; explicit zeros are kept, since they may say who is a neighbor of whom.
    name : str, default "matrix"
        What messages call it.

    Returns
    -------
    csr_array of float64, shape (m, n)
        Sorted, without duplicates. It shares memory with `matrix` if that has this form already.

    Raises
    ------
    TypeError
        If the entries are not real numbers, or the array is masked.
    ValueError
        If there are no rows or columns, an index lies outside the matrix, or a value is NaN or
        infinite.
    """
    if np.ma.isMaskedArray(matrix):
        raise TypeError(f"{name} must be a plain array: the mask of a masked array has no meaning")
    if not issparse(matrix):
        matrix = np.asarray(matrix)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(f"{name} must have rows and columns, got shape {matrix.shape}")
    if matrix.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {matrix.dtype}")
    # Twice: conversions trust the indices of some formats, and keep those of others.
    _check_indices(matrix, name)
    result = csr_array(matrix, dtype=np.float64)
    _check_indices(result, name)
    if not result.has_canonical_format:
        result = result.copy()
        result.sum_duplicates()
    if not np.isfinite(result.data).all():
        raise ValueError(f"{name} must be finite, got NaN or infinite entries")
    return result


def _check_indices(matrix: Any, name: str) -> None:
    """Raise if an index lies outside a sparse matrix, or the arrays do not fit each other."""
    try:
        if hasattr(matrix, "check_format"):
            # On a shallow copy, since the full check also shortens arrays that are too long.
            type(matrix)(matrix).check_format(full_check=True)
        elif issparse(matrix) and matrix.format == "coo":
            coo_array((matrix.data, (matrix.row, matrix.col)), shape=matrix.shape)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{name} has broken indices: {error}") from error
