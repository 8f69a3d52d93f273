"""Shapes that are only known when a program runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras


def ensure_shape(x: Any, shape: Sequence[int | None]) -> Any:
    """Set the static shape of a tensor.

    TensorFlow's data sets may leave dimensions unknown, as in ``TensorSpec((None, 1))``. They are
    checked when the program runs. Other backends know all shapes.

    Parameters
    ----------
    x : tensor
        Any tensor. Its known dimensions are not checked.
    shape : sequence of int or None
        Required size of each dimension; None for any size.

    Returns
    -------
    tensor
        The tensor with its static shape set.
    """
    if keras.backend.backend() != "tensorflow" or keras.backend.is_keras_tensor(x):
        return x
    known = getattr(x, "shape", None)
    if known is None or len(known) != len(shape):
        return x
    if all(has is not None or wanted is None for has, wanted in zip(known, shape, strict=True)):
        return x
    import tensorflow as tf

    merged = [has if has is not None else wanted for has, wanted in zip(known, shape, strict=True)]
    return tf.ensure_shape(x, merged)
