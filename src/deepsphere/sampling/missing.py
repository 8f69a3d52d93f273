"""Missing values of maps: masked, NaN, or the number by which HEALPix maps mark them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

UNSEEN = -1.6375e30
"""The value by which HEALPix maps mark missing pixels (``healpy.UNSEEN``)."""


def is_marked(array: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where a plain array holds NaN or `UNSEEN`; integers and booleans cannot."""
    if array.dtype.kind in "biu":
        return np.zeros(array.shape, dtype=bool)
    if array.dtype.itemsize < 4:  # float16, and bfloat16, with which numpy computes in part only
        array = array.astype(np.float32)
    # As in healpy, since float32 holds another number than float64.
    return np.isnan(array) | (np.abs(array - UNSEEN) <= 1e-5 * abs(UNSEEN))


def split_mask(values: ArrayLike, name: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return values as a plain array, and where they are masked.

    Parameters
    ----------
    values : array_like
        Real numbers or booleans: an array, a masked array of numpy or astropy, or a list of such.
    name : str
        What messages call them.

    Returns
    -------
    array : ndarray
        The values; where they are masked, whatever lies under the mask.
    masked : ndarray of bool
        True where they are masked, of the same shape.

    Raises
    ------
    TypeError
        If the values are complex, or no numbers.
    """
    if isinstance(values, (list, tuple)) and any(isinstance(v, np.ma.MaskedArray) for v in values):
        values = np.ma.stack(values)  # np.asarray would drop the masks
    if hasattr(values, "unmasked") and hasattr(values, "mask"):  # astropy.utils.masked
        masked = np.asarray(values.mask)
        array = np.asarray(values.unmasked)
    else:
        array = np.asarray(values)
        is_masked = isinstance(values, np.ma.MaskedArray)
        masked = (
            np.ma.getmaskarray(np.ma.asarray(values))
            if is_masked
            else np.zeros(array.shape, dtype=bool)
        )
    return check_real(array, name), masked


def check_real(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Return an array, or raise TypeError if it does not hold real numbers or booleans."""
    if array.dtype.kind == "c":
        raise TypeError(
            f"{name} must be real, got {array.dtype}; "
            "take the real and the imaginary part as two channels"
        )
    # can_cast: numpy calls bfloat16 and other small floats of ml_dtypes "void"
    if array.dtype.kind not in "biuf" and not np.can_cast(array.dtype, np.float32):
        raise TypeError(f"{name} must be numbers or booleans, got an array of {array.dtype}")
    return array


def check_fill(fill: Any, dtype: DTypeLike) -> NDArray[Any]:
    """Return the value of a fill argument in another type, or raise if that cannot hold it.

    Parameters
    ----------
    fill : float, int or bool
        The value.
    dtype : dtype
        Type of the values that it stands among.

    Returns
    -------
    ndarray, shape ()
        The same value; as a floating-point number it may be rounded.

    Raises
    ------
    TypeError
        If it is no real number.
    ValueError
        If the type does not hold it: NaN or a fraction as an integer, a number out of range.
    """
    value, dtype = np.asarray(fill), np.dtype(dtype)
    if value.ndim or value.dtype.kind not in "biuf":
        raise TypeError(f"fill must be a number, got {fill!r}")
    with np.errstate(all="ignore"):
        cast = value.astype(dtype)
    if dtype.kind in "biu":
        # compared as Python numbers, which are exact
        held = not (value.dtype.kind == "f" and not np.isfinite(value))
        held = held and cast.item() == value.item()
    else:
        held = bool(np.isfinite(cast.astype(np.float64)) == np.isfinite(value))
    if not held:
        raise ValueError(f"fill must be a value that {dtype} holds, got {fill!r}")
    return cast
