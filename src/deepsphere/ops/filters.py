"""The one hot operation: a polynomial of a sparse operator applied to features on a graph."""

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
from deepsphere.ops.compiled.pooling import POOL_MODES
from deepsphere.ops.operator import SparseOperator

BACKENDS = ("tensorflow", "jax", "torch")


if keras.backend.backend() not in BACKENDS:
    raise ImportError(
        f"DeepSphere runs on the Keras backends {', '.join(BACKENDS)}; the current one is "
        f"{keras.backend.backend()!r}: set the environment variable KERAS_BACKEND"
    )
_backend = import_module(f"deepsphere.ops.portable.{keras.backend.backend()}")
_native = import_module(f"deepsphere.ops.compiled.{keras.backend.backend()}")

ACTIVATIONS = ("linear", "relu")
"""Activations that the filters can apply themselves."""


def chebyshev_filter(
    x: Any,
    kernel: Any,
    operator: SparseOperator,
    bias: Any = None,
    activation: str = "linear",
) -> Any:
    """Filter features by Chebyshev polynomials of an operator: ``y = sum_k T_k(A) x W_k``.

    Half-precision inputs are computed in float32 and returned in half precision. The gradients
    with respect to `x` and `kernel` are custom (see `deepsphere.ops.plan`): the backward pass
    needs only `x` and `kernel`, whatever the order.

    Parameters
    ----------
    x : tensor, shape (batch, n, channels)
        Features on the vertices. The batch size may be unknown.
    kernel : tensor, shape (order + 1, channels, filters)
        Chebyshev coefficients ``W_k``.
    operator : SparseOperator of size n
        The operator ``A``, with its spectrum in [-1, 1]. It need not be symmetric.
    bias : tensor, shape (filters,), optional
        Added to the output of each filter. Default: no bias.
    activation : str, default "linear"
        Applied last, one of `ACTIVATIONS`.

    Returns
    -------
    tensor, shape (batch, n, filters)
        The filtered features.

    Raises
    ------
    TypeError
        If `x`, `kernel` or `bias` is complex.
    ValueError
        If `x`, `kernel` or `bias` does not have the shape above, or `activation` is not one of
        `ACTIVATIONS`.
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
    """Filter features like `chebyshev_filter`, and normalize each filter's output over a batch.

    Computes ``activation((f - mean) / sqrt(variance + epsilon) + bias)``, where ``f`` are the
    filtered features and mean and variance are taken over batch and vertices. This is batch
    normalization as in training, in one operation with one gradient.

    Parameters
    ----------
    x, kernel, operator, bias, activation
        As in `chebyshev_filter`.
    epsilon : float, default 1e-5
        Added to the variance; finite and not negative.

    Returns
    -------
    y : tensor, shape (batch, n, filters)
        The normalized features.
    mean, variance : tensor of float32 or float64, shape (filters,)
        Statistics of the batch, for moving averages. They carry no gradient.

    Raises
    ------
    TypeError
        If `x`, `kernel` or `bias` is complex.
    ValueError
        If `x`, `kernel` or `bias` does not have the shape above, `epsilon` is negative or
        infinite, or `activation` is not one of `ACTIVATIONS`.
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
    # keras.ops.moments has wrong second derivatives on TensorFlow.
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
    """Pool the children of each coarser vertex, which are consecutive.

    Parameters
    ----------
    x : tensor, shape (batch, n, channels)
        Features on the vertices. Integers are pooled to integers by ``"max"`` and converted to
        ``keras.config.floatx()`` by ``"mean"``.
    children : int
        Number of vertices per coarser vertex. It must divide `n`.
    mode : {"max", "mean"}
        Equal maxima share the gradient evenly.

    Returns
    -------
    tensor, shape (batch, n / children, channels)
        The pooled features.

    Raises
    ------
    TypeError
        If `x` is complex, or `children` is not an integer.
    ValueError
        If `x` does not have three dimensions, `children` is less than 1 or does not divide `n`,
        or `mode` is neither ``"max"`` nor ``"mean"``.
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
    if is_empty(x):  # PyTorch has no maximum of an empty tensor
        return y[:, :, 0]
    return keras.ops.max(y, axis=2) if mode == "max" else keras.ops.mean(y, axis=2)


def _check(
    x: Any, kernel: Any, operator: SparseOperator, bias: Any, activation: str
) -> tuple[Any, Any, Any]:
    """Return features, kernel and bias as floating-point tensors of matching shapes."""
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
