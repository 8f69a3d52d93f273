"""What every operation checks of the arrays it is given, before any backend sees them.

A number that only a running TensorFlow graph knows, such as the number of vertices of a data set
whose shapes were lost, is checked when the graph runs.
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
        Integers and booleans become ``keras.config.floatx()``, as in Keras' own layers.
    name : str
        What messages call it.

    Raises
    ------
    TypeError
        If it is complex.
    """
    x = _as_tensor(x, name)
    if "float" not in keras.backend.standardize_dtype(x.dtype):
        x = keras.ops.cast(x, keras.config.floatx())
    return x


def as_features(
    x: Any, n: int | None = None, owner: str = "operator", channels: int | None = None
) -> Any:
    """Return features on vertices as a tensor of floating-point numbers, with its shape checked.

    Parameters
    ----------
    x : array_like, shape (batch, n, channels)
        Features; integers become ``keras.config.floatx()``.
    n : int, optional
        How many vertices there must be.
    owner : str, default "operator"
        What has so many vertices.
    channels : int, optional
        How many channels there must be.

    Raises
    ------
    TypeError
        If the features are complex.
    ValueError
        If the shape is another one.
    """
    return check_features(as_floats(x, "x"), n, owner, channels)


def check_features(
    x: Any, n: int | None = None, owner: str = "operator", channels: int | None = None
) -> Any:
    """Do what `as_features` does to a tensor of any real numbers, and keep their type."""
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
    """Return the shape of a tensor with None for what is unknown; None if its rank is."""
    if getattr(x.shape, "rank", 0) is None:  # TensorFlow alone has such tensors
        return None
    return tuple(x.shape)


def complete_shape(x: Any, shape: Sequence[int | None]) -> Any:
    """Fill in what is not known of a tensor's shape, and have TensorFlow check it when it runs.

    What is known must fit already.
    """
    known = known_shape(x)
    if known is not None and all(k is not None or s is None for k, s in zip(known, shape)):  # noqa: B905
        return x
    return tf.ensure_shape(x, shape)


def is_empty(*tensors: Any) -> bool:
    """Whether one of some tensors is known to have no elements, which few backends can multiply."""
    return any(isinstance(size, int) and size == 0 for x in tensors for size in x.shape)


def refuse_masked(x: Any, name: str) -> None:
    """Raise ValueError if an array of numpy is masked: TensorFlow and PyTorch drop the mask."""
    if np.ma.is_masked(x):
        raise ValueError(
            f"{name} is masked at {np.ma.count_masked(x)} of {np.size(x)} values, which tensors "
            "cannot be; fill it by its method filled, and give SurveyMask the observed pixels"
        )


def plain_array(x: Any, name: str) -> Any:
    """Return an array of numpy as every backend reads it, and anything else as it is.

    Big-endian numbers, as files in the FITS format hold them, are brought to the order of this
    machine: JAX reads them wrong where it compiles, PyTorch not at all. A masked array that masks
    nothing becomes a plain one.

    Raises
    ------
    ValueError
        If it is masked somewhere, see `refuse_masked`.
    """
    if not isinstance(x, np.ndarray):
        return x
    refuse_masked(x, name)
    x = np.ma.getdata(x)
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def _as_tensor(x: Any, name: str) -> Any:
    if not keras.ops.is_tensor(x):
        x = keras.ops.convert_to_tensor(plain_array(x, name))
    if "complex" in str(x.dtype):
        raise TypeError(f"{name} must be real, got dtype {x.dtype}; filter its parts one by one")
    return x
