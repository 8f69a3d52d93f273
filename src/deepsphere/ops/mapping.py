"""Sparse maps from features on one set of vertices to features on another."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from deepsphere.ops.operator import SparseOperator
from deepsphere.ops.product import sparse_product


class SparseMap:
    """A sparse matrix of any shape that is applied to features: ``y = M x``.

    Parameters
    ----------
    matrix : csr_array of float64, shape (m, n)
        It is kept, not copied: do not change it afterwards.
    """

    def __init__(self, matrix: csr_array) -> None:
        self.shape = tuple(map(int, matrix.shape))
        # A square operator with rows or columns of zeros: these cost nothing, and all that makes
        # square ones fast serves here too.
        size = max(self.shape)
        square = csr_array(matrix, copy=True)
        square.resize((size, size))
        self._operator = SparseOperator(square)

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
        """
        m, n = self.shape
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
    """
    y = keras.ops.take(x, indices[0], axis=1)
    for others in indices[1:]:
        y = keras.ops.maximum(y, keras.ops.take(x, others, axis=1))
    return y
