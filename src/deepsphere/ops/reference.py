"""Chebyshev filters in SciPy and float64: a short and slow reference for tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepsphere.ops.operator import SparseOperator


def chebyshev_filter(
    x: NDArray[np.floating], kernel: NDArray[np.floating], operator: SparseOperator
) -> NDArray[np.float64]:
    """Filter features by Chebyshev polynomials of an operator: ``y = sum_k T_k(A) x W_k``.

    Parameters
    ----------
    x : ndarray, shape (batch, n, channels)
        Features on the vertices.
    kernel : ndarray, shape (order + 1, channels, filters)
        Chebyshev coefficients ``W_k``.
    operator : SparseOperator of size n
        The operator ``A``, with its spectrum in [-1, 1].

    Returns
    -------
    ndarray of float64, shape (batch, n, filters)
        The filtered features.
    """
    result = np.empty((x.shape[0], x.shape[1], kernel.shape[2]))
    for sample, features in enumerate(np.asarray(x, dtype=np.float64)):
        previous, current = features, operator.matrix @ features
        result[sample] = previous @ kernel[0]
        for coefficients in kernel[1:]:
            result[sample] += current @ coefficients
            previous, current = current, 2 * (operator.matrix @ current) - previous
    return result
