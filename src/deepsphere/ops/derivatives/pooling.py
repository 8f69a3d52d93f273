"""The second derivative of pooling on TensorFlow and JAX; PyTorch's needs no Keras."""

from __future__ import annotations

from typing import Any

from keras import ops


def pull_to_coarse(cotangent: Any, x: Any, y: Any, mode: str) -> Any:
    """Apply the transpose of pooling's gradient to a cotangent.

    Parameters
    ----------
    cotangent, x : tensor, shape (batch, n, channels)
        Cotangent of the gradient, and input of the pooling.
    y : tensor, shape (batch, n / children, channels)
        Output of the pooling.
    mode : {"max", "mean"}
        What is pooled.

    Returns
    -------
    tensor of the shape of `y`
        Sums of the children's cotangents, weighted by their shares of the gradient.
    """
    children = x.shape[1] // y.shape[1]
    blocks = (-1, y.shape[1], children, y.shape[2])
    cotangent = ops.reshape(cotangent, blocks)
    if mode == "mean":
        return ops.mean(cotangent, axis=2)
    chosen = ops.cast(ops.equal(ops.reshape(x, blocks), y[:, :, None]), y.dtype)
    return ops.sum(cotangent * chosen, axis=2) / ops.sum(chosen, axis=2)
