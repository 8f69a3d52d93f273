"""Numbers as a short string, bit by bit, so that they can be part of a model's JSON."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere.sampling.byte_planes import read_planes, write_planes


def encode_floats(values: ArrayLike) -> str:
    """Write numbers as text.

    Bytes of equal significance are put side by side, deflated and written in base 64: up to 11
    characters a number, less where they repeat.

    Parameters
    ----------
    values : array_like of float
        Numbers, taken as float64.

    Returns
    -------
    str
        ASCII text that `decode_floats` reads.

    Examples
    --------
    >>> decode_floats(encode_floats([0.5, 0.1])).tolist()
    [0.5, 0.1]
    """
    return write_planes(np.ascontiguousarray(values, dtype="<f8").ravel())


def decode_floats(text: str) -> NDArray[np.float64]:
    """Read what `encode_floats` wrote.

    Parameters
    ----------
    text : str
        The encoded numbers.

    Returns
    -------
    ndarray of float64, shape (n,)
        The same numbers, bit by bit, in one dimension.

    Raises
    ------
    ValueError
        If the text is damaged.
    """
    try:
        return read_planes(text, "<f8").astype(np.float64)
    except ValueError as error:
        raise ValueError(f"the encoded numbers are damaged: {text[:40]!r}...") from error
