"""The central operation: a polynomial of a sparse operator applied to features on a graph."""

from __future__ import annotations

from operator import index
from typing import Any

import keras

from deepsphere.ops import plan
from deepsphere.ops.arguments import (
    FEATURES,
    as_features,
    as_floats,
    check_features,
    complete_shape,
    known_shape,
)
from deepsphere.ops.compiled import options
from deepsphere.ops.dispatch import operations_of
from deepsphere.ops.operator import SparseOperator

_operations = operations_of(keras.backend.backend())

ACTIVATIONS = tuple(options.ACTIVATIONS)
"""Activations that the filters can apply themselves, as `keras.activations` defines them."""


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
    kernel : tensor, shape (order + 1, channels, filters) or (order + 1, 1, channels)
        Chebyshev coefficients ``W_k``. The second shape filters each channel by itself.
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
    return _operations.chebyshev_filter(x, kernel, operator, bias, activation)


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
        raise ValueError(f"epsilon must be a nonnegative finite number, got {epsilon}")
    return _operations.normalized_filter(x, kernel, operator, bias, epsilon, activation)


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
    if mode not in options.POOLINGS:
        raise ValueError(f"mode must be one of {', '.join(options.POOLINGS)}; got {mode!r}")
    children = index(children)
    x = check_features(x) if mode == "max" else as_features(x)
    n = x.shape[1]
    if children < 1 or (n is not None and n % children):
        raise ValueError(
            f"children must be a positive number that divides the {n} vertices of x, got {children}"
        )
    if "float" not in keras.backend.standardize_dtype(
        x.dtype
    ):  # float32 does not hold all integers
        return _operations.portable.pool(x, children, mode)
    return _operations.pool(x, children, mode)


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
    channels = weights[1]
    if shape is not None and len(shape) == 3 and plan.is_depthwise(shape, weights):
        channels = weights[2]
    if shape is not None and (len(shape) != 3 or shape[2] not in (None, channels)):
        raise ValueError(
            f"x must have shape {FEATURES} and kernel (order + 1, channels, filters), or "
            f"(order + 1, 1, channels) to filter each channel by itself; got {shape} and {weights}"
        )
    x = check_features(x, len(operator), channels=channels)
    if bias is not None:
        bias = as_floats(bias, "bias")
        known = known_shape(bias)
        if known is not None and (len(known) != 1 or known[0] not in (None, weights[2])):
            raise ValueError(f"bias must have shape (filters,) = ({weights[2]},), got {known}")
        bias = complete_shape(bias, (weights[2],))
    return x, kernel, bias
