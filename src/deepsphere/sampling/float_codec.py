"""Lossless encoding of floats as short strings, for the JSON of models."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere.sampling.byte_planes import read_planes, write_planes


def encode_floats(values: ArrayLike) -> str:
    """Encode floats as text.

    Bytes are grouped by significance, deflated and written in base 64. The text has up to 11
    characters per number, and fewer if numbers repeat.

    Parameters
    ----------
    values : array_like of float
        Numbers, converted to float64.

    Returns
    -------
    str
        ASCII text, which `decode_floats` reads.

    Examples
    --------
    >>> decode_floats(encode_floats([0.5, 0.1])).tolist()
    [0.5, 0.1]
    """
    return write_planes(np.ascontiguousarray(values, dtype="<f8").ravel())


def decode_floats(text: str) -> NDArray[np.float64]:
    """Decode the floats that `encode_floats` encoded.

    Parameters
    ----------
    text : str
        The encoded numbers.

    Returns
    -------
    ndarray of float64, shape (n,)
        The same numbers, bit by bit.

    Raises
    ------
    ValueError
        If the text is damaged.
    """
    try:
        return read_planes(text, "<f8").astype(np.float64)
    except ValueError as error:
        raise ValueError(f"the encoded numbers are damaged: {text[:40]!r}...") from error
