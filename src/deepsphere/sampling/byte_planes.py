"""Encoding of arrays of 8-byte numbers as short strings, for the JSON of models."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_planes(numbers: NDArray[Any]) -> str:
    """Encode numbers as text: bytes grouped by significance, deflated, in base 64.

    Parameters
    ----------
    numbers : ndarray, shape (n,)
        Contiguous array of 8-byte numbers.

    Returns
    -------
    str
        ASCII text, which `read_planes` reads.
    """
    planes = numbers.view(np.uint8).reshape(-1, 8).T  # runs of similar bytes compress best
    return base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode("ascii")


def read_planes(text: str, dtype: str) -> NDArray[Any]:
    """Decode the numbers that `write_planes` encoded.

    Parameters
    ----------
    text : str
        The encoded numbers.
    dtype : str
        Type of the numbers, of 8 bytes.

    Returns
    -------
    ndarray, shape (n,)
        The numbers.

    Raises
    ------
    ValueError
        If the text is damaged.
    """
    try:
        planes = np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), np.uint8)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    return np.ascontiguousarray(planes.reshape(8, -1).T).view(dtype).ravel()
