"""Sparse maps from features on one set of vertices to features on another."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from deepsphere.ops.arguments import as_features, check_features
from deepsphere.ops.matrices import to_csr
from deepsphere.ops.operator import SparseOperator
from deepsphere.ops.product import sparse_product


class SparseMap:
    """A sparse matrix of any shape that is applied to features: ``y = M x``.

    Parameters
    ----------
    matrix : sparse array, sparse matrix or array_like, shape (m, n)
        In any format of `scipy.sparse` or dense.

    Raises
    ------
    TypeError
        If the entries are not real numbers.
    ValueError
        If the matrix has no rows or columns, an index lies outside it, or an entry is NaN or
        infinite.
    """

    def __init__(self, matrix: Any) -> None:
        matrix = to_csr(matrix, "map")
        self.shape = tuple(map(int, matrix.shape))
        # A square operator with rows or columns of zeros: these cost nothing, and all that makes
        # square ones fast serves here too.
        size = max(self.shape)
        square = matrix.copy()
        square.resize((size, size))
        self._operator = SparseOperator(square)

    @property
    def matrix(self) -> csr_array:
        """The matrix, with rows or columns of zeros that make it square."""
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
            Features; the batch size may be unknown.

        Returns
        -------
        tensor, shape (batch, m, channels)
            The products.

        Raises
        ------
        TypeError
            If the features are complex.
        ValueError
            If their shape does not fit.
        """
        m, n = self.shape
        x = as_features(x, n, "map")
        if m > n:
            x = keras.ops.pad(x, [(0, 0), (0, m - n), (0, 0)])
        return sparse_product(x, self._operator)[:, :m]

    def __deepcopy__(self, memo: dict[int, Any]) -> SparseMap:
        return self  # immutable, shared and large


def gathered_maximum(x: Any, indices: NDArray[np.int32]) -> Any:
    """Return the largest of some vertices' features, for each of many such sets.

    Parameters
    ----------
    x : tensor, shape (batch, n, channels)
        Features.
    indices : ndarray of int32, shape (width, m)
        The vertices of each set, list by list; repetitions do no harm.

    Returns
    -------
    tensor, shape (batch, m, channels)
        Maxima; equal ones share the gradient as the backend's maximum of two does.

    Raises
    ------
    TypeError
        If the features are complex, or the indices are not integers.
    ValueError
        If the shapes do not fit, there is not one set with a vertex, or an index lies outside the
        features: backends would clip it, or return NaN.
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
