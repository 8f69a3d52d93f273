"""Missing values of maps: masked, NaN, or `UNSEEN`, which marks them in HEALPix maps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

UNSEEN = -1.6375e30
"""Value of missing pixels in HEALPix maps (``healpy.UNSEEN``)."""


def is_marked(array: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask of the values that are NaN or `UNSEEN`; False for integers and booleans."""
    if array.dtype.kind in "biu":
        return np.zeros(array.shape, dtype=bool)
    if array.dtype.itemsize < 4:  # float16, and bfloat16, which NumPy supports only in part
        array = array.astype(np.float32)
    # A tolerance as in healpy, because float32 cannot represent the number exactly.
    return np.isnan(array) | (np.abs(array - UNSEEN) <= 1e-5 * abs(UNSEEN))


def split_mask(values: ArrayLike, name: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Split values into a plain array and a mask.

    Parameters
    ----------
    values : array_like
        Real numbers or booleans: an array, a masked array of NumPy or astropy, or a list of these.
    name : str
        Name of the values in error messages.

    Returns
    -------
    array : ndarray
        The values, including those under the mask.
    masked : ndarray of bool
        True for masked values, in the shape of `array`.

    Raises
    ------
    TypeError
        If the values are complex or not numbers.
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
            f"{name} must be real, got {array.dtype}; use the real and imaginary parts as two "
            "channels"
        )
    # can_cast, because NumPy reports bfloat16 and other small floats of ml_dtypes as "void"
    if array.dtype.kind not in "biuf" and not np.can_cast(array.dtype, np.float32):
        raise TypeError(f"{name} must be numbers or booleans, got an array of {array.dtype}")
    return array


def check_fill(fill: Any, dtype: DTypeLike) -> NDArray[Any]:
    """Convert a fill value to a dtype, or raise if the dtype cannot represent it.

    Parameters
    ----------
    fill : float, int or bool
        The value.
    dtype : dtype
        Type of the array to fill.

    Returns
    -------
    ndarray, shape ()
        The value, rounded to the precision of a floating-point dtype.

    Raises
    ------
    TypeError
        If `fill` is not a real number.
    ValueError
        If the dtype cannot represent it: NaN or a fraction in an integer dtype, or a number out of
        range.
    """
    value, dtype = np.asarray(fill), np.dtype(dtype)
    if value.ndim or value.dtype.kind not in "biuf":
        raise TypeError(f"fill must be a number, got {fill!r}")
    with np.errstate(all="ignore"):
        cast = value.astype(dtype)
    if dtype.kind in "biu":
        # compare Python numbers, which are exact
        held = not (value.dtype.kind == "f" and not np.isfinite(value))
        held = held and cast.item() == value.item()
    else:
        held = bool(np.isfinite(cast.astype(np.float64)) == np.isfinite(value))
    if not held:
        raise ValueError(f"fill must be a value that {dtype} can represent, got {fill!r}")
    return cast
