"""Checks of array arguments that all operations share, made before a backend sees them.

Dimensions that are only known when a TensorFlow graph runs, such as the number of vertices of a
data set that lost its shapes, are checked then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

FEATURES = "(batch, n, channels)"


def as_floats(x: Any, name: str) -> Any:
    """Return a tensor of real floating-point numbers.

    Parameters
    ----------
    x : array_like
        Integers and booleans become ``keras.config.floatx()``, as in Keras layers.
    name : str
        Name of the argument in error messages.

    Raises
    ------
    TypeError
        If `x` is complex or does not contain numbers.
    ValueError
        If `x` is a masked array with masked values.
    """
    x = _as_tensor(x, name)
    if "float" not in keras.backend.standardize_dtype(x.dtype):
        x = keras.ops.cast(x, keras.config.floatx())
    return x


def as_features(
    x: Any, n: int | None = None, owner: str = "operator", channels: int | None = None
) -> Any:
    """Return features on vertices as a floating-point tensor, with its shape checked.

    Parameters
    ----------
    x : array_like, shape (batch, n, channels)
        Features. Integers become ``keras.config.floatx()``.
    n : int, optional
        Required number of vertices. Default: any.
    owner : str, default "operator"
        What has `n` vertices, for error messages.
    channels : int, optional
        Required number of channels. Default: any.

    Raises
    ------
    TypeError
        If `x` is complex or does not contain numbers.
    ValueError
        If `x` does not have three dimensions, has another number of vertices or channels, has an
        unknown number of channels, or is a masked array with masked values.
    """
    return check_features(as_floats(x, "x"), n, owner, channels)


def check_features(
    x: Any, n: int | None = None, owner: str = "operator", channels: int | None = None
) -> Any:
    """Check features like `as_features`, but keep their dtype."""
    x = _as_tensor(x, "x")
    shape = known_shape(x)
    if shape is not None and len(shape) != 3:
        raise ValueError(f"x must have shape {FEATURES}, got {shape}")
    if shape is not None and n is not None and shape[1] not in (None, n):
        raise ValueError(f"x has {shape[1]} vertices, but the {owner} has {n}")
    x = complete_shape(x, (None, n, channels))
    if x.shape[2] is None:
        raise ValueError(f"x must have a known number of channels, got {tuple(x.shape)}")
    return x


def known_shape(x: Any) -> tuple[Any, ...] | None:
    """Return a tensor's shape with None for unknown dimensions, or None if its rank is unknown."""
    if getattr(x.shape, "rank", 0) is None:  # only TensorFlow has such tensors
        return None
    return tuple(x.shape)


def complete_shape(x: Any, shape: Sequence[int | None]) -> Any:
    """Fill in the unknown dimensions of a tensor, which TensorFlow checks when it runs.

    The known dimensions must match `shape`.
    """
    known = known_shape(x)
    if known is not None and all(k is not None or s is None for k, s in zip(known, shape)):  # noqa: B905
        return x
    return tf.ensure_shape(x, shape)


def refuse_masked(x: Any, name: str) -> None:
    """Raise ValueError if a NumPy array has masked values: TensorFlow and PyTorch drop the mask."""
    if np.ma.is_masked(x):
        raise ValueError(
            f"{name} is masked at {np.ma.count_masked(x)} of {np.size(x)} values, but tensors "
            "have no masks; fill it with its method filled, and pass the observed pixels to "
            "SurveyMask"
        )


def readable_array(x: Any, name: str) -> Any:
    """Return a NumPy array in a form that every backend reads, and anything else unchanged.

    Big-endian numbers, as read from FITS files, are converted to native byte order: compiled JAX
    misreads them, and PyTorch does not accept them. Extended precision, which backends lack,
    becomes float64. A masked array without masked values becomes a plain array.

    Raises
    ------
    TypeError
        If the array holds objects, text, dates or records, which JAX would convert or replace by 0.
    ValueError
        If a value is masked, see `refuse_masked`.
    """
    if not isinstance(x, np.ndarray):
        return x
    refuse_masked(x, name)
    x = np.ma.getdata(x)
    if x.dtype.kind not in "biufc" and "float" not in x.dtype.name:  # bfloat16 is of kind "V"
        raise TypeError(
            f"{name} must contain numbers, got dtype {x.dtype}: convert it, for instance with "
            "x.astype('float32')"
        )
    if x.dtype == np.longdouble and x.dtype.itemsize > 8:
        return x.astype(np.float64)
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def _as_tensor(x: Any, name: str) -> Any:
    if not keras.ops.is_tensor(x):
        x = keras.ops.convert_to_tensor(readable_array(x, name))
    if "complex" in str(x.dtype):
        raise TypeError(f"{name} must be real, got dtype {x.dtype}; filter its parts one by one")
    return x
