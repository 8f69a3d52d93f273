"""Lossless encoding of floats and of sorted pixel indices as short strings, for the JSON of models.

Numbers of 8 bytes are split into planes of bytes of equal significance, deflated, and written in
base 64.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere.sampling.base import check_size


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
    return _write_planes(np.ascontiguousarray(values, dtype="<f8").ravel())


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
        return _read_planes(text, "<f8").astype(np.float64)
    except ValueError as error:
        raise ValueError(f"the encoded numbers are damaged: {text[:40]!r}...") from error


def encode_pixels(pixels: ArrayLike) -> str:
    """Encode strictly increasing pixel indices as text.

    The lengths of the runs of consecutive indices and of the gaps between them are split into byte
    planes, deflated and written in base 64. Survey footprints take about a byte per run.

    Parameters
    ----------
    pixels : array_like of int, shape (n,)
        Strictly increasing, nonnegative indices.

    Returns
    -------
    str
        ASCII text, which `decode_pixels` reads.

    Raises
    ------
    ValueError
        If `pixels` are empty, negative or not strictly increasing.

    Examples
    --------
    >>> decode_pixels(encode_pixels([4, 5, 6, 9])).tolist()
    [4, 5, 6, 9]
    """
    pixels = np.asarray(pixels, dtype=np.int64)
    gaps = np.diff(pixels)
    if pixels.size == 0 or pixels[0] < 0 or np.any(gaps < 1):
        raise ValueError("pixels to encode must be nonnegative, strictly increasing and not empty")
    breaks = np.flatnonzero(gaps != 1) + 1
    starts = pixels[np.concatenate(([0], breaks))]
    stops = pixels[np.concatenate((breaks, [len(pixels)])) - 1] + 1
    edges = np.column_stack((starts, stops)).ravel()
    return _write_planes(np.diff(edges, prepend=0).astype("<u8"))


def decode_pixels(text: str, count: int | None = None) -> NDArray[np.int64]:
    """Decode the pixel indices that `encode_pixels` encoded.

    Parameters
    ----------
    text : str
        The encoded pixels.
    count : int, optional
        Number of pixels of the sampling, which is greater than all indices.

    Returns
    -------
    ndarray of int64, shape (n,)
        Strictly increasing pixel indices.

    Raises
    ------
    ValueError
        If the text is damaged, an index is not less than `count`, or there are more than 2**28
        pixels. A few characters of text could otherwise fill the memory.
    """
    try:
        edges = np.cumsum(_read_planes(text, "<u8").astype(np.int64))
        if edges.size == 0 or edges[0] < 0 or np.any(np.diff(edges) < 1):
            raise ValueError("the runs of pixels do not increase")
        edges = edges.reshape(-1, 2)
    except ValueError as error:
        raise ValueError(f"the encoded pixels are damaged: {text[:40]!r}...") from error
    starts, lengths = edges[:, 0], edges[:, 1] - edges[:, 0]
    if count is not None and edges[-1, 1] > count:
        raise ValueError(
            f"the encoded pixels go up to number {edges[-1, 1] - 1}, but there are only {count} "
            "pixels"
        )
    check_size(int(lengths.sum()), "the list of encoded pixels")
    offsets = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) + np.repeat(starts - offsets, lengths)


def _write_planes(numbers: NDArray[Any]) -> str:
    """Encode a contiguous array of 8-byte numbers: bytes by significance, deflated, in base 64."""
    planes = numbers.view(np.uint8).reshape(-1, 8).T  # runs of similar bytes compress best
    return base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode("ascii")


def _read_planes(text: str, dtype: str) -> NDArray[Any]:
    """Decode the numbers that `_write_planes` encoded; raise ValueError if the text is damaged."""
    try:
        planes = np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), np.uint8)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    return np.ascontiguousarray(planes.reshape(8, -1).T).view(dtype).ravel()
