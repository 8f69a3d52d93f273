"""Functions on masks, which mark the observed pixels of maps.

Masks are Keras masks: boolean tensors of shape ``(batch, pixels)``, True at observed pixels, which
Keras passes from layer to layer (`keras.layers.Layer.compute_mask`).
"""

from __future__ import annotations

from typing import Any

import keras


def hide(x: Any, mask: Any, value: float = 0.0) -> Any:
    """Replace the features of unobserved pixels by a value.

    Parameters
    ----------
    x : tensor, shape (batch, pixels, channels)
        Features, arbitrary at unobserved pixels, including NaN.
    mask : tensor of bool, shape (batch, pixels), or None
        True at observed pixels; None means that all are observed.
    value : float, default 0
        Value of the unobserved pixels.

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
    """Return a mask at another resolution of the same hierarchy.

    Parameters
    ----------
    mask : tensor of bool, shape (batch, points), or None
        True at observed pixels.
    points, new_points : int
        Numbers of pixels before and after. One must be a multiple of the other.

    Returns
    -------
    tensor of bool, shape (batch, new_points), or None
        A coarser pixel is observed if any of its children is, a finer one if its parent is.
    """
    if mask is None or points == new_points:
        return mask
    mask = keras.ops.cast(mask, "bool")
    if new_points < points:
        mask = keras.ops.reshape(mask, (-1, new_points, points // new_points))
        return keras.ops.any(mask, axis=2)
    return keras.ops.repeat(mask, new_points // points, axis=1)
