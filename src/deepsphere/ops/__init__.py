"""The one hot operation: a polynomial of a sparse operator applied to features on a graph.

Each backend has a file here with the same functions; only these files name a backend. `reference`
is the same in scipy.
"""

from __future__ import annotations

from importlib import import_module
from operator import index
from typing import Any

import keras

from deepsphere.ops.arguments import (
    FEATURES,
    as_features,
    as_floats,
    check_features,
    complete_shape,
    is_empty,
    known_shape,
)
from deepsphere.ops.mapping import SparseMap, gathered_maximum
from deepsphere.ops.native.pooling import POOL_MODES
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
_native = import_module(f"deepsphere.ops.native.{keras.backend.backend()}")

ACTIVATIONS = ("linear", "relu")
"""Activations that the operations here include."""


def chebyshev_filter(
    x: Any,
    kernel: Any,
    operator: SparseOperator,
    bias: Any = None,
    activation: str = "linear",
) -> Any:
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
    bias : tensor, shape (filters,), optional
        What to add to each filter's output.
    activation : str, default "linear"
        What follows, one of `ACTIVATIONS`.

    Returns
    -------
    tensor, shape (batch, n, filters)
        The filtered features.

    Raises
    ------
    TypeError
        If an array is complex.
    ValueError
        If a shape does not fit, or the activation is unknown.
    """
    x, kernel, bias = _check(x, kernel, operator, bias, activation)
    if _native.available(x, kernel, bias) and not is_empty(x, kernel):
        return _native.chebyshev_filter(x, kernel, operator, bias, activation)
    y = _filter(x, kernel, operator)
    if bias is not None:
        y = y + keras.ops.cast(bias, y.dtype)
    return keras.ops.relu(y) if activation == "relu" else y


def normalized_filter(
    x: Any,
    kernel: Any,
    operator: SparseOperator,
    bias: Any = None,
    epsilon: float = 1e-5,
    activation: str = "linear",
) -> tuple[Any, Any, Any]:
    """Filter features as `chebyshev_filter`, and normalize each filter's output over a batch.

    ``activation((f - mean) / sqrt(variance + epsilon) + bias)`` of the filtered features ``f``,
    with mean and variance over batch and vertices: batch normalization as in training, in one
    operation with one gradient.

    Parameters
    ----------
    x, kernel, operator, bias, activation
        As for `chebyshev_filter`.
    epsilon : float, default 1e-5
        Added to the variance. Not negative.

    Returns
    -------
    y : tensor, shape (batch, n, filters)
        The normalized features.
    mean, variance : tensor of float32 or float64, shape (filters,)
        Those that were used, for moving averages: they carry no gradient.

    Raises
    ------
    TypeError
        If an array is complex.
    ValueError
        If a shape does not fit, `epsilon` is negative, or the activation is unknown.
    """
    x, kernel, bias = _check(x, kernel, operator, bias, activation)
    if not 0 <= epsilon < float("inf"):
        raise ValueError(f"epsilon must be a number from 0 on, got {epsilon}")
    if _native.available(x, kernel, bias) and not is_empty(x, kernel):
        return _native.normalized_filter(x, kernel, operator, bias, epsilon, activation)
    raw = _filter(x, kernel, operator)
    dtype = raw.dtype
    if keras.backend.standardize_dtype(dtype) in ("float16", "bfloat16"):
        raw = keras.ops.cast(raw, "float32")
    # Not Keras' own moments: on TensorFlow their second derivatives are wrong.
    mean = keras.ops.mean(raw, axis=(0, 1))
    centered = raw - mean
    variance = keras.ops.mean(keras.ops.square(centered), axis=(0, 1))
    y = centered * keras.ops.rsqrt(variance + epsilon)
    if bias is not None:
        y = y + keras.ops.cast(bias, y.dtype)
    if activation == "relu":
        y = keras.ops.relu(y)
    stop = keras.ops.stop_gradient
    return keras.ops.cast(y, dtype), stop(mean), stop(variance)


def pool(x: Any, children: int, mode: str) -> Any:
    """Pool the children of each coarser vertex, which lie side by side.

    Parameters
    ----------
    x : tensor, shape (batch, n, channels)
        Features on the vertices. Maxima of integers are integers; to take means of them they
        become ``keras.config.floatx()``.
    children : int
        How many vertices share a coarser one; it divides `n`.
    mode : str
        ``"max"`` (equal maxima share the gradient evenly) or ``"mean"``.

    Returns
    -------
    tensor, shape (batch, n / children, channels)
        The pooled features.

    Raises
    ------
    TypeError
        If the features are complex, or `children` is not an integer.
    ValueError
        If the shape does not fit, `children` does not divide the number of vertices, or the mode
        is unknown.
    """
    if mode not in POOL_MODES:
        raise ValueError(f"mode must be one of {', '.join(POOL_MODES)}; got {mode!r}")
    children = index(children)
    x = check_features(x) if mode == "max" else as_features(x)
    _, n, channels = x.shape
    if children < 1 or (n is not None and n % children):
        raise ValueError(
            f"children must be a positive number that divides the {n} vertices of x, got {children}"
        )
    if "float" in keras.backend.standardize_dtype(x.dtype) and _native.available(x, x):
        return _native.pool(x, children, mode)
    batch, n, _ = keras.ops.shape(x)
    y = keras.ops.reshape(x, (batch, n // children, children, channels))
    if is_empty(x):  # PyTorch has no maximum of nothing
        return y[:, :, 0]
    return keras.ops.max(y, axis=2) if mode == "max" else keras.ops.mean(y, axis=2)


def _check(
    x: Any, kernel: Any, operator: SparseOperator, bias: Any, activation: str
) -> tuple[Any, Any, Any]:
    """Return features, kernel and bias as tensors of floats that fit each other."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {activation!r}")
    x, kernel = as_floats(x, "x"), as_floats(kernel, "kernel")
    shape, weights = known_shape(x), known_shape(kernel)
    if weights is None or len(weights) != 3 or None in weights or weights[0] < 1:
        raise ValueError(
            "kernel must have shape (order + 1, channels, filters), all known, with an order of 0 "
            f"or more; got {weights}"
        )
    if shape is not None and (len(shape) != 3 or shape[2] not in (None, weights[1])):
        raise ValueError(
            f"x must have shape {FEATURES} and kernel (order + 1, channels, filters), "
            f"got {shape} and {weights}"
        )
    x = check_features(x, len(operator), channels=weights[1])
    if bias is not None:
        bias = as_floats(bias, "bias")
        known = known_shape(bias)
        if known is not None and (len(known) != 1 or known[0] not in (None, weights[2])):
            raise ValueError(f"bias must have shape (filters,) = ({weights[2]},), got {known}")
        bias = complete_shape(bias, (weights[2],))
    return x, kernel, bias


def _filter(x: Any, kernel: Any, operator: SparseOperator) -> Any:
    if is_empty(x, kernel):  # a sum over no channels is 0
        return keras.ops.cast(keras.ops.matmul(x, kernel[0]), x.dtype)
    return _backend.chebyshev_filter(x, kernel, operator)


__all__ = [
    "ACTIVATIONS",
    "BACKENDS",
    "BASES",
    "SparseMap",
    "SparseOperator",
    "chebyshev_filter",
    "evaluate_basis",
    "gathered_maximum",
    "laplacian_operator",
    "normalized_filter",
    "pool",
    "sparse_product",
    "to_chebyshev",
]
