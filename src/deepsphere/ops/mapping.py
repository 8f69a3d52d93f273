"""Sparse maps from features on one set of vertices to features on another."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from deepsphere.ops.arguments import as_features, check_features
from deepsphere.ops.matrices import squared, to_csr
from deepsphere.ops.operator import SparseOperator
from deepsphere.ops.products import sparse_product


class SparseMap:
    """A sparse matrix of any shape that is applied to features: ``y = M x``.

    Parameters
    ----------
    matrix : sparse array, sparse matrix or array_like, shape (m, n)
        Real matrix, in any format of `scipy.sparse` or dense.

    Raises
    ------
    TypeError
        If the entries are not real numbers, or `matrix` is a masked array.
    ValueError
        If the matrix has no rows or columns, an index lies outside it, or an entry is NaN or
        infinite.
    """

    def __init__(self, matrix: Any) -> None:
        matrix = to_csr(matrix, "map")
        self.shape = tuple(map(int, matrix.shape))
        self._operator = SparseOperator(squared(matrix))

    @property
    def matrix(self) -> csr_array:
        """The matrix, padded with zeros to a square."""
        return self._operator.matrix

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return self._operator.nnz

    def __call__(self, x: Any) -> Any:
        """Apply the map to features.

        Parameters
        ----------
        x : tensor, shape (batch, n, channels)
            Features. The batch size may be unknown.

        Returns
        -------
        tensor, shape (batch, m, channels)
            The products.

        Raises
        ------
        TypeError
            If `x` is complex.
        ValueError
            If `x` does not have shape (batch, n, channels).
        """
        m, n = self.shape
        x = as_features(x, n, "map")
        if m > n:
            x = keras.ops.pad(x, [(0, 0), (0, m - n), (0, 0)])
        return sparse_product(x, self._operator)[:, :m]

    def __deepcopy__(self, memo: dict[int, Any]) -> SparseMap:
        return self  # immutable, shared and large


def gathered_maximum(x: Any, indices: NDArray[np.int32]) -> Any:
    """Return the maximum of the features over each of several sets of vertices.

    Parameters
    ----------
    x : tensor, shape (batch, n, channels)
        Features.
    indices : ndarray of int32, shape (width, m)
        Column j holds the vertices of set j; repeat a vertex to fill the column.

    Returns
    -------
    tensor, shape (batch, m, channels)
        Maxima. Equal maxima share the gradient like the backend's maximum of two tensors.

    Raises
    ------
    TypeError
        If `x` is complex, or `indices` are not integers.
    ValueError
        If `x` does not have three dimensions, `indices` is not two-dimensional or has no rows, or
        an index is not from 0 to n - 1 (backends would clip it or return NaN).
    """
    indices = np.asarray(indices)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"indices must be integers, got dtype {indices.dtype}")
    if indices.ndim != 2 or not len(indices):
        raise ValueError(f"indices must have shape (width, m) with width >= 1, got {indices.shape}")
    x = check_features(x)
    n = x.shape[1]
    if indices.size and (indices.min() < 0 or (n is not None and indices.max() >= n)):
        raise ValueError(
            f"indices must be from 0 to {'n' if n is None else n} - 1, "
            f"got {indices.min()} to {indices.max()}"
        )
    y = keras.ops.take(x, indices[0], axis=1)
    for others in indices[1:]:
        y = keras.ops.maximum(y, keras.ops.take(x, others, axis=1))
    return y
