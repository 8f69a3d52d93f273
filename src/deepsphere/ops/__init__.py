"""The one hot operation: a polynomial of a sparse operator applied to features on a graph.

Each backend has a file here with the same functions; only these files name a backend. `reference`
is the same in scipy.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import keras

from deepsphere.ops.operator import SparseOperator, laplacian_operator
from deepsphere.ops.polynomials import BASES, evaluate_basis, to_chebyshev
from deepsphere.ops.product import sparse_product

BACKENDS = ("tensorflow", "jax", "torch")


if keras.backend.backend() not in BACKENDS:
    raise ImportError(
        f"DeepSphere runs on the Keras backends {', '.join(BACKENDS)}; the current one is "
        f"{keras.backend.backend()!r}: set the environment variable KERAS_BACKEND"
    )
_backend = import_module(f"deepsphere.ops.{keras.backend.backend()}")


def chebyshev_filter(x: Any, kernel: Any, operator: SparseOperator) -> Any:
    """Filter features by Chebyshev polynomials of an operator: ``y = sum_k T_k(A) x W_k``.

    Half-precision inputs are computed in float32 and returned in their own precision. The
    gradients with respect to `x` and `kernel` are our own (see `deepsphere.ops.plan`); between
    the passes only `x` and `kernel` are kept, whatever the order.

    Parameters
    ----------
    x : tensor, shape (batch, n, channels)
        Features on the vertices; the batch size may be unknown.
    kernel : tensor, shape (order + 1, channels, filters)
        Chebyshev coefficients ``W_k``.
    operator : SparseOperator of size n
        The operator ``A``, with its spectrum in [-1, 1]. It need not be symmetric.

    Returns
    -------
    tensor, shape (batch, n, filters)
        The filtered features.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    if len(x.shape) != 3 or len(kernel.shape) != 3 or x.shape[2] != kernel.shape[1]:
        raise ValueError(
            "x must have shape (batch, n, channels) and kernel (order + 1, channels, filters), "
            f"got {tuple(x.shape)} and {tuple(kernel.shape)}"
        )
    if x.shape[1] != len(operator):
        raise ValueError(f"x has {x.shape[1]} vertices, but the operator has {len(operator)}")
    return _backend.chebyshev_filter(x, kernel, operator)


__all__ = [
    "BACKENDS",
    "BASES",
    "SparseOperator",
    "chebyshev_filter",
    "evaluate_basis",
    "laplacian_operator",
    "sparse_product",
    "to_chebyshev",
]
