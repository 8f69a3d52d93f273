"""Derivatives of activations as functions of their output, for all backends.

A filter keeps its output, not the input of its activation, for the backward pass.
"""

from __future__ import annotations

from typing import Any

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
"""Constants of SELU: Klambauer et al., arXiv 1706.02515."""

LEAKY_SLOPE = 0.2
"""Slope of the leaky ReLU for negative numbers: the default of Keras."""


def slope(activation: str, y: Any, backend: Any) -> Any:
    """Return the derivative of an activation at the output `y`.

    Parameters
    ----------
    activation : str
        One of `deepsphere.ops.ACTIVATIONS` other than ``"linear"``, whose derivative can be
        computed from the output.
    y : tensor of float32
        Output of the activation.
    backend : module
        ``tensorflow``, ``jax.numpy`` or ``torch``.
    """
    match activation:
        case "relu":
            return backend.where(y > 0, 1.0, backend.zeros_like(y))
        case "elu":
            return backend.where(y > 0, 1.0, y + 1.0)
        case "selu":
            return backend.where(y > 0, SELU_SCALE, y + SELU_SCALE * SELU_ALPHA)
        case "leaky_relu":
            return backend.where(y > 0, 1.0, LEAKY_SLOPE * backend.ones_like(y))
        case "tanh":
            return 1.0 - y * y
        case "sigmoid":
            return y * (1.0 - y)
        case "softplus":
            return 1.0 - backend.exp(-y)
    raise ValueError(f"the derivative of {activation} needs the input")


def is_curved(activation: str) -> bool:
    """Whether the second derivative of an activation is not 0 almost everywhere."""
    return activation not in ("linear", "relu", "leaky_relu")
