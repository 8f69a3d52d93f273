"""Masks: which pixels of a map were observed, and how layers leave out the others.

A mask is Keras' own: a boolean tensor of shape ``(batch, pixels)``, True where a pixel holds
data, that goes from layer to layer by itself (`keras.layers.Layer.compute_mask`).
"""

from __future__ import annotations

from typing import Any

import keras


def hide(x: Any, mask: Any, value: float = 0.0) -> Any:
    """Put a value where nothing was observed.

    Parameters
    ----------
    x : tensor, shape (batch, pixels, channels)
        Features; at unobserved pixels they may be anything, also NaN.
    mask : tensor of bool, shape (batch, pixels), or None
        True at observed pixels; None stands for all.
    value : float, default 0
        What to put at the others.

    Returns
    -------
    tensor, shape (batch, pixels, channels)
        The features.
    """
    if mask is None:
        return x
    mask = keras.ops.cast(mask, "bool")
    return keras.ops.where(mask[..., None], x, keras.ops.cast(value, x.dtype))


def resample_mask(mask: Any, points: int, new_points: int) -> Any:
    """Carry a mask to another resolution of the same hierarchy.

    Parameters
    ----------
    mask : tensor of bool, shape (batch, points), or None
        True at observed pixels.
    points, new_points : int
        Numbers of pixels before and after; one is a multiple of the other.

    Returns
    -------
    tensor of bool, shape (batch, new_points), or None
        A coarser pixel is observed if one of its children is, a finer one if its parent is.
    """
    if mask is None or points == new_points:
        return mask
    mask = keras.ops.cast(mask, "bool")
    if new_points < points:
        mask = keras.ops.reshape(mask, (-1, new_points, points // new_points))
        return keras.ops.any(mask, axis=2)
    return keras.ops.repeat(mask, new_points // points, axis=1)
