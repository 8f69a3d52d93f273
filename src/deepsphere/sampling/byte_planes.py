"""Arrays of 8-byte numbers as short strings, for a model's JSON."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_planes(numbers: NDArray[Any]) -> str:
    """Write numbers as text: bytes of equal significance side by side, deflated, in base 64.

    Parameters
    ----------
    numbers : ndarray, shape (n,)
        Contiguous, of 8 bytes each.

    Returns
    -------
    str
        ASCII text that `read_planes` reads.
    """
    planes = numbers.view(np.uint8).reshape(-1, 8).T  # equal bytes side by side deflate best
    return base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode("ascii")


def read_planes(text: str, dtype: str) -> NDArray[Any]:
    """Read what `write_planes` wrote.

    Parameters
    ----------
    text : str
        The written numbers.
    dtype : str
        Their type, of 8 bytes.

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
